"""An operator's retry: what starts over, what is kept, and that the run can always end afterwards."""

from datetime import timedelta

import pytest

from flowforge.model import endings
from flowforge.model.decide import decide
from flowforge.model.event import EventType
from flowforge.model.facts import Accepted, Admitted, Refusal, Refused, Rejected, RetryRequested
from flowforge.model.outcome import Cancelled, Completed, Failed, StepError
from flowforge.model.turn import Terms, Turn
from tests.factories import THRICE, chain, conditional, diamond, failing, fan, parallel, plan, rejoin, step
from tests.unit.decisions.bench import ERROR, Bench


def test_a_retry_starts_what_failed_over_and_keeps_what_completed():
    bench = Bench(diamond())
    bench.complete("a", "c")
    bench.fail("b")
    assert bench.retry() == Accepted()
    assert bench.statuses("a", "b", "c", "d") == ["completed", "queued", "completed", "pending"]
    bench.complete("b", "d")
    assert (bench.run.status, bench.run.error) == ("completed", None)
    assert (bench.step("b").attempt, bench.step("a").attempt) == (2, 1)


def test_a_retried_run_is_pending_until_it_is_admitted_again():
    bench = Bench(chain(2, timeout="1m"))
    bench.fail("a0")
    bench.apply(RetryRequested("ada", "fixed the bug"))
    assert (bench.run.status, bench.run.error, bench.run.finished_at) == ("pending", None, None)
    assert (bench.run.deadline_at, bench.run.wake_at) == (None, None)
    event = bench.events[-1]
    assert event.type is EventType.RUN_RETRIED
    assert event.data is not None
    assert (event.data["actor"], event.data["reason"]) == ("ada", "fixed the bug")
    bench.after(minutes=5)
    bench.apply(Admitted())
    assert bench.run.deadline_at == bench.now + timedelta(minutes=1)


def test_a_retry_gives_failures_and_crashes_a_new_start_but_never_an_old_token():
    bench = Bench(plan(step("a", retry=THRICE)))
    bench.claim("a")
    late = bench.settled("a", Completed(None))
    bench.settle("a", Failed(StepError("NO", "", retryable=False)))
    bench.retry()
    row = bench.step("a")
    assert (row.failures, row.crashes, row.error, row.attempt, row.token) == (0, 0, None, 1, 1)
    bench.claim("a")
    assert bench.apply(late) == [Refused(Refusal.STALE)]
    assert bench.step("a").token == 2


@pytest.mark.parametrize("how", ["pending", "running", "cancelling", "completed"])
def test_only_a_failed_or_cancelled_run_is_retried(how):
    bench = Bench(chain(1), admit=how != "pending")
    if how == "cancelling":
        bench.claim("a0")
        bench.cancel()
    elif how == "completed":
        bench.complete("a0")
    before = bench.run
    assert isinstance(bench.apply(RetryRequested("ada"))[0], Rejected)
    assert bench.run == before


def test_a_run_cancelled_before_it_started_starts_when_retried():
    bench = Bench(chain(2), admit=False)
    bench.cancel()
    bench.retry()
    assert bench.queued() == {"a0"}
    bench.drive()
    assert bench.run.status == "completed"


def test_a_retry_that_is_cancelled_before_its_admission_can_be_retried():
    bench = Bench(diamond())
    bench.complete("a")
    bench.fail("b")
    bench.apply(RetryRequested("ada"))
    bench.cancel()
    bench.retry()
    bench.drive()
    assert (bench.run.status, bench.step("a").attempt) == ("completed", 1)


# -- from a step -------------------------------------------------------------------------------------------


def test_a_retry_from_a_step_repeats_it_and_everything_behind_it():
    bench = Bench(plan(step("a"), step("b", "a"), step("c", "a"), step("d", "b"), step("e")))
    bench.complete("a", "b", "c", "d")
    bench.fail("e")
    bench.retry("b")
    names = ["a", "b", "c", "d", "e"]
    assert bench.statuses(*names) == ["completed", "queued", "completed", "pending", "queued"]
    bench.drive()
    assert [bench.step(name).attempt for name in names] == [1, 2, 1, 2, 2]


