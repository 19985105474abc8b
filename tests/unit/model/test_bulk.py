"""Plans: what they come to, what has changed since they were made, and the document that keeps them."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from flowforge.errors import InputError
from flowforge.model.bulk import MEANT, POSSIBLE, Outcome, Plan, Result, Target, Verb, refusal, tally
from flowforge.model.drift import Care
from flowforge.model.status import RunStatus

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
RUNNING = Target(UUID(int=1), "etl", 1, RunStatus.RUNNING, 7, gated=True, undoes=2)
FAILED = Target(UUID(int=2), "etl", 2, RunStatus.FAILED, 9, finished_at=NOW)


def plan(verb: Verb, *targets: Target, **options: object) -> Plan:
    """Make a plan."""
    return Plan(UUID(int=99), verb, targets, NOW, "ada", options, "--query flow:etl")


@pytest.mark.parametrize("verb", Verb)
def test_what_a_filter_means_is_possible(verb):
    """And what is not possible has a reason."""
    assert set(MEANT[verb]) <= set(POSSIBLE[verb])
    for status in RunStatus:
        assert (refusal(verb, status) is None) == (status in POSSIBLE[verb])


def test_a_plan_counts_what_it_would_do():
    """By workflow and status, with compensations, slots, and what is refused."""
    counts = plan(Verb.CANCEL, RUNNING, FAILED, replace(RUNNING, id=UUID(int=3), gated=False)).counts()
    assert counts == {
        "runs": 3,
        "able": 2,
        "by_status": {"running": 2, "failed": 1},
        "by_workflow": {"etl@1": 2, "etl@2": 1},
        "refused": {"has ended already": 1},
        "slots_freed": 1,
        "compensations": {"steps": 4, "runs": 2},
    }


def test_force_undoes_nothing_and_other_verbs_free_nothing():
    """Only a cancellation that waits lets compensations run."""
    assert plan(Verb.CANCEL, RUNNING, force=True).compensations == (0, 0)
    assert plan(Verb.PAUSE, RUNNING).slots == 0
    assert plan(Verb.PAUSE, RUNNING).compensations == (0, 0)


def test_the_document_keeps_the_whole_plan():
    """What is read is what was written."""
    made = plan(Verb.RETRY, RUNNING, FAILED, reason="it is back", from_step="charge")
    assert Plan.from_document(json.loads(json.dumps(made.document()))) == made
    named = replace(made, among=frozenset({RunStatus.FAILED, RunStatus.RUNNING}))
    assert Plan.from_document(named.document()) == named
    assert made.document()["schema"] == "flowforge/plan/v1"


@pytest.mark.parametrize(
    "change",
    [
        {"schema": "flowforge/run/v1"},
        {"verb": "delete"},
        {"runs": [{"run": "x"}]},
        {"runs": 7},
        {"id": None},
        {"made_at": "soon"},
        {"options": {"shell": "rm"}},
        {"options": {"reason": 7}},
        {"statuses": ["asleep"]},
    ],
)
def test_a_document_that_is_no_plan_is_refused(change):
    """With what is wrong with it."""
    with pytest.raises(InputError, match="plan"):
        Plan.from_document(plan(Verb.CANCEL, RUNNING).document() | change)
    with pytest.raises(InputError, match="not a plan"):
        Plan.from_document([])


def test_drift_is_whatever_happened_since():
    """A status, an event of a run under way, another end; but not a receipt."""
    running, failed = RUNNING.seen, FAILED.seen
    assert running.drift(running) is None
    assert running.drift(replace(running, seq=8)) == "went on: event 7 was its last, now it is 8"
    assert running.drift(replace(running, status=RunStatus.PAUSED)) == "was running, is paused"
    assert failed.drift(replace(failed, seq=10)) is None
    again = replace(failed, finished_at=NOW + timedelta(seconds=1))
    assert failed.drift(again) == "has ended again, failed as before"
    assert failed.drift(again, Care.NONE) is None


def test_what_goes_on_may_move_within_what_was_asked_for():
    """Its end, its beginning anew, and a status that was not asked for are drift."""
    running, failed = RUNNING.seen, FAILED.seen
    paused = replace(running, status=RunStatus.PAUSED, seq=8)
    assert running.drift(paused, Care.KIND) is None
    assert running.drift(paused, Care.KIND, frozenset({RunStatus.RUNNING})) == "was running, is paused"
    assert running.drift(replace(failed, seq=9), Care.KIND) == "was running, is failed"
    assert failed.drift(running, Care.KIND) == "was failed, is running"
    assert failed.drift(replace(failed, finished_at=NOW + timedelta(1)), Care.KIND) is not None


def test_histories_name_the_plan():
    """Behind the reason, if there is one."""
    assert plan(Verb.PAUSE, RUNNING, reason="holiday").reason == f"holiday [plan {UUID(int=99)}]"
    assert plan(Verb.PAUSE, RUNNING).reason == f"[plan {UUID(int=99)}]"


def test_outcomes_are_counted_by_result():
    """Those that did not occur too."""
    outcomes = [Outcome(UUID(int=no), Result.DONE) for no in range(3)]
    outcomes.append(Outcome(UUID(int=3), Result.REFUSED, "no"))
    assert tally(outcomes) == {"done": 3, "earlier": 0, "refused": 1, "changed": 0}
