"""The checker's view of undoing and of receipts: what is right passes, each single wrong is named."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from flowforge.model.event import Event, EventType
from tests.factories import plan, step, undo
from tests.support.invariants import sagas
from tests.support.invariants.receipts import Receipt, Told

AT = datetime(2026, 1, 1, tzinfo=UTC)
PLAN = plan(
    step("a", compensate=undo()), step("b", "a", compensate=undo()), step("c", "b"), name="saga", on_cancel="compensate"
)
ERROR = {"code": "BROKEN", "message": "it broke", "step": "c"}
FAILED = {"status": "failed", "error": ERROR}


def history(*words: str) -> list[Event]:
    """Make events from words like `completed a`, a second apart."""
    events = []
    for no, word in enumerate(words):
        kind, _, step_id = word.partition(" ")
        data: dict[str, Any] | None = {"error": ERROR} if kind in ("failed", "compensating") else None
        if kind == "started" and step_id:
            data = {"worker": "w1"}
        type_ = EventType(f"{'step' if step_id else 'workflow'}.{kind}")
        events.append(Event(type_, AT + timedelta(seconds=no), step_id or None, 1 if step_id else None, data))
    return events


DONE = ("created", "started", "completed a", "completed b", "failed c", "compensating")
UNDONE = (*DONE, "started b:compensate", "compensated b", "started a:compensate", "compensated a", "failed")


def test_undoing_in_reverse_order_is_right():
    """Each step once, the last to complete first."""
    events = history(*UNDONE)
    assert list(sagas.undone(PLAN, FAILED, events)) == list(sagas.begun(PLAN, events)) == []


WRONG = {
    "in the order of doing": (*DONE, "compensated a", "compensated b", "failed"),
    "twice": (*UNDONE[:-1], "compensated a", "failed"),
    "what was not done": (*DONE, "compensated c", "compensated b", "compensated a", "failed"),
    "not all of it": (*DONE, "compensated b", "failed"),
    "nothing of it": (*DONE, "failed"),
}


@pytest.mark.parametrize("words", WRONG.values(), ids=WRONG)
def test_undoing_that_is_wrong_is_reported(words: tuple[str, ...]):
    """In a run whose error does not say what is left."""
    assert list(sagas.undone(PLAN, FAILED, history(*words)))


def test_undoing_before_the_run_is_being_undone_is_reported():
    """A compensation is no step of the graph."""
    assert list(sagas.begun(PLAN, history("created", "started", "completed a", "started a:compensate")))


TIME = "2026-01-01T00:00:{:02}.000000Z".format
EVENTS = [*history("created", "started", "started a", "completed a", "completed")]
BODY: dict[str, Any] = {
    "receipt_no": 7,
    "events": 5,
    "run_receipt_no": 1,
    "supersedes": None,
    "status": "EXECUTED",
    "started_at": TIME(1),
    "finished_at": TIME(4),
    "error": None,
    "steps": [
        {
            "id": "a",
            "status": "SUCCESS",
            "attempts": 1,
            "started_at": TIME(2),
            "finished_at": TIME(3),
            "error": None,
        }
    ],
    "compensation": {"steps": []},
    "operator_actions": [],
    "definition_digest": "d",
    "input_digest": "i",
    "output_digest": "o",
}
ROW: Any = {"finished_at": AT, "definition_digest": "d", "input_digest": "i", "output_digest": "o"}


def told(body: dict[str, Any], *, digest: str = "h", row: dict[str, Any] | None = None) -> list[str]:
    """Return what is wrong with a run and its only receipt."""
    event = Event(EventType.RECEIPT_GENERATED, AT, None, None, {"hash": "h"})
    one = Told(ROW | (row or {}), [*EVENTS, event], [Receipt(UUID(int=1), digest, body)])
    return list(one.violations(complete=True))


def test_a_receipt_that_says_what_happened_is_right():
    """Status, times, steps, digests, and where it stands."""
    assert told(BODY) == []


CHANGED: dict[str, dict[str, Any]] = {
    "another status": {"status": "FAILED"},
    "another time": {"finished_at": TIME(5)},
    "an error there was not": {"error": {"code": "X", "message": ""}},
    "a step that failed": {"steps": [BODY["steps"][0] | {"status": "FAILED"}]},
    "another count of attempts": {"steps": [BODY["steps"][0] | {"attempts": 2}]},
    "a step left out": {"steps": []},
    "something undone that was not": {"compensation": {"steps": [{"id": "a", "status": "SUCCESS"}]}},
    "an action nobody took": {"operator_actions": [{"seq": 2}]},
    "another place in the history": {"events": 4},
    "another number of its run": {"run_receipt_no": 2},
    "an input there was not": {"input_digest": "x"},
}


@pytest.mark.parametrize("changes", CHANGED.values(), ids=CHANGED)
def test_a_receipt_that_says_something_else_is_reported(changes: dict[str, Any]):
    """Each for itself."""
    assert told(BODY | changes)


def test_a_receipt_with_another_hash_than_its_history_tells_of_is_reported():
    """Whatever it says."""
    assert told(BODY, digest="other")


def test_a_run_that_has_ended_without_a_receipt_is_reported_where_all_have_to_be_there():
    """Those who make no receipts do not ask for them."""
    one = Told(ROW, EVENTS, [])
    assert list(one.violations(complete=True))
    assert not list(one.violations(complete=False))