def test_a_retry_from_a_conditional_may_take_the_other_branch():
    bench = Bench(plan(conditional("if", true="b", false="c"), step("b"), step("c"), step("d", "b", "c")))
    bench.complete("if", branch="true")
    bench.complete("b")
    bench.fail("d")
    bench.retry("if")
    bench.complete("if", branch="false")
    assert bench.statuses("b", "c") == ["skipped", "queued"]
    bench.complete("c", "d")
    assert bench.run.status == "completed"


def test_a_retry_from_a_step_that_a_branch_skipped_runs_it():
    bench = Bench(plan(conditional("if", true="b"), step("b"), step("c")))
    bench.complete("if", branch="false")
    bench.fail("c")
    bench.retry("b")
    assert bench.statuses("if", "b") == ["completed", "queued"]


def test_a_retry_from_a_parallel_step_repeats_its_children():
    bench = Bench(fan(2))
    bench.complete("fan.c0", "fan.c1", "fan")
    bench.fail("after")
    bench.retry("fan")
    assert bench.statuses("fan.c0", "fan.c1", "fan", "after") == ["queued", "queued", "pending", "pending"]


def test_skips_are_counted_anew_as_they_were():
    bench = Bench(rejoin())
    bench.complete("if", branch="true")
    bench.complete("yes")
    bench.fail("end")
    bench.retry()
    assert (bench.status("end"), bench.step("end").skipped_dependencies) == ("queued", 1)


@pytest.mark.parametrize("branch", ["true", "false"])
def test_a_branch_into_a_parallel_step_is_counted_anew_as_it_was(branch):
    bench = Bench(plan(conditional("if", true="fan"), parallel("fan", children=[step("x")]), step("y")))
    bench.complete("if", branch=branch)
    if branch == "true":
        bench.fail("fan.x")
    bench.fail("y")
    bench.retry()
    assert bench.status("fan.x") == ("queued" if branch == "true" else "skipped")


def test_an_edge_from_a_failed_child_still_skips_after_a_retry_behind_it():
    children = [step("a"), step("b", "a", "x", join="all")]
    fan_out = parallel("fan", children=children, on_error="continue")
    bench = Bench(plan(step("x"), fan_out, step("y", "fan")))
    bench.fail("fan.a")
    bench.complete("x")
    bench.complete("fan")
    bench.fail("y")
    assert bench.status("fan.b") == "skipped"
    bench.retry("x")
    bench.drive()
    assert bench.run.status == "completed"


# -- error handling ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("on_error", ["continue", "skip"])
def test_a_failure_that_error_handling_accepted_is_kept(on_error):
    bench = Bench(failing(on_error))
    bench.fail("a")
    bench.complete("b")
    bench.fail("c")
    kept = bench.step("a")
    bench.retry()
    assert bench.step("a") == kept
    assert bench.statuses("b", "c") == ["completed", "queued"]


@pytest.mark.parametrize("wait_for_all", [True, False])
def test_children_of_a_parallel_step_whose_failure_was_accepted_are_kept(wait_for_all):
    children = [step("a"), step("b")]
    bench = Bench(plan(parallel("fan", children=children, wait_for_all=wait_for_all, on_error="continue"), step("z")))
    bench.fail("fan.a")
    if wait_for_all:
        bench.complete("fan.b")
        bench.fail("fan")
    bench.fail("z")
    before = bench.statuses("fan.a", "fan.b", "fan")
    bench.retry()
    assert bench.statuses("fan.a", "fan.b", "fan") == before
    bench.drive()
    assert bench.run.status == "completed"


def test_children_of_a_parallel_step_that_failed_are_repeated():
    bench = Bench(fan(3, wait_for_all=False))
    bench.complete("fan.c0")
    bench.fail("fan.c1")
    bench.retry()
    assert bench.statuses("fan.c0", "fan.c1", "fan.c2", "fan") == ["completed", "queued", "queued", "pending"]


def test_a_failure_that_error_handling_never_saw_is_repeated():
    """While a run fails nothing is skipped: the step failed, and its on_error has not been applied."""
    bench = Bench(plan(step("a"), step("b", on_error="skip"), step("c", "b")))
    bench.claim("b")
    bench.fail("a")
    bench.settle("b", Failed(ERROR))
    bench.retry()
    assert bench.statuses("a", "b") == ["queued", "queued"]
    bench.drive()
    assert bench.run.status == "completed"


