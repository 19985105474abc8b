"""A capsule alone says why its run stood still or ended; what was around it is not made up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from flowforge.client.explaining import of_capsule
from flowforge.errors import NotFound
from flowforge.model.explanation import Explanation
from flowforge.model.outcome import Failed, StepError, Waiting
from flowforge.model.plan import Plan
from tests import factories
from tests.factories import THRICE, chain, diamond, foreach, plan, step, undo, waiting
from tests.support.capsules import capsule
from tests.unit.decisions.bench import Bench

AGAIN = StepError("HTTP_503", "try later", retryable=True)
NOTHING = StepError("BROKEN", "it broke", retryable=False)


def why(bench: Bench, step: str | None = None) -> Explanation:
    """Explain the run of a bench from its capsule."""
    return of_capsule(capsule(bench), step)


def kinds(found: Explanation) -> list[str]:
    """Return the chain of kinds below the first cause."""
    return [cause.kind.value for cause in found.causes[0].chain()]


def _retrying(bench: Bench) -> None:
    bench.fail("a", AGAIN)


def _asked(bench: Bench) -> None:
    bench.claim("a")
    bench.settle("a", Waiting(None, approvals=2))
    bench.decide("a", actor="cyd")


def _signalled(bench: Bench) -> None:
    bench.claim("a")
    bench.settle("a", Waiting(None, signal="a"))


def _delayed(bench: Bench) -> None:
    bench.claim("a")
    bench.settle("a", Waiting(timedelta(hours=1)))


def _overdue(bench: Bench) -> None:
    _delayed(bench)
    bench.after(hours=2)


def _items(bench: Bench) -> None:
    bench.claim("a")
    bench.settle("a", bench.done(bench.no("a")))


def _cancelling(bench: Bench) -> None:
    bench.claim("a")
    bench.cancel()


def _failing(bench: Bench) -> None:
    bench.claim("b")
    bench.fail("a")


def _compensating(bench: Bench) -> None:
    bench.complete("a")
    bench.fail("b")


@pytest.mark.parametrize(
    ("made", "happens", "expected"),
    [
        (plan(step("a")), lambda _: None, ["queued"]),
        (plan(step("a")), lambda bench: bench.claim("a"), ["running"]),
        (plan(step("a", retry=THRICE)), _retrying, ["retry"]),
        (plan(waiting("a")), _signalled, ["signal"]),
        (plan(waiting("a", type="approval")), _asked, ["approval"]),
        (plan(step("a", type="delay", config={"duration": "1h"})), _delayed, ["delay"]),
        (plan(step("a", type="delay", config={"duration": "1h"})), _overdue, ["overdue"]),
        (plan(foreach("a", children=[step("one")])), _items, ["items", "queued"]),
        (plan(step("a")), lambda bench: bench.pause(), ["run_paused"]),
        (plan(step("a")), _cancelling, ["cancelling", "stopping"]),
        (plan(step("a"), step("b")), _failing, ["failing", "running"]),
        (plan(step("a", compensate=undo()), step("b", "a")), _compensating, ["compensating", "queued"]),
    ],
)
def test_a_run_under_way_is_explained_as_it_stood(made: Plan, happens: Callable[[Bench], object], expected: list[str]):
    """With what its history says, and without a word on workers that nobody has seen."""
    bench = Bench(made)
    happens(bench)
    found = why(bench)
    assert (kinds(found), found.foreign, found.at) == (expected, True, bench.now)
    assert all(cause.kind != "no_worker" for cause in found.causes)


def test_a_run_that_was_not_let_in_does_not_say_which_of_the_two_it_waits_for():
    """Its gate is known, and who was in it is not."""
    bench = Bench(chain(1), admit=False)
    assert kinds(why(bench)) == ["not_admitted"]
    gated = factories.plan(step("a"), concurrency={"limit": 3})
    assert "its gate of 3" in why(Bench(gated, admit=False)).summary


def test_who_has_approved_and_how_many_are_missing():
    """Decisions of before the step asked again do not count."""
    bench = Bench(plan(waiting("a", type="approval")))
    _asked(bench)
    (cause,) = why(bench).causes
    assert [one["actor"] for one in cause.data["approved"]] == ["cyd"]
    assert cause.data["missing"] == 1


def test_a_step_of_it_is_explained_alone():
    """And one that it does not have is not there."""
    bench = Bench(diamond())
    bench.complete("a", "c")
    assert kinds(why(bench, "d")) == ["sibling", "queued"]
    with pytest.raises(NotFound, match="no step 'e'"):
        why(bench, "e")


def test_attempts_that_are_used_up_are_listed_and_a_retry_begins_to_count_anew():
    """As the installation itself would say it."""
    bench = Bench(plan(step("a", retry=THRICE | {"max_attempts": 2})))
    for _ in range(2):
        bench.fail("a", AGAIN)
        bench.after(minutes=1)
        bench.wake()
    found = why(bench)
    assert (kinds(found), found.status) == (["step_failed"], "failed")
    assert [one["code"] for one in found.causes[0].data["attempts"]] == ["HTTP_503", "HTTP_503"]
    assert "its attempts are used up" in found.summary
    bench.retry()
    bench.fail("a", NOTHING)
    assert "that is not tried again by itself" in why(bench).summary


def test_a_run_out_of_time_says_what_it_stood_at():
    """A signal that did not come, and a step that nobody had taken."""
    bench = Bench(plan(waiting("a"), step("b"), timeout="1h"))
    _signalled(bench)
    bench.after(hours=1)
    bench.wake()
    found = why(bench)
    assert [one.text for one in found.causes[0].because] == [
        "step 'a' waited for the signal 'a', for 1h",
        "step 'b' waited for a worker, for 1h",
    ]


def test_who_cancelled_it_and_what_could_not_be_undone():
    """The ends of runs, in the order in which they came about."""
    bench = Bench(chain(1))
    bench.cancel()
    assert "cancelled by ada" in why(bench).summary
    bench = Bench(plan(step("a", compensate=undo(retry={"max_attempts": 1})), step("b", "a")))
    bench.complete("a")
    bench.fail("b")
    bench.fail("a:compensate")
    assert [cause.kind for cause in why(bench).causes] == ["step_failed", "not_undone"]


def test_runs_that_lie_in_the_capsule_are_explained_in_turn():
    """Those of a step that waits, and of one that failed; the newest speaks."""
    child = Bench(chain(1))
    child.fail("a0", NOTHING)
    parent = Bench(plan(step("sub", type="workflow", config={"name": "inner"})))
    parent.claim("sub")
    parent.settle("sub", Waiting(timedelta(hours=1)))
    inner = capsule(child, run_id=7)
    inner = replace(inner, run=replace(inner.run, parent=(parent.run.id, "sub")))
    assert kinds(of_capsule(capsule(parent, children=(inner,)))) == ["child_run", "step_failed"]
    assert kinds(of_capsule(capsule(parent))) == ["child_run"]
    parent = Bench(plan(step("sub", type="workflow", config={"name": "inner"})))
    parent.claim("sub")
    parent.settle("sub", Failed(NOTHING))
    assert [one.subject.name for one in of_capsule(capsule(parent, children=(inner,))).causes[0].chain()] == [
        "sub",
        "a0",
    ]
