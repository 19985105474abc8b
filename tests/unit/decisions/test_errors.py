"""What the final failure of a step does: to its run, to its successors, and to the parallel step around it."""

import pytest

from flowforge.model.event import EventType
from flowforge.model.facts import Accepted
from flowforge.model.outcome import Cancelled, Completed, Failed, StepError
from tests.factories import THRICE, conditional, failing, fan, nested, parallel, plan, step
from tests.unit.decisions.bench import ERROR, Bench


def test_a_failure_fails_the_run_at_once_when_nothing_else_runs():
    bench = Bench(failing("fail"))
    bench.fail("a")
    assert (bench.run.status, bench.run.error) == ("failed", ERROR.document("a", 1))
    assert bench.statuses("a", "b", "c") == ["failed", "pending", "cancelled"]
    assert EventType.RUN_FAILING not in bench.history()
    assert (bench.run.finished_at, bench.run.wake_at) == (bench.now, None)


def test_a_failing_run_lets_running_steps_finish_and_starts_nothing():
    bench = Bench(plan(step("a"), step("b"), step("c", "b"), step("d")))
    bench.claim("b")
    bench.fail("a")
    assert (bench.run.status, bench.run.failing, bench.run.open_steps) == ("running", True, 1)
    assert bench.statuses("b", "d") == ["running", "cancelled"]
    assert bench.stops == [], "a failure does not interrupt what runs"
    assert bench.settle("b", Completed(None)) == Accepted()
    assert bench.statuses("b", "c") == ["completed", "pending"]
    assert (bench.run.status, bench.error()["step"]) == ("failed", "a")


def test_a_failing_run_gives_no_retries_and_keeps_its_first_error():
    bench = Bench(plan(step("a"), step("b", retry=THRICE)))
    bench.claim("b")
    bench.fail("a")
    bench.settle("b", Failed(ERROR))
    assert (bench.status("b"), bench.run.status, bench.error()["step"]) == ("failed", "failed", "a")


def test_a_failing_run_cancels_what_waits_for_a_retry():
    bench = Bench(plan(step("a"), step("b", retry=THRICE)))
    bench.fail("b")
    bench.fail("a")
    assert (bench.status("b"), bench.run.status) == ("cancelled", "failed")


def test_continue_leaves_the_step_failed_and_goes_on():
    bench = Bench(failing("continue"))
    bench.fail("a")
    assert bench.statuses("a", "b") == ["failed", "queued"]
    bench.complete("b", "c")
    assert (bench.run.status, bench.run.error) == ("completed", None)


def test_skip_counts_the_step_as_skipped_with_its_error_and_goes_on():
    bench = Bench(failing("skip"))
    bench.fail("a")
    assert bench.statuses("a", "b") == ["skipped", "queued"]
    assert bench.error("a")["code"] == "BROKEN"
    bench.complete("b", "c")
    assert bench.run.status == "completed"


@pytest.mark.parametrize("on_error", ["continue", "skip"])
def test_error_handling_comes_after_the_retries(on_error):
    bench = Bench(plan(step("a", on_error=on_error, retry=THRICE), step("b", "a")))
    bench.fail("a")
    assert bench.statuses("a", "b") == ["waiting", "pending"]


@pytest.mark.parametrize("on_error", ["continue", "skip"])
def test_a_failed_conditional_takes_no_branch(on_error):
    bench = Bench(plan(conditional("if", true="b", false="c") | {"on_error": on_error}, step("b"), step("c")))
    bench.fail("if")
    assert bench.statuses("b", "c") == ["skipped", "skipped"]
    assert bench.run.status == "completed"


# -- parallel steps that wait for all ----------------------------------------------------------------------


def test_a_parallel_step_that_waits_lets_siblings_of_a_failed_child_finish():
    bench = Bench(fan(3))
    bench.fail("fan.c0")
    assert bench.statuses("fan.c1", "fan.c2", "fan") == ["queued", "queued", "pending"]
    bench.complete("fan.c1", "fan.c2")
    assert bench.status("fan") == "queued"
    bench.fail("fan")
    assert (bench.run.status, bench.error()["step"]) == ("failed", "fan")


def test_what_follows_a_failed_child_inside_its_parallel_step_is_skipped():
    children = [step("a"), step("b", "a"), step("c", "b"), step("d")]
    bench = Bench(plan(parallel("fan", children=children)))
    bench.fail("fan.a")
    assert bench.statuses("fan.b", "fan.c", "fan.d", "fan") == ["skipped", "skipped", "queued", "pending"]
    bench.complete("fan.d")
    assert bench.status("fan") == "queued"


def test_a_step_outside_that_follows_a_failed_child_is_skipped():
    bench = Bench(plan(parallel("fan", children=[step("a"), step("b")], on_error="continue"), step("x", "fan.a")))
    bench.fail("fan.a")
    assert bench.status("x") == "skipped"
    bench.drive()
    assert bench.run.status == "completed"


def test_a_failed_child_is_not_outvoted_by_dependencies_of_branches():
    """`fails` lets only the join go on: two branches that were taken do not make up for a failure."""
    children = [
        step("bad"),
        conditional("p", true="x"),
        conditional("q", true="y"),
        step("x"),
        step("y"),
        step("end", "bad", "x", "y"),
    ]
    bench = Bench(plan(parallel("fan", children=children)))
    bench.fail("fan.bad")
    bench.complete("fan.p", branch="true")
    bench.complete("fan.q", branch="true")
    bench.complete("fan.x", "fan.y")
    assert bench.status("fan.end") == "skipped"


