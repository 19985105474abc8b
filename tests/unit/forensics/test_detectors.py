"""Causes are recognised from figures, and not where the figures are harmless."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from flowforge import forensics as fx
from flowforge.forensics import detectors, frames, storms
from flowforge.forensics.latency import TREND, latency_columns
from flowforge.forensics.queues import GATES, OUTBOX_LAG, QUEUE_DEPTH
from flowforge.forensics.runs import VERSIONS


def _frame(columns: Any, **values: Any) -> pd.DataFrame:
    return frames.frame([values], columns)


def _storm(**changes: Any) -> pd.DataFrame:
    values = {
        "workflow": "w",
        "step": "s",
        "attempts": 40,
        "first_attempts": 10,
        "retries": 30,
        "failed": 30,
        "lost": 0,
    }
    return _frame(storms.RETRY_STORMS, **(values | {"first_try_success": 0.1, "synchronised": 0.5} | changes))


def test_a_storm_is_many_attempts_for_few_that_were_meant():
    (found,) = detectors.retry_storm(_storm())

    assert found.count == 30
    assert "4.0 times as many" in found.what
    assert "10% of the first attempts" in found.what
    assert "without jitter" in found.what


@pytest.mark.parametrize("changes", [{"retries": 4}, {"attempts": 12}, {"lost": 28}, {"first_attempts": 39}])
def test_few_retries_or_those_after_lost_workers_are_no_storm(changes):
    assert not list(detectors.retry_storm(_storm(**changes)))


def _gate(**changes: Any) -> pd.DataFrame:
    values = {"workflow": "w", "key": "eu", "limit": 2, "runs": 9, "waiting": 3, "active": 2, "wait_p50_s": 20.0}
    values |= {"wait_p95_s": 60.0, "wait_max_s": 70.0, "active_p50_s": 1.0, "active_max_s": 65.0}
    return _frame(GATES, **(values | {"longest_holder": "r-1", "holder_status": "paused"} | changes))


def test_runs_that_wait_at_a_gate_longer_than_they_take_starve():
    (found,) = detectors.gate_starvation(_gate())

    assert "w/eu (limit 2)" in found.what
    assert "3 wait still" in found.what
    assert "r-1 (paused)" in found.what


@pytest.mark.parametrize("changes", [{"limit": None}, {"wait_p95_s": 0.1}, {"active_p50_s": 90.0}, {"runs": 1}])
def test_runs_without_a_limit_or_with_little_waiting_do_not_starve(changes):
    assert not list(detectors.gate_starvation(_gate(**changes)))


def _versions(before: tuple[int, int], after: tuple[int, int]) -> pd.DataFrame:
    rows = []
    for version, (completed, failed) in ((1, before), (2, after)):
        row = {"workflow": "w", "version": version, "runs": completed + failed, "completed": completed}
        row |= {"failed": failed, "failure_rate": failed / (completed + failed), "duration_p50_s": 1.0}
        rows.append(row | {"first_run_at": pd.Timestamp("2026-01-01T00:00:00Z")})
    return frames.frame(rows, VERSIONS)


def test_a_version_that_fails_where_the_one_before_did_not_is_bad():
    (found,) = detectors.bad_deploy(_versions((10, 0), (2, 8)))

    assert found.cause == "bad_deploy"
    assert "8 of 10 runs failed (80%), of version 1 0%" in found.what


@pytest.mark.parametrize("pair", [((2, 8), (2, 8)), ((10, 0), (9, 1)), ((1, 0), (0, 8))])
def test_a_version_is_not_blamed_for_what_was_so_before(pair):
    assert not list(detectors.bad_deploy(_versions(*pair)))


def test_a_step_that_became_slow_is_named_with_the_time():
    rows = [
        {"workflow": "w", "step": "s", "part": part, "since": pd.Timestamp(f"2026-01-01T00:0{part}:00Z"), "attempts": 5}
        | {"exec_p50_s": took, "queue_p50_s": 0.01}
        for part, took in ((1, 0.05), (2, 0.9))
    ]
    trend = frames.frame(rows, TREND)

    (found,) = detectors.slow_dependency(trend, frames.frame([], latency_columns()))

    assert "became slow: 50 ms in the median around 00:01:00, 900 ms around 00:02:00 (18x)" in found.what
    assert not list(detectors.slow_dependency(trend.head(1), frames.frame([], latency_columns())))


def test_a_queue_that_nobody_serves_and_an_outbox_that_nobody_empties_are_found():
    nothing = frames.frame([], latency_columns())
    (backlog,) = detectors.queue_backlog(nothing, _frame(QUEUE_DEPTH, queue="agents", depth=7, running=0))
    (stuck,) = detectors.outbox_stuck(_frame(OUTBOX_LAG, unpublished=3, oldest_s=60.0))

    assert "7 attempts wait at queue agents, and nobody executes any." in backlog.what
    assert backlog.next == "flowforge worker start --queue agents"
    assert "3 dispatches lie in the outbox" in stuck.what
    assert not list(detectors.outbox_stuck(_frame(OUTBOX_LAG, unpublished=3, oldest_s=0.1)))


def test_errors_that_differ_only_in_what_they_are_about_are_one():
    rows = [
        {"workflow": "w", "version": 1, "step": step, "code": "HTTP_404", "text": f"order '{name}' is <n>", "count": 2}
        | {"final": 1, "runs": 1, "message": name, "example_run": name, "last_seen": pd.Timestamp("2026-01-01T00:00Z")}
        for step, name in (("a", "x"), ("b", "y"))
    ]
    clusters = fx.cluster_errors(frames.frame(rows, fx.failures.ERRORS))

    assert clusters["text"].to_list() == ["order <text> is <n>"]
    assert clusters["count"].to_list() == [4]
    assert clusters["steps"].to_list() == ["a, b"]


def test_the_innermost_line_of_a_traceback_tells_errors_apart():
    traceback = (
        'Traceback\n  File "/srv/app/shop/pay.py", line 3, in charge\n  File "/srv/lib/net.py", line 44, in send\nX'
    )

    assert fx.failures.innermost(traceback) == "lib/net.py:44 send()"
    assert fx.failures.innermost(None) is None
