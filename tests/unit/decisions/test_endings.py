"""How runs end: cancelled, timed out, completed; and who wins when two of those meet."""

from datetime import timedelta

import pytest

from flowforge.model import endings
from flowforge.model.decide import decide
from flowforge.model.event import EventType
from flowforge.model.facts import (
    Accepted,
    Admitted,
    CancelRequested,
    DuplicatePrevented,
    Refusal,
    Refused,
    Rejected,
    Woke,
)
from flowforge.model.outcome import Cancelled, Completed, Failed, Released, StepError, Waiting
from flowforge.model.turn import Terms, Turn
from tests.factories import THRICE, chain, diamond, parallel, plan, step
from tests.unit.decisions.bench import ERROR, Bench

CANCEL = CancelRequested("ada")


def test_a_run_that_waits_for_its_gate_is_cancelled_at_once():
    bench = Bench(chain(2), admit=False)
    assert bench.cancel() == Accepted()
    assert (bench.run.status, dict(bench.run.steps), bench.run.wake_at) == ("cancelled", {}, None)
    assert bench.apply(Admitted()) == [Refused(Refusal.OVER)]


def test_a_run_in_which_nothing_runs_is_cancelled_at_once():
    bench = Bench(plan(step("a"), step("b", retry=THRICE), step("c"), step("d", "a", "c")))
    bench.fail("b")
    bench.complete("a")
    bench.cancel()
    assert bench.run.status == "cancelled"
    assert bench.statuses("a", "b", "c", "d") == ["completed", "cancelled", "cancelled", "cancelled"]
    assert bench.history()[-2:] == [EventType.RUN_CANCELLING, EventType.RUN_CANCELLED]


def test_a_waiting_delay_is_cancelled_at_once():
    bench = Bench(chain(2))
    bench.claim("a0")
    bench.settle("a0", Waiting(timedelta(days=1)))
    bench.cancel()
    assert (bench.status("a0"), bench.run.status) == ("cancelled", "cancelled")


def test_a_cancelled_run_waits_until_every_attempt_has_acknowledged():
    bench = Bench(plan(step("a"), step("b"), step("c")))
    bench.claim("a")
    bench.claim("b")
    bench.cancel()
    assert (bench.run.status, bench.run.open_steps) == ("cancelling", 2)
    assert sorted(bench.stops) == [0, 1]
    assert bench.step("a").cancel_requested
    bench.settle("a", Cancelled())
    assert (bench.run.status, bench.status("a")) == ("cancelling", "cancelled")
    assert not bench.step("a").cancel_requested
    bench.settle("b", Cancelled())
    assert bench.run.status == "cancelled"


@pytest.mark.parametrize(
    ("outcome", "status"),
    [
        (Completed(None), "completed"),
        (Failed(ERROR), "failed"),
        (Released(), "cancelled"),
        (Waiting(timedelta(seconds=5)), "cancelled"),
    ],
    ids=["completed", "failed", "released", "waiting"],
)
def test_whatever_a_stopped_attempt_comes_to_its_run_is_cancelled_and_nothing_follows(outcome, status):
    bench = Bench(plan(step("a", retry=THRICE), step("b", "a")))
    bench.claim("a")
    bench.cancel()
    bench.settle("a", outcome)
    assert (bench.run.status, bench.statuses("a", "b")) == ("cancelled", [status, "pending"])


def test_a_stopped_attempt_that_loses_its_lease_has_acknowledged():
    bench = Bench(chain(1))
    bench.claim("a0")
    bench.cancel()
    bench.after(seconds=29)
    bench.wake()
    assert bench.run.status == "cancelling"
    bench.after(seconds=1)
    bench.wake()
    assert (bench.run.status, bench.status("a0")) == ("cancelled", "cancelled")


def test_a_second_cancellation_changes_nothing():
    bench = Bench(chain(1))
    bench.claim("a0")
    bench.cancel()
    before, stops = bench.run, list(bench.stops)
    assert bench.cancel() == Accepted()
    assert (bench.run, bench.stops) == (before, stops)


def test_a_failing_run_can_still_be_cancelled():
    bench = Bench(plan(step("a"), step("b")))
    bench.claim("b")
    bench.fail("a")
    assert bench.cancel() == Accepted()
    bench.settle("b", Cancelled())
    assert bench.run.status == "cancelled"


@pytest.mark.parametrize("how", ["completed", "failed", "cancelled"])
def test_a_run_that_has_ended_is_not_cancelled(how):
    bench = Bench(chain(1))
    if how == "cancelled":
        bench.cancel()
    elif how == "failed":
        bench.fail("a0")
    else:
        bench.complete("a0")
    before = bench.run
    assert bench.cancel() == Rejected(f"the run is already {how}")
    assert bench.run == before


# -- meetings ----------------------------------------------------------------------------------------------


