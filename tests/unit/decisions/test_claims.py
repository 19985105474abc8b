"""Who may execute a step: claims, reclaims, fences, and going on with a successor."""

from dataclasses import replace

import pytest

from flowforge.model.event import EventType
from flowforge.model.facts import Accepted, Answer, Claimed, Granted, Refusal, Refused, Settled
from flowforge.model.outcome import Completed, Failed
from flowforge.model.status import RunStatus
from tests.factories import THRICE, chain, conditional, diamond, failing, plan, python, step
from tests.unit.decisions.bench import ERROR, LANES, LEASE, Bench


def test_a_claim_grants_the_attempt_under_a_new_token_and_a_lease():
    bench = Bench(chain(1))
    answer = bench.claim("a0")
    assert isinstance(answer, Granted)
    row = answer.step
    assert (row.status, row.attempt, row.token, row.worker) == ("running", 1, 1, "w1")
    assert (row.due_at, row.started_at) == (bench.now + LEASE, bench.now)
    assert row == bench.step("a0")


def test_a_dispatch_that_comes_twice_gives_one_attempt():
    bench = Bench(chain(1))
    bench.claim("a0")
    assert bench.claim("a0", "w2") == Refused(Refusal.LEASED)
    assert bench.step("a0").attempt == 1


def test_a_second_delivery_of_what_the_worker_holds_is_not_another_attempt():
    bench = Bench(chain(1))
    bench.claim("a0")
    assert bench.claim("a0") == Refused(Refusal.LEASED)


def test_a_worker_that_repeats_a_claim_whose_answer_was_lost_gets_the_same_attempt():
    bench = Bench(chain(1))
    bench.claim("a0")
    bench.after(seconds=10)
    assert bench.claim("a0", "w2", repeated=True) == Refused(Refusal.LEASED)
    answer = bench.claim("a0", repeated=True)
    assert isinstance(answer, Granted)
    assert (answer.step.attempt, answer.step.token) == (1, 1)
    assert answer.step.due_at == bench.now + LEASE
    assert bench.history("a0").count(EventType.STEP_STARTED) == 1


@pytest.mark.parametrize("other", [-1, 1])
def test_another_dispatch_number_is_stale(other):
    bench = Bench(chain(1))
    assert bench.claim("a0", dispatch_no=1 + other) == Refused(Refusal.STALE)
    assert bench.status("a0") == "queued"


def test_the_dispatch_of_a_finished_step_is_stale():
    bench = Bench(chain(2))
    bench.complete("a0")
    assert bench.claim("a0") == Refused(Refusal.STALE)


@pytest.mark.parametrize("no", [1, 99])
def test_a_step_that_has_no_row_or_does_not_exist_is_unknown(no):
    bench = Bench(chain(2))
    assert bench.apply(Claimed(no, 1, "w1", LEASE)) == [Refused(Refusal.UNKNOWN)]
    assert bench.apply(Settled(no, 1, "w1", LEASE, Failed(ERROR))) == [Refused(Refusal.UNKNOWN)]


def test_a_paused_run_refuses_claims_and_keeps_the_step_queued():
    bench = Bench(chain(1))
    bench.run, bench.memory = bench.run._replace(status=RunStatus.PAUSED), None
    assert bench.claim("a0") == Refused(Refusal.PAUSED)
    assert bench.status("a0") == "queued"


# -- reclaim -----------------------------------------------------------------------------------------------


def test_a_reclaimed_delivery_takes_over_once_the_lease_has_ended():
    bench = Bench(chain(1))
    bench.claim("a0")
    bench.after(seconds=30)
    answer = bench.claim("a0", "w2", reclaimed=True)
    assert isinstance(answer, Granted)
    assert (answer.step.attempt, answer.step.token, answer.step.worker, answer.step.crashes) == (2, 2, "w2", 1)
    assert bench.run.wake_at is not None


def test_a_reclaimed_delivery_does_not_take_over_while_the_lease_runs():
    bench = Bench(chain(1))
    bench.claim("a0")
    bench.after(seconds=29.999)
    assert bench.claim("a0", "w2", reclaimed=True) == Refused(Refusal.LEASED)


