"""What is offered to be typed, and what is not, because it would do harm; and words that change with a number."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from flowforge.model.circumstances import GateFacts, LaneFacts, WorkerFacts
from flowforge.model.explaining import explain
from flowforge.model.status import RunStatus
from tests.factories import plan, step, undo
from tests.unit.explaining.conftest import RUN, WORKER

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
ERROR = {"code": "HTTP_422", "message": "no", "step": "bad"}
FAILING = {"done": ("completed", {}), "bad": ("failed", {}), "slow": ("running", {"worker": "w", "started_at": NOW})}


def failing(make: Any, **workflow: Any) -> Any:
    """Return a run that fails while a step of it still runs; the step that is done can be undone."""
    made = plan(step("done", compensate=undo()), step("bad"), step("slow"), **workflow)
    return explain(make(made, steps=FAILING, error=ERROR))


def test_a_run_that_fails_is_not_to_be_cancelled_where_that_leaves_effects(make):
    """Cancelled, it would undo nothing; with `on_cancel: compensate` it would, and is done sooner."""
    assert failing(make).causes[0].command is None
    assert failing(make, on_cancel="compensate").causes[0].command == f"flowforge cancel {RUN}"


def test_a_run_that_fails_and_has_nothing_to_undo_may_be_cancelled(make):
    """What still runs is stopped."""
    found = explain(make(plan(step("done"), step("bad"), step("slow")), steps=FAILING, error=ERROR))
    assert found.causes[0].command == f"flowforge cancel {RUN}"


def test_a_run_that_undoes_is_not_to_be_left_half_undone(make):
    """Only what a compensation waits for is offered."""
    made = plan(step("done", compensate=undo()), step("bad"))
    steps = {
        "done": ("completed", {}),
        "bad": ("failed", {}),
        "done:compensate": ("running", {"worker": "w", "started_at": NOW}),
    }
    assert explain(make(made, steps=steps, error=ERROR, status=RunStatus.COMPENSATING)).command is None


@pytest.mark.parametrize(
    ("limit", "ahead", "words"),
    [
        (1, 0, "its only place is taken, none waits before it"),
        (1, 1, "its only place is taken, 1 waits before it"),
        (5, 3, "5 of 5 runs are in, 3 wait before it"),
    ],
)
def test_the_line_at_a_gate(make, limit: int, ahead: int, words: str):
    """In words that go with the number."""
    gate = GateFacts("eu", limit, limit, ahead, ahead + 1)
    assert words in explain(make(status=RunStatus.PENDING, gate=gate)).causes[0].text


def test_a_lost_worker_that_nobody_replaces(make):
    """Nobody is said to take over; with another worker, that one is."""
    lost = replace(WORKER, status="lost", seen_at=NOW - timedelta(seconds=40))
    other = replace(WORKER, id="w2")
    steps = {"a0": ("running", {"worker": "w", "started_at": NOW, "due_at": NOW - timedelta(seconds=5)})}
    alone = explain(make(steps=steps, workers=(lost,))).causes[0]
    assert alone.text == "step 'a0' was running on w, which is lost: nobody is there to take it over"
    assert alone.command == "flowforge worker start"
    helped = explain(make(steps=steps, workers=(lost, other))).causes[0]
    assert helped.text.endswith("its lease is over, and another worker takes it over")


@pytest.mark.parametrize(
    ("count", "words"), [(1, "lies in the outbox and no worker"), (4, "lies in the outbox, one of 4, and no worker")]
)
def test_a_dispatch_that_nobody_publishes(make, count: int, words: str):
    """Alone, or with others."""
    lanes = {"default": LaneFacts(count, NOW, 0, 0)}
    facts = make(steps={"a0": ("queued", {})}, unpublished=frozenset({0}), around={"lanes": lanes})
    assert words in explain(facts).causes[0].text


def test_who_does_not_have_a_type_is_not_said_to_be_without_it_for_a_while(make):
    """When a worker was seen is no answer to since when; only one that is lost is told with a time."""
    found = explain(make(plan(step("a")), steps={"a": ("queued", {})}, workers=(_without(WORKER),))).causes[0]
    assert (found.kind, found.holders[0].since) == ("type_not_installed", None)
    leaving = replace(WORKER, status="draining")
    found = explain(make(steps={"a0": ("queued", {})}, workers=(leaving,))).causes[0]
    assert (found.holders[0].doing, found.holders[0].since) == ("draining", None)


def _without(worker: WorkerFacts) -> WorkerFacts:
    return replace(worker, step_types=frozenset({"python"}))
