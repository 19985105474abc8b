"""Attempts, phases and comparisons of one run."""

from __future__ import annotations

from typing import Any

import pytest

from flowforge import forensics as fx
from flowforge.errors import NotFound, UsageError
from tests.unit.forensics.support import RUN, at, bundle, case, error, retried


def test_an_attempt_lasts_from_its_start_to_the_steps_next_event():
    found = fx.attempts(str(RUN), source=bundle(case(retried())))

    assert found["outcome"].to_list() == ["retried", "completed"]
    assert found["attempt"].to_list() == [1, 2]
    assert found["queue_s"].to_list() == [1.0, 1.0]
    assert found["exec_s"].to_list() == [2.0, 2.0]
    assert found["worker"].to_list() == ["w-1", "w-2"]
    assert found["code"].to_list()[0] == "HTTP_503"
    assert str(found["started_at"].dt.tz) == "UTC"


def test_a_lost_attempt_is_told_apart_from_one_that_failed():
    told = retried()
    told[4] = (3, "step.retrying", "charge", 1, {"error": error("WORKER_LOST", "worker w-1 lost its lease")})

    lost = fx.lease_expiries(source=bundle(case(told)))

    assert lost["worker"].to_list() == ["w-1"]
    assert lost["taken_over_by"].to_list() == ["w-2"]
    assert lost["delay_s"].to_list() == [7.0]
    assert fx.findings(source=bundle(case(told)))["cause"].iloc[0] == "worker_lost"


def test_a_step_that_waits_for_a_worker_is_an_attempt_that_has_not_begun():
    found = fx.attempts(source=bundle(case(retried()[:3], finished_at=None)))

    assert found["outcome"].to_list() == ["queued"]
    assert found["queue_s"].to_list() == [20.0]
    assert found["started_at"].isna().all()


def test_the_parts_of_a_run_sum_to_its_wall_time():
    phases = fx.phases(RUN, source=bundle(case(retried())))
    whole = phases.iloc[0]

    assert (whole["queue_s"], whole["exec_s"], whole["backoff_s"], whole["wall_s"]) == (2.0, 4.0, 4.0, 10.0)
    assert phases.loc[phases["step"] == "charge", "critical"].item()
    assert fx.critical_path(RUN, source=bundle(case(retried())))["seconds"].sum() == pytest.approx(10.0)


def test_a_duration_is_reckoned_back_from_when_the_bundle_was_exported():
    source = bundle(case(retried()))

    assert len(fx.runs("30s", source=source)) == 1
    assert len(fx.runs("15s", source=source)) == 0
    assert len(fx.attempts(since="11s", source=source)) == 1
    assert len(fx.runs(until=at(0), source=source)) == 0


@pytest.mark.parametrize(
    "filters", [{"since": "yesterday"}, {"status": "broken"}, {"label": "x"}, {"runs": "1234"}, {"colour": "red"}]
)
def test_a_filter_that_makes_no_sense_is_refused(filters):
    with pytest.raises(UsageError):
        fx.versions(source=bundle(case(retried())), **filters)


def test_a_run_is_found_by_digits_of_its_id():
    source = bundle(case(retried()))

    assert fx.run("0189", source=source).id == fx.run("@last", source=source).id == str(RUN)
    for unknown in ("ffff", "01", "@last-failed"):
        with pytest.raises(NotFound):
            fx.run(unknown, source=source)


def test_a_bundle_of_nothing_still_answers():
    source = bundle()

    assert fx.findings(source=source)["cause"].to_list() == ["nothing"]
    assert fx.runs(source=source).empty
    assert fx.latency(source=source).columns.to_list() == fx.columns("latency")["column"].to_list()


def test_quantiles_and_groups_that_do_not_exist_are_refused():
    source = bundle(case(retried()))
    refused: list[dict[str, Any]] = [{"by": "colour"}, {"q": []}, {"q": [95]}]
    for how in refused:
        with pytest.raises(UsageError):
            fx.latency(source=source, **how)
    with pytest.raises(UsageError):
        fx.queue_depth(bucket="soon", source=source)
    with pytest.raises(UsageError):
        fx.columns("colours")
