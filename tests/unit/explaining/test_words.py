"""How causes are worded, ranked, merged and chained: from facts alone, without a clock or a server."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from flowforge.model.circumstances import Busy, LaneFacts, WorkerFacts
from flowforge.model.explaining import explain
from flowforge.model.explanation import (
    Cause,
    CauseKind,
    Explanation,
    Subject,
    Weight,
    ahead,
    command,
    listed,
    ranked,
    rough,
)
from flowforge.model.pausing import Held, Pause
from tests import factories

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
BUSY = Busy("reports", "render", 4, NOW - timedelta(hours=2), UUID(int=1))
WORKER = WorkerFacts("w", "active", ("default",), frozenset({"transform", "python"}), 4, NOW, timedelta(seconds=30))
QUEUED = {"a0": ("queued", {"dispatch_no": 1})}


def made(kind: CauseKind = CauseKind.RETRY, weight: Weight = Weight.WAITS, **changes) -> Cause:
    """Return a cause."""
    return Cause(kind, Subject("step", "a"), "step 'a' waits", weight, **changes)


# -- words -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("span", "text"),
    [
        (timedelta(seconds=-1), "0s"),
        (timedelta(seconds=3.9), "3s"),
        (timedelta(minutes=2, seconds=5), "2m5s"),
        (timedelta(hours=3, minutes=12, seconds=40), "3h12m"),
        (timedelta(days=4, hours=2, minutes=30), "4d2h"),
    ],
)
def test_durations_have_one_or_two_units(span: timedelta, text: str):
    """Nobody reads milliseconds of two days."""
    assert rough(span) == text


def test_times_say_since_when_and_until_when():
    """Of what has happened, how long ago."""
    cause = made(since=NOW - timedelta(minutes=2), until=NOW + timedelta(seconds=5))
    assert cause.sentence(NOW) == "step 'a' waits (for 2m, until 2026-01-01 12:00:05Z (in 5s))"
    ended = made(CauseKind.STEP_FAILED, since=NOW - timedelta(hours=1))
    assert ended.sentence(NOW) == "step 'a' waits (1h ago)"
    assert ahead(NOW - timedelta(seconds=3), NOW) == "due 3s ago"
    assert made().sentence(NOW) == "step 'a' waits"


def test_commands_are_quoted_for_a_shell_and_lists_are_cut():
    """Names come from users."""
    assert command("signal", "1a", "paid; rm -rf /") == "flowforge signal 1a 'paid; rm -rf /'"
    assert listed(["a", "b", "c", "d", "e"]) == "a, b, c and 2 more"


# -- order -----------------------------------------------------------------------------------------------------


def test_what_holds_up_the_most_comes_first():
    """By weight, then by how many steps wait, then by age."""
    held, blocked = made(weight=Weight.HELD), made(weight=Weight.BLOCKED, behind=1)
    many, old = made(weight=Weight.BLOCKED, behind=7), made(weight=Weight.BLOCKED, behind=1, since=NOW - timedelta(1))
    works = made(weight=Weight.WORKS, behind=100)
    young = replace(blocked, since=NOW)
    assert ranked([works, young, held, old, many]) == (held, many, old, young, works)


def test_an_explanation_speaks_with_its_first_chain():
    """The command and the time at the end of the chain are those that count."""
    root = made(CauseKind.SIGNAL, Weight.BLOCKED, command="flowforge signal 1a paid", until=NOW)
    found = Explanation(NOW, (made(command="flowforge explain 1a", because=(root,)), made()))
    assert (found.command, found.moves_at, found.stuck) == (root.command, NOW, False)
    assert found.causes[0].root() is root
    assert found.summary.count("step 'a' waits") == 2
    nothing = Explanation(NOW, ())
    assert (nothing.command, nothing.summary, nothing.document()["causes"]) == (None, "", [])


# -- queued steps ----------------------------------------------------------------------------------------------


def test_a_python_step_waits_for_a_child_process_although_slots_are_free(make):
    """Both kinds of room are looked at."""
    python = replace(WORKER, python_processes=4, concurrency=100, busy=(replace(BUSY, python=True),))
    plan = factories.plan(steps=[factories.python("a0")])
    cause = explain(make(plan, steps=QUEUED, workers=(python,))).causes[0]
    assert cause.kind is CauseKind.WORKERS_BUSY
    assert "child processes for python steps taken" in cause.text


def test_one_worker_with_room_is_enough(make):
    """However many are full."""
    full = replace(WORKER, id="full", busy=(BUSY,))
    assert explain(make(steps=QUEUED, workers=(full, WORKER))).causes[0].kind is CauseKind.QUEUED
    text = explain(make(steps=QUEUED, workers=(full, replace(full, id="other")))).causes[0].text
    assert "all 2 workers of queue 'default' are busy, 8 of 8 slots taken, all by reports/render" in text


def test_a_worker_that_is_leaving_takes_nothing_new(make):
    """But looks after timers."""
    leaving = replace(WORKER, status="draining")
    found = explain(make(steps=QUEUED, workers=(leaving,)))
    assert [cause.kind for cause in found.causes if cause.weight != "notes"] == [CauseKind.NO_WORKER]
    assert "worker w is leaving" in found.causes[0].text


@pytest.mark.parametrize(
    ("lane", "unpublished", "kind"),
    [
        (LaneFacts(0, None, 3, 0), frozenset(), CauseKind.QUEUED),
        (LaneFacts(0, None, 0, 1), frozenset(), CauseKind.QUEUED),
        (LaneFacts(0, None, 0, 0), frozenset(), CauseKind.DISPATCH_LOST),
        (LaneFacts(1, NOW, 0, 0), frozenset({0}), CauseKind.OUTBOX_LAG),
        (LaneFacts(1, NOW), frozenset(), CauseKind.QUEUED),
    ],
)
def test_how_far_a_dispatch_has_come(make, lane: LaneFacts, unpublished: frozenset[int], kind: CauseKind):
    """Outbox, stream, a worker's hands; and lost only where somebody has looked into the stream."""
    facts = make(steps=QUEUED, unpublished=unpublished, around={"lanes": {"default": lane}})
    assert explain(facts).causes[0].kind is kind


