"""Postgres and a bundle answer every question alike, with the columns that are promised, also when there is nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from flowforge import forensics as fx
from flowforge.forensics import sample
from flowforge.forensics.source import Source
from tests.integration.forensics.conftest import Incidents

Ask = Callable[..., pd.DataFrame]

#: By the name of their columns: the questions about many runs.
QUESTIONS: dict[str, Ask] = {
    "runs": fx.runs,
    "versions": fx.versions,
    "attempts": fx.attempts,
    "latency": fx.latency,
    "trend": fx.trend,
    "queue_depth": lambda **how: fx.queue_depth(bucket="1s", **how),
    "outbox_lag": lambda **how: fx.outbox_lag(bucket="1s", **how),
    "gates": fx.gates,
    "workers": fx.workers,
    "lease_expiries": fx.lease_expiries,
    "retry_storms": lambda **how: fx.retry_storms(window="1s", **how),
    "errors": fx.errors,
    "clusters": lambda **how: fx.errors(**how).pipe(fx.cluster_errors),
    "duplicates": fx.duplicates,
    "repeated": fx.repeated,
    "traits": fx.traits,
    "waits": fx.waits,
    "findings": fx.findings,
}
#: Postgres counts times to three digits.
ROUNDED = 0.006
#: What a bundle does not know, and what it reckons from another text of the same value.
LIVE_ONLY = {
    "workers": ["host", "pid", "version", "queues", "concurrency", "status", "last_seen", "busy_share"],
    "repeated": ["input_md5"],
    "outbox_lag": ["repeated"],
    "findings": ["what"],
}


@pytest.mark.parametrize("name", QUESTIONS)
def test_both_sources_give_the_same_answer(incidents: Incidents, name: str):
    live, bundled = (_answer(name, source) for source in (incidents.live, incidents.bundle))

    assert len(live) or name in ("repeated", "waits")
    assert_frame_equal(live, bundled, check_exact=False, rtol=ROUNDED, atol=1e-6)


@pytest.mark.parametrize("name", QUESTIONS)
def test_columns_and_dtypes_are_those_promised_also_when_nothing_is_found(incidents: Incidents, name: str):
    promised = fx.columns(name)

    for how in ({}, {"workflow": "no-such-workflow"}, {"since": "2999-01-01T00:00:00Z"}):
        for source in (incidents.live, incidents.bundle):
            found = QUESTIONS[name](source=source, **how)
            assert list(found.columns) == list(promised["column"])
            assert [str(dtype) for dtype in found.dtypes] == list(promised["dtype"])


@pytest.mark.parametrize("by", ["step", "workflow", "version", "worker"])
def test_latencies_agree_however_they_are_grouped(incidents: Incidents, by: str):
    live, bundled = (fx.latency(by=by, q=[0.5, 0.9], source=one) for one in (incidents.live, incidents.bundle))
    keys = ["workflow", "version", "step", "worker"]

    assert "exec_p90_s" in live
    assert_frame_equal(
        live.sort_values(keys, ignore_index=True),
        bundled.sort_values(keys, ignore_index=True),
        check_exact=False,
        rtol=ROUNDED,
        atol=1e-6,
    )


@pytest.mark.parametrize("name", ["latency", "trend", "queue_depth", "outbox_lag", "workers", "retry_storms"])
def test_a_sample_of_all_is_all_and_says_that_it_is_one(
    incidents: Incidents, name: str, monkeypatch: pytest.MonkeyPatch
):
    exact = QUESTIONS[name](source=incidents.live)
    monkeypatch.setattr(sample, "taken", lambda runs: sample.Sample(1.0, round(runs)))

    estimated = QUESTIONS[name](source=incidents.live)

    assert "100% of about" in estimated.attrs["sampled"]["note"]
    assert_frame_equal(exact, estimated, rtol=ROUNDED)


def test_filters_are_the_words_of_the_command_line(incidents: Incidents):
    for source in (incidents.live, incidents.bundle):
        failed = fx.runs(status="failed", workflow="scenario-bad-deploy", source=source)
        assert set(failed["status"]) == {"failed"}
        assert len(failed) == 7
        assert len(fx.runs(state="failed", flow="scenario-bad-deploy", source=source)) == 7
        assert len(fx.runs(label="scenario=scenario-bad-deploy", limit=5, source=source)) == 5
        assert len(fx.runs(label={"scenario": "nothing"}, source=source)) == 0
        assert len(fx.runs(until="2001-01-01", source=source)) == 0
        assert set(fx.attempts(failed, source=source)["run"]) == set(failed["run"])


def test_one_run_is_the_same_in_both_sources(incidents: Incidents):
    run = incidents.played["retry_storm"].bad
    assert run is not None
    for ask in (fx.steps, fx.events, fx.attempts, fx.phases, fx.timeline, fx.critical_path, fx.slack):
        live, bundled = (ask(run, source=one) for one in (incidents.live, incidents.bundle))
        assert len(live)
        assert_frame_equal(live, bundled)
        assert list(live.columns) == list(fx.columns(ask.__name__)["column"])
    assert fx.run(run, source=incidents.live)._repr_html_() == fx.run(run, source=incidents.bundle)._repr_html_()


def _answer(name: str, source: Source) -> pd.DataFrame:
    found = QUESTIONS[name](source=source).drop(columns=LIVE_ONLY.get(name, []))
    keys: Any = [one for one in found if found[one].dtype != "object" and found[one].dtype != "float64"]
    return found.sort_values(keys, ignore_index=True)
