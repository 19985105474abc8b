"""Incidents that happened for real are found, in a live database and in a bundle of it."""

from __future__ import annotations

import psycopg
import pytest

from flowforge import forensics as fx
from flowforge.forensics.live import Live
from flowforge.store.forensics import reading
from tests.integration.forensics.conftest import Incidents


@pytest.mark.parametrize("name", fx.SCENARIOS)
def test_the_planted_cause_is_the_first_that_is_found(incidents: Incidents, name: str):
    scenario = incidents.played[name]

    for source in (incidents.live, incidents.bundle):
        found = fx.findings(runs=scenario.runs, effects=scenario.effects, source=source)

        assert found["cause"].iloc[0] == scenario.cause, str(fx.tell(found))
        assert found["workflow"].iloc[0] == scenario.workflow
        assert set(found["example_run"].dropna()) <= set(scenario.runs)


@pytest.mark.parametrize("name", fx.SCENARIOS)
def test_the_post_mortem_of_an_affected_run_names_the_cause(incidents: Incidents, name: str):
    scenario = incidents.played[name]
    source = incidents.live
    affected = {
        "duplicate_effects": lambda: fx.duplicates(runs=scenario.runs, source=source)["run"].iloc[0],
    }.get(name, lambda: scenario.bad)()

    assert scenario.cause in set(fx.postmortem(affected, source=source)["cause"])


def test_without_the_other_sides_list_an_effect_is_only_possibly_doubled(incidents: Incidents):
    scenario = incidents.played["duplicate_effects"]

    guessed = fx.duplicates(runs=scenario.runs, source=incidents.live)
    known = fx.duplicates(runs=scenario.runs, effects=scenario.effects, source=incidents.live)

    assert set(guessed["verdict"]) == {"possible"}
    assert set(known["verdict"]) == {"duplicate"}
    assert (known["effects"] == 2).all()
    assert set(known["key"]) <= set(scenario.effects["key"])


def test_a_bad_run_is_set_against_one_of_the_version_before(incidents: Incidents):
    scenario = incidents.played["bad_deploy"]
    assert scenario.bad is not None

    good, bad = fx.pair(bad=scenario.bad, source=incidents.live)
    found = fx.contrast(good, bad, source=incidents.live)

    assert found["cause"].iloc[0] == "bad_deploy"
    assert "input.amount" in found["what"].iloc[0]
    assert "input.total" in found["what"].iloc[0]


def test_every_part_of_every_run_sums_to_its_wall_time(incidents: Incidents):
    for scenario in incidents.played.values():
        for run in scenario.runs[:3]:
            phases = fx.phases(run, source=incidents.live)
            parts = [name for name in phases if str(name).endswith("_s") and name != "wall_s"]
            assert phases[parts].sum(axis=1).to_list() == pytest.approx(phases["wall_s"].to_list())
            assert fx.slack(run, source=incidents.live)["slack_s"].min() == pytest.approx(0)


def test_forensics_cannot_write(incidents: Incidents):
    assert isinstance(incidents.live, Live)

    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        incidents.live._do(_delete(incidents.live))


async def _delete(live: Live) -> None:
    connection = await live._connected()
    await reading.ask(connection, "DELETE FROM runs RETURNING id", {})