@pytest.mark.parametrize(("on_error", "status"), [("continue", "failed"), ("skip", "skipped")])
def test_a_child_may_handle_its_own_failure(on_error, status):
    bench = Bench(plan(parallel("fan", children=[step("a", on_error=on_error), step("b", "a")])))
    bench.fail("fan.a")
    assert bench.statuses("fan.a", "fan.b") == [status, "queued"]


# -- parallel steps that fail fast -------------------------------------------------------------------------


def test_the_first_failed_child_fails_the_parallel_step_and_stops_the_others():
    bench = Bench(fan(4, wait_for_all=False, on_error="continue"))
    bench.claim("fan.c1", "w2")
    bench.complete("fan.c3")
    bench.fail("fan.c0")
    names = ["fan.c0", "fan.c1", "fan.c2", "fan.c3"]
    assert bench.statuses(*names) == ["failed", "running", "cancelled", "completed"]
    assert bench.stops == [bench.plan.numbers["fan.c1"]]
    assert bench.step("fan.c1").cancel_requested
    assert (bench.status("fan"), bench.error("fan")["code"]) == ("failed", "PARALLEL_FAILED")
    assert "fan.c0" in bench.error("fan")["message"]
    assert bench.status("after") == "queued"


def test_a_parallel_step_that_fails_fast_fails_its_run():
    bench = Bench(fan(2, wait_for_all=False))
    bench.claim("fan.c1", "w2")
    bench.fail("fan.c0")
    assert (bench.run.status, bench.run.failing) == ("running", True)
    bench.settle("fan.c1", Cancelled())
    assert (bench.run.status, bench.error()["code"]) == ("failed", "PARALLEL_FAILED")


@pytest.mark.parametrize("outcome", [Cancelled(), Completed(None), Failed(ERROR)], ids=["cancelled", "done", "failed"])
def test_a_stopped_child_may_end_as_it_likes_after_its_parallel_step(outcome):
    bench = Bench(fan(2, wait_for_all=False, on_error="continue"))
    bench.claim("fan.c1", "w2")
    bench.fail("fan.c0")
    bench.complete("after")
    assert bench.run.status == "running"
    bench.settle("fan.c1", outcome)
    assert bench.run.status == "completed"


def test_a_stopped_child_that_loses_its_worker_is_cancelled_not_tried_again():
    bench = Bench(fan(2, wait_for_all=False, on_error="continue"))
    bench.claim("fan.c1", "w2")
    bench.fail("fan.c0")
    bench.after(seconds=31)
    bench.wake()
    assert bench.status("fan.c1") == "cancelled"


def test_a_child_with_attempts_left_does_not_fail_its_parallel_step():
    children = [step("a", retry=THRICE), step("b")]
    bench = Bench(plan(parallel("fan", children=children, wait_for_all=False)))
    bench.fail("fan.a")
    assert bench.statuses("fan.a", "fan.b", "fan") == ["waiting", "queued", "pending"]


def test_failing_fast_reaches_into_nested_parallel_steps():
    bench = Bench(nested(on_error="continue"))
    bench.claim("out.in.y", "w2")
    bench.fail("out.x")
    names = ["out.in.y", "out.in.z", "out.in", "out", "after"]
    assert bench.statuses(*names) == ["running", "cancelled", "cancelled", "failed", "queued"]
    bench.settle("out.in.y", Cancelled())
    bench.complete("after")
    assert bench.run.status == "completed"


def test_failing_fast_travels_outwards_through_nested_parallel_steps():
    bench = Bench(nested(on_error="continue"))
    bench.fail("out.in.y")
    names = ["out.in.z", "out.in", "out.x", "out", "after"]
    assert bench.statuses(*names) == ["cancelled", "failed", "cancelled", "failed", "queued"]


@pytest.mark.parametrize("child", ["a", "b"], ids=["after the failed child", "after a cancelled child"])
@pytest.mark.parametrize("on_error", ["continue", "skip"])
def test_a_step_outside_that_follows_a_child_is_not_forgotten_when_the_parallel_step_fails_fast(child, on_error):
    children = [step("a"), step("b")]
    fail_fast = parallel("fan", children=children, wait_for_all=False, on_error=on_error)
    bench = Bench(plan(fail_fast, step("x", f"fan.{child}"), step("after", "fan")))
    bench.fail("fan.a")
    assert bench.statuses("x", "after") == ["skipped", "queued"]
    bench.drive()
    assert bench.run.status == "completed"


def test_a_step_outside_that_follows_a_stopped_child_that_fails_late_is_not_forgotten():
    fail_fast = parallel("fan", children=[step("a"), step("b")], wait_for_all=False, on_error="continue")
    bench = Bench(plan(fail_fast, step("x", "fan.b")))
    bench.claim("fan.b", "w2")
    bench.fail("fan.a")
    assert bench.status("x") == "pending"
    bench.settle("fan.b", Failed(StepError("LATE", "it broke while being stopped")))
    assert bench.status("x") == "skipped"
    assert bench.run.status == "completed"


def test_a_stopped_child_that_fails_is_not_tried_again():
    children = [step("a"), step("b", retry=THRICE)]
    bench = Bench(plan(parallel("fan", children=children, wait_for_all=False, on_error="continue"), step("after")))
    bench.claim("fan.b", "w2")
    bench.fail("fan.a")
    bench.settle("fan.b", Failed(ERROR))
    assert bench.statuses("fan.b", "fan") == ["failed", "failed"]