def test_completion_before_cancel_in_one_transaction_wins():
    bench = Bench(chain(1))
    bench.claim("a0")
    answers = bench.apply(bench.settled("a0", Completed(None)), CANCEL)
    assert answers == [Accepted(), Rejected("the run is already completed")]
    assert (bench.run.status, bench.history()[-1]) == ("completed", EventType.RUN_COMPLETED)


def test_cancel_before_completion_in_one_transaction_wins_and_the_outcome_is_recorded():
    bench = Bench(chain(1))
    bench.claim("a0")
    bench.apply(CANCEL, bench.settled("a0", Completed(None)))
    assert (bench.run.status, bench.status("a0")) == ("cancelled", "completed")


def test_completion_before_the_deadline_is_noticed_wins():
    bench = Bench(chain(1, timeout="10s"))
    bench.claim("a0")
    bench.after(seconds=11)
    bench.apply(bench.settled("a0", Completed(None)), Woke())
    assert (bench.run.status, bench.run.error) == ("completed", None)
    assert bench.history().count(EventType.RUN_COMPLETED) == 1


def test_a_failure_in_the_transaction_that_queued_a_step_takes_the_dispatch_back():
    bench = Bench(plan(step("a"), step("b", "a"), step("c")))
    bench.claim("a")
    bench.claim("c")
    sent = len(bench.outbox)
    bench.apply(bench.settled("a", Completed(None)), bench.settled("c", Failed(ERROR)))
    assert (bench.status("b"), bench.run.status, bench.outbox[sent:]) == ("cancelled", "failed", [])


# -- timeouts ----------------------------------------------------------------------------------------------


def test_a_run_that_takes_too_long_fails_and_its_attempts_are_stopped():
    bench = Bench(chain(2, timeout="20s"))
    assert bench.run.deadline_at == bench.run.wake_at == bench.now + timedelta(seconds=20)
    bench.claim("a0")
    bench.after(seconds=19)
    bench.wake()
    assert not bench.run.failing
    bench.after(seconds=1)
    bench.wake()
    assert (bench.run.failing, bench.error()["code"], bench.stops) == (True, "RUN_TIMEOUT", [0])
    assert bench.run.deadline_at is None, "it is over: it must not go off again"
    bench.settle("a0", Cancelled())
    assert (bench.run.status, bench.status("a0")) == ("failed", "cancelled")


def test_a_run_that_waits_fails_at_its_deadline_at_once():
    bench = Bench(chain(1, timeout="20s"))
    bench.claim("a0")
    bench.settle("a0", Waiting(timedelta(days=1)))
    bench.after(seconds=20)
    bench.wake()
    assert (bench.run.status, bench.error()["code"]) == ("failed", "RUN_TIMEOUT")


def test_a_run_that_waits_for_its_gate_has_no_deadline_yet():
    bench = Bench(chain(1, timeout="20s"), admit=False)
    bench.after(hours=1)
    bench.apply(Admitted())
    assert bench.run.deadline_at == bench.now + timedelta(seconds=20)


# -- completion --------------------------------------------------------------------------------------------


def test_a_run_whose_output_cannot_be_made_fails_with_the_reason():
    bench = Bench(chain(1))
    turn = Turn(bench.run._replace(open_steps=0), bench.now, Terms())
    endings.refuse_output(turn, StepError("OUTPUT_ERROR", "no such step"))
    assert turn.error is not None
    assert (turn.status, turn.error["code"]) == ("failed", "OUTPUT_ERROR")
    assert [event.type for event in turn.events] == [EventType.INCIDENT_OPENED, EventType.RUN_FAILED]


def test_a_run_completes_with_its_output_and_sleeps_for_ever():
    bench = Bench(chain(1))
    bench.complete("a0")
    assert (bench.run.output, bench.run.wake_at, bench.run.finished_at) == ("{}", None, bench.now)
    assert bench.wake() == Refused(Refusal.OVER)


def test_a_parallel_step_at_the_end_completes_the_run():
    bench = Bench(plan(parallel("fan", children=[step("a"), step("b")])))
    bench.complete("fan.a", "fan.b", "fan")
    assert bench.run.status == "completed"


def test_a_duplicate_start_is_recorded_even_when_the_run_has_ended():
    bench = Bench(diamond())
    bench.drive()
    before = bench.run
    assert bench.apply(DuplicatePrevented("order-7")) == [Accepted()]
    assert bench.run == before._replace(seq=before.seq + 1, revision=before.revision + 1)
    assert bench.events[-1].data == {"idempotency_key": "order-7"}


def test_a_decision_leaves_the_state_it_was_given_alone():
    bench = Bench(diamond())
    before = bench.run._replace(steps=dict(bench.run.steps))
    decide(Turn(bench.run, bench.now, Terms()), [CANCEL])
    assert bench.run == before
