"""Causes that come together, and steps that are alike but do not wait for the same."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from flowforge.model.circumstances import WorkerFacts
from flowforge.model.explaining import explain
from flowforge.model.explanation import Cause, CauseKind, Explanation, Subject, Weight
from flowforge.model.pausing import Pause
from flowforge.model.status import RunStatus
from tests import factories

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
LEASE = timedelta(seconds=30)
WORKER = WorkerFacts("w", "active", ("default",), frozenset({"transform"}), 4, NOW, LEASE)
PAUSE = Pause("queue", "default", NOW - timedelta(hours=1), "carol", "provider down")
RETRIED = {"a0": ("waiting", {"error": {"code": "HTTP_503", "message": "away"}, "attempt": 1, "due_at": NOW + LEASE})}
RUNNING = {"a0": ("running", {"worker": "w", "attempt": 1, "started_at": NOW, "due_at": NOW + LEASE})}


def test_a_back_off_before_a_paused_queue_moves_by_itself_no_more(make):
    """The end of the pause is what is offered; without the pause it goes on in time."""
    found = explain(make(steps=RETRIED, around={"pauses": (PAUSE,)}))
    assert [cause.kind for cause in found.causes[0].chain()] == [CauseKind.RETRY, CauseKind.QUEUE_PAUSED]
    assert (found.stuck, found.moves_at, found.command) == (True, None, "flowforge queue resume default")
    assert "and then step 'a0' waits for queue 'default', which carol has paused" in found.summary
    found = explain(make(steps=RETRIED))
    assert (found.stuck, found.moves_at) == (False, NOW + LEASE)


def test_a_back_off_without_a_worker_says_so_before_its_time_has_come(make):
    """It is another queue's worker that looks after the timer."""
    elsewhere = (replace(WORKER, queues=("other",)),)
    found = explain(make(steps=RETRIED, workers=elsewhere))
    assert [cause.kind for cause in found.causes[0].chain()] == [CauseKind.RETRY, CauseKind.NO_WORKER]


@pytest.mark.parametrize(
    ("silence", "kind"),
    [(0, CauseKind.RUNNING), (15, CauseKind.RUNNING), (16, CauseKind.WORKER_LOST), (29, CauseKind.WORKER_LOST)],
)
def test_a_worker_is_silent_when_it_has_missed_two_heartbeats(make, silence: int, kind: CauseKind):
    """Its lease still lasts, and says when somebody may act."""
    silent = replace(WORKER, seen_at=NOW - timedelta(seconds=silence))
    cause = explain(make(steps=RUNNING, workers=(silent, replace(WORKER, id="other")))).causes[0]
    assert cause.kind is kind
    if kind is CauseKind.WORKER_LOST:
        assert (cause.until, cause.since, cause.command) == (NOW + LEASE, silent.seen_at, None)
        assert (
            f"silent for {silence}s: unless it is heard of before its lease ends, another one takes over" in cause.text
        )
        alone = explain(make(steps=RUNNING, workers=(silent,))).causes[0]
        assert "no other one serves queue 'default'" in alone.text
        assert alone.command == "flowforge worker start"


def test_who_holds_a_run_comes_first_however_much_waits_behind_its_steps(make):
    """Nothing else moves it."""
    stuck = Explanation(NOW, (Cause(CauseKind.GATE_FULL, Subject("gate", "g"), "full", Weight.HELD),), UUID(int=9))
    sub = factories.step("a0") | {"type": "workflow", "config": {"name": "inner"}}
    plan = factories.plan(steps=[sub, factories.step("b0", "a0")])
    for status in ("waiting", "queued"):
        found = explain(
            make(plan, status=RunStatus.PAUSED, steps={"a0": (status, {"attempt": 1})}, children={0: stuck})
        )
        assert [cause.kind for cause in found.causes if cause.weight != "notes"] == ["run_paused", "child_run"]
        assert [cause.kind for cause in found.causes[1].chain()] == ["child_run", "gate_full"]