def test_the_order_of_the_questions_is_that_of_the_engine(make):
    """A paused queue before a missing worker, a missing worker before Redis, Redis before busy workers."""
    pause = Pause("queue", "default", NOW, "ada", "drivers")
    down = {"streams_down": "connection refused", "streams": "redis:6379"}
    full = (replace(WORKER, busy=(BUSY,)),)
    assert explain(make(steps=QUEUED, workers=(), around={**down, "pauses": (pause,)})).causes[0].kind == "queue_paused"
    assert explain(make(steps=QUEUED, workers=(), around=down)).causes[0].kind == "no_worker"
    assert explain(make(steps=QUEUED, workers=full, around=down)).causes[0].kind == "streams_down"
    assert explain(make(steps=QUEUED, workers=full)).causes[0].kind == "workers_busy"


def test_a_step_that_was_handed_back_for_its_type_is_blocked_until_a_worker_has_it(make):
    """Its timer goes on, and helps nothing."""
    error = {"code": "STEP_TYPE_NOT_INSTALLED", "message": "waits for a worker that has the step type"}
    waiting = {"a0": ("waiting", {"error": error, "due_at": NOW + timedelta(seconds=5)})}
    without = (replace(WORKER, step_types=frozenset({"http"})),)
    blocked = explain(make(steps=waiting, workers=without)).causes[0]
    assert (blocked.kind, blocked.weight, blocked.until) == (CauseKind.TYPE_NOT_INSTALLED, Weight.BLOCKED, None)
    soon = explain(make(steps=waiting)).causes[0]
    assert (soon.kind, soon.until) == (CauseKind.RETRY, NOW + timedelta(seconds=5))


# -- sets and chains -------------------------------------------------------------------------------------------


def test_ten_thousand_steps_that_wait_for_the_same_are_one_cause(make):
    """With some of their names, and what waits behind all of them."""
    plan = factories.fan(2000)
    branches = [step.id for step in plan.steps if step.id.startswith("fan.")]
    steps = {name: ("queued", {"dispatch_no": 1}) for name in branches}
    found = explain(make(plan, steps=steps, workers=()))
    first = next(cause for cause in found.causes if cause.subject.kind == "queue")
    assert (first.kind, first.count, len(first.members)) == (CauseKind.NO_WORKER, len(branches), 5)
    assert first.behind == 2
    assert f"and {len(branches) - 4} more" in first.text
    assert len(found.causes) < 5


def test_a_long_chain_of_steps_is_cut(make):
    """A step at the end of a hundred is explained in a dozen links."""
    found = explain(
        make(factories.chain(100), steps={"a0": ("running", {"worker": "w", "due_at": NOW, "attempt": 1})}), 99
    )
    links = list(found.causes[0].chain())
    assert len(links) == 12
    assert {link.kind for link in links} == {CauseKind.SIBLING}
    assert len(explain(make(factories.chain(100), steps=QUEUED)).causes) < 15


def test_documents_are_complete(make):
    """Ids in full, times in UTC, lists where there is nothing."""
    document = explain(make(steps=QUEUED, workers=())).document()
    assert (document["schema"], document["run"], document["at"]) == (
        "flowforge/explanation/v1",
        "00000000-0000-0000-0000-000000000007",
        "2026-01-01T12:00:00.000000Z",
    )
    cause = next(one for one in document["causes"] if one["subject"]["kind"] == "queue")
    assert (cause["kind"], cause["since"], cause["until"]) == ("no_worker", "2026-01-01T11:59:00.000000Z", None)
    assert (cause["holders"], cause["members"], cause["because"]) == ([], [], [])
    held = Held("queue", "gpu", paused=False, changed=False, pause=None).document()
    assert (held["paused"], held["changed"], held["paused_by"]) == (False, False, None)
