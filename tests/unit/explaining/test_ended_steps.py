"""Why one step did not run, or ended as it did: from the run's capsule, as from its rows."""

from __future__ import annotations

from flowforge.client.explaining import of_capsule
from flowforge.model.explanation import Cause
from tests.factories import conditional, plan, step, undo
from tests.support.capsules import capsule
from tests.unit.decisions.bench import Bench


def told(bench: Bench, name: str) -> Cause:
    """Return what is said of one step."""
    return of_capsule(capsule(bench), name).causes[0]


def test_a_branch_that_was_not_taken_and_what_hangs_on_it():
    """Which branch was taken instead; a step behind it hangs on it."""
    bench = Bench(
        plan(conditional("big", true="review", false="charge"), step("review"), step("charge"), step("x", "review"))
    )
    bench.complete("big", branch="false")
    assert (
        told(bench, "review").text
        == "step 'review' was skipped: 'big' took the branch 'false', which leads to 'charge'"
    )
    behind = told(bench, "x")
    assert behind.text == "step 'x' was skipped, because 'review' did not complete"
    assert [cause.subject.name for cause in behind.chain()] == ["x", "review"]


def test_a_branch_that_leads_nowhere():
    """There is no step that runs instead."""
    bench = Bench(plan(conditional("big", true="review"), step("review"), step("other")))
    bench.complete("big", branch="false")
    assert "took the branch 'false', which leads nowhere" in told(bench, "review").text


def test_a_step_that_somebody_skipped_and_one_whose_failure_is_left_out():
    """Who did, and which error."""
    bench = Bench(plan(step("a"), step("b", on_error="skip"), step("c")))
    bench.skip("a")
    bench.fail("b")
    assert "step 'a' was skipped by" in told(bench, "a").text
    assert told(bench, "b").text.startswith("step 'b' was left out, because it failed: step 'b' failed with ")


def test_steps_of_a_run_that_has_ended():
    """The one that failed offers a retry; the others say what became of them."""
    bench = Bench(plan(step("a", compensate=undo()), step("b", "a"), step("c", "b")))
    bench.complete("a")
    assert told(bench, "a").text == "step 'a' completed on attempt 1: there is nothing to move"
    bench.fail("b")
    assert told(bench, "b").command is None, "it may not be retried before all is undone"
    bench.complete("a:compensate")
    assert (told(bench, "b").kind, told(bench, "b").command) == ("step_failed", f"flowforge retry {bench.run.id}")
    assert told(bench, "a").text == "step 'a' completed, and was undone later"
    assert told(bench, "c").text == "step 'c' did not run: the run had ended before its turn came"