def test_an_ended_lease_is_not_taken_over_by_an_ordinary_delivery():
    bench = Bench(chain(1))
    bench.claim("a0")
    bench.after(hours=1)
    assert bench.claim("a0", "w2") == Refused(Refusal.LEASED)


def test_the_outcome_of_a_lost_attempt_is_dropped():
    bench = Bench(chain(2))
    bench.claim("a0")
    late = bench.settled("a0", Completed(None))
    bench.after(seconds=31)
    bench.claim("a0", "w2", reclaimed=True)
    assert bench.apply(late) == [Refused(Refusal.STALE)]
    assert (bench.status("a0"), bench.step("a0").worker) == ("running", "w2")


def test_an_outcome_is_settled_once():
    bench = Bench(chain(2))
    bench.claim("a0")
    fact = bench.settled("a0", Completed(None))
    assert bench.apply(fact, fact) == [Accepted(), Refused(Refusal.STALE)]
    assert bench.apply(fact) == [Refused(Refusal.STALE)]
    assert len(bench.outbox) == 2


def test_an_outcome_counts_while_nobody_took_over_although_the_lease_has_ended():
    bench = Bench(chain(1))
    bench.claim("a0")
    bench.after(hours=1)
    assert bench.settle("a0", Completed(None)) == Accepted()


def test_a_step_that_loses_too_many_workers_is_poison():
    bench = Bench(plan(step("a", retry={"max_attempts": 10})))
    bench.claim("a", "w0")
    for crash in range(1, 4):
        bench.after(seconds=31)
        assert isinstance(bench.claim("a", f"w{crash}", reclaimed=True), Granted)
    bench.after(seconds=31)
    assert bench.claim("a", "w4", reclaimed=True) == Refused(Refusal.OVER)
    assert (bench.status("a"), bench.error("a")["code"]) == ("failed", "POISON")
    assert bench.run.status == "failed", "the claim that finds the poison ends the run"


def test_a_lost_worker_is_not_charged_to_the_retry_policy():
    bench = Bench(plan(step("a", retry={"max_attempts": 1})))
    bench.claim("a")
    bench.after(seconds=31)
    bench.wake()
    assert (bench.status("a"), bench.step("a").failures, bench.step("a").crashes) == ("queued", 0, 1)
    assert bench.error("a")["code"] == "WORKER_LOST"
    bench.complete("a")
    assert bench.step("a").error is None


@pytest.mark.parametrize("how", ["cancel", "fail"])
def test_a_reclaim_that_ends_the_last_attempt_of_an_ending_run_ends_the_run(how):
    bench = Bench(failing("fail"))
    bench.claim("c", "w9")
    if how == "cancel":
        bench.cancel()
    else:
        bench.fail("a")
    assert bench.run.open_steps == 1
    bench.after(seconds=31)
    assert bench.claim("c", "w2", reclaimed=True) == Refused(Refusal.OVER)
    assert bench.run.status == ("cancelled" if how == "cancel" else "failed")


# -- continuation ------------------------------------------------------------------------------------------


def test_a_worker_goes_on_with_one_ready_successor_and_the_others_are_dispatched():
    bench = Bench(diamond())
    bench.claim("a")
    sent = len(bench.outbox)
    answer = bench.settle("a", Completed(None), lanes=LANES)
    assert isinstance(answer, Accepted)
    assert answer.next == bench.step("b")
    assert (bench.step("b").worker, bench.step("b").attempt, bench.step("b").token) == ("w1", 1, 1)
    assert [dispatch.step for dispatch in bench.outbox[sent:]] == [bench.plan.numbers["c"]]
    assert bench.history("b") == [EventType.STEP_QUEUED, EventType.STEP_STARTED]


def test_a_worker_goes_on_only_in_the_lanes_it_names():
    bench = Bench(plan(step("a"), python("b", "a"), step("c", "a")))
    bench.claim("a")
    answer = bench.settle("a", Completed(None), lanes=frozenset({"default"}))
    assert isinstance(answer, Accepted)
    assert answer.next is not None
    assert answer.next.no == bench.plan.numbers["c"]
    assert bench.queued() == {"b"}
    assert bench.outbox[-1].lane == "default.python"