# -- what happened while the run was ending ----------------------------------------------------------------


@pytest.mark.parametrize("how", ["fail", "cancel"])
def test_what_follows_a_step_that_completed_while_the_run_was_ending_is_not_forgotten(how):
    bench = Bench(plan(step("a"), step("b"), step("c", "b")))
    bench.claim("b")
    if how == "fail":
        bench.fail("a")
    else:
        bench.cancel()
    bench.settle("b", Completed(None))
    bench.retry()
    assert bench.statuses("b", "c") == ["completed", "queued"]
    bench.drive()
    assert bench.run.status == "completed"


def test_a_branch_not_taken_while_the_run_was_ending_stays_not_taken():
    bench = Bench(plan(conditional("if", true="yes"), step("bad"), step("x"), step("yes", "x"), step("end", "yes")))
    bench.complete("x")
    bench.claim("if", "w2")
    bench.fail("bad")
    bench.settle("if", Completed(None, branch="false"))
    bench.retry()
    assert bench.statuses("yes", "end", "bad") == ["skipped", "skipped", "queued"]
    bench.complete("bad")
    assert bench.run.status == "completed"


@pytest.mark.parametrize("how", ["cancel", "timeout"])
def test_a_run_whose_steps_all_completed_while_it_was_ending_completes_when_retried(how):
    bench = Bench(chain(1, timeout="10s"))
    bench.claim("a0")
    bench.after(seconds=10)
    bench.cancel() if how == "cancel" else bench.wake()
    bench.settle("a0", Completed(None))
    assert bench.run.status == ("cancelled" if how == "cancel" else "failed")
    bench.retry()
    assert bench.run.status == "completed"


def test_a_run_whose_output_was_refused_makes_it_again_when_retried():
    bench = Bench(chain(1))
    bench.claim("a0")
    turn = Turn(bench.run, bench.now, Terms())
    decide(turn, [bench.settled("a0", Completed(None))])
    endings.refuse_output(turn, StepError("OUTPUT_ERROR", "no such key"))
    bench.run, bench.events = turn.result(), [*bench.events, *turn.events]
    bench.retry()
    assert bench.run.status == "completed"


def test_a_retry_after_a_cancellation_repeats_what_was_stopped():
    bench = Bench(plan(step("a"), step("b", "a"), step("c", "b")))
    bench.complete("a")
    bench.claim("b")
    bench.cancel()
    bench.settle("b", Cancelled())
    bench.retry()
    assert bench.statuses("a", "b", "c") == ["completed", "queued", "pending"]
    bench.drive()
    assert bench.run.status == "completed"


def test_outputs_that_are_made_again_count_once():
    bench = Bench(chain(2), terms=Terms(max_run_bytes=20))
    for _ in range(3):
        bench.claim("a0")
        bench.settle("a0", Completed(None), output='"12345678"')
        bench.fail("a1")
        bench.retry("a0")
    assert bench.status("a0") == "queued"
    bench.drive()
    assert bench.run.status == "completed"


def test_what_follows_a_failure_that_was_skipped_over_runs_again():
    bench = Bench(failing("skip"))
    bench.fail("a")
    bench.fail("b")
    bench.retry()
    assert bench.statuses("a", "b") == ["skipped", "queued"]


def test_the_output_of_a_repeated_step_is_forgotten():
    bench = Bench(chain(2))
    bench.complete("a0")
    bench.fail("a1")
    bench.apply(RetryRequested("ada", from_step=0))
    assert bench.commits[-1].turn.touched()[0].output == "null", "None would leave the stored output"


def test_a_poisoned_step_may_lose_as_many_workers_again_after_a_retry():
    bench = Bench(chain(1), terms=Terms(max_crashes=1))
    for _ in range(2):
        for queued in (True, False):
            bench.claim("a0")
            bench.after(seconds=30)
            bench.wake()
            assert (bench.status("a0") == "queued") is queued
        bench.retry()