@pytest.mark.parametrize("lanes", [frozenset(), frozenset({"other"})])
def test_without_a_lane_every_successor_is_dispatched(lanes):
    bench = Bench(diamond())
    bench.claim("a")
    assert bench.settle("a", Completed(None), lanes=lanes) == Accepted()
    assert bench.queued() == {"b", "c"}


def test_a_join_that_is_not_ready_is_not_gone_on_with():
    bench = Bench(diamond())
    bench.complete("a")
    bench.claim("b")
    assert bench.settle("b", Completed(None), lanes=LANES) == Accepted()


def test_a_handled_failure_may_be_followed_by_a_successor_too():
    bench = Bench(failing("continue"))
    bench.claim("a")
    answer = bench.settle("a", Failed(ERROR), lanes=LANES)
    assert isinstance(answer, Accepted)
    assert answer.next is not None
    assert answer.next.no == bench.plan.numbers["b"]


def repeated(bench: Bench, fact: Settled) -> Answer:
    """Offer a settlement again, as if its answer had been lost."""
    before = bench.run
    answer = bench.apply(replace(fact, repeated=True))[0]
    assert bench.run == before
    return answer


def test_a_repeated_settlement_finds_what_it_did_and_the_successor_it_was_given():
    bench = Bench(diamond())
    bench.claim("a")
    fact = bench.settled("a", Completed(None), lanes=LANES)
    answer = bench.apply(fact)[0]
    bench.after(seconds=1)
    assert repeated(bench, fact) == answer
    assert bench.apply(fact) == [Refused(Refusal.STALE)], "only a repetition may find its own effect"


def test_a_repeated_claim_finds_that_its_step_was_settled_with_it_and_what_came_behind():
    bench = Bench(chain(2))
    bench.claim("a0")
    fact = Settled(0, 1, "w1", LEASE, Completed(None), "1", LANES)
    (answer,) = bench.apply(fact)
    assert bench.claim("a0", repeated=True) == answer
    assert bench.claim("a0", "w2", repeated=True) == Refused(Refusal.STALE)
    assert bench.claim("a0") == Refused(Refusal.STALE)


def test_a_repeated_settlement_is_stale_once_another_worker_took_over():
    bench = Bench(chain(1))
    bench.claim("a0")
    fact = bench.settled("a0", Completed(None))
    bench.after(seconds=31)
    bench.claim("a0", "w2", reclaimed=True)
    assert repeated(bench, fact) == Refused(Refusal.STALE)


def test_a_repeated_settlement_does_not_find_what_the_worker_claimed_by_itself():
    bench = Bench(plan(step("a"), python("b", "a"), step("c", "a")))
    bench.claim("a")
    fact = bench.settled("a", Completed(None), lanes=frozenset({"default"}))
    answer = bench.apply(fact)[0]
    bench.after(seconds=1)
    assert isinstance(bench.claim("b"), Granted)
    assert isinstance(answer, Accepted)
    assert answer.next == bench.step("c")
    assert repeated(bench, fact) == answer


def test_a_repeated_settlement_finds_a_successor_behind_a_skipped_step():
    bench = Bench(plan(step("a"), conditional("if", "a", true="x"), step("x"), step("end", "x", "a", join="any")))
    bench.complete("a")
    bench.claim("if")
    fact = bench.settled("if", Completed(None, "false"), lanes=LANES)
    answer = bench.apply(fact)[0]
    assert isinstance(answer, Accepted)
    assert answer.next == bench.step("end")
    bench.after(seconds=1)
    assert repeated(bench, fact) == answer


def test_a_worker_never_goes_on_with_a_retry():
    bench = Bench(plan(step("a", retry=THRICE)))
    bench.claim("a")
    assert bench.settle("a", Failed(ERROR), lanes=LANES) == Accepted()
    assert bench.status("a") == "waiting"
