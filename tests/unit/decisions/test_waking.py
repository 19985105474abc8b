"""The sweeper's look at a run: leases that ended, timers, dispatches that were lost, and the next alarm."""

from datetime import timedelta

import pytest

from flowforge.model.event import EventType
from flowforge.model.facts import Accepted, Refusal, Refused, Taker
from flowforge.model.outcome import Completed, Waiting
from flowforge.model.turn import Terms
from tests.factories import chain, plan, step, undo
from tests.unit.decisions.bench import LANES, LEASE, START, Bench


def pauses(bench: Bench, count: int) -> list[float]:
    """Let the alarm go off again and again; return the seconds between."""
    found = []
    for _ in range(count):
        assert bench.run.wake_at is not None
        found.append((bench.run.wake_at - bench.now).total_seconds())
        bench.now = bench.run.wake_at
        bench.wake()
    return found


def test_a_dispatch_nobody_claims_is_repeated_with_growing_pauses():
    bench = Bench(chain(1))
    assert pauses(bench, 8) == [30, 30, 60, 120, 240, 480, 600, 600]
    assert [dispatch.dispatch_no for dispatch in bench.outbox] == [*range(1, 10)]
    assert bench.history("a0") == [EventType.STEP_QUEUED], "a repeated dispatch is not a transition"


def test_only_the_newest_dispatch_counts_after_a_repetition():
    bench = Bench(chain(1))
    pauses(bench, 1)
    assert bench.claim("a0", dispatch_no=1) == Refused(Refusal.STALE)
    bench.complete("a0")
    assert bench.run.status == "completed"


def test_an_unclaimed_step_is_late_not_lost_while_the_stream_has_a_backlog():
    bench = Bench(chain(1))
    bench.after(seconds=30)
    bench.wake(backlog=True)
    assert (len(bench.outbox), bench.step("a0").due_at) == (1, bench.now + timedelta(seconds=30))


def test_a_step_that_is_not_due_is_not_dispatched_again():
    bench = Bench(chain(1))
    bench.after(seconds=29.999)
    bench.wake()
    assert len(bench.outbox) == 1


@pytest.mark.parametrize("backlog", [False, True])
def test_the_loss_of_all_streams_dispatches_every_queued_step_at_once_and_no_other(backlog):
    bench = Bench(plan(step("a"), step("b"), step("c"), step("d")))
    bench.claim("b")
    bench.claim("c")
    bench.settle("c", Waiting(timedelta(hours=1)))
    sent = len(bench.outbox)
    bench.wake(streams_lost=True, backlog=backlog)
    assert [dispatch.step for dispatch in bench.outbox[sent:]] == [0, 3]


def test_a_lease_that_has_ended_queues_the_step_for_another_worker():
    bench = Bench(chain(1))
    bench.claim("a0")
    bench.after(seconds=29.999)
    bench.wake()
    assert bench.status("a0") == "running"
    bench.after(seconds=0.001)
    bench.wake()
    assert (bench.status("a0"), bench.step("a0").dispatch_no, bench.step("a0").crashes) == ("queued", 2, 1)
    assert bench.history("a0")[-2:] == [EventType.STEP_RETRYING, EventType.STEP_QUEUED]


def test_a_step_that_kills_every_worker_is_poison():
    bench = Bench(chain(1), terms=Terms(max_crashes=2))
    for _ in range(3):
        assert bench.status("a0") == "queued"
        bench.claim("a0")
        bench.after(seconds=30)
        bench.wake()
    assert (bench.run.status, bench.error()["code"], bench.step("a0").attempt) == ("failed", "POISON", 3)


def test_everything_that_is_due_is_looked_at_in_one_go():
    bench = Bench(plan(step("a"), step("b"), step("c", "b"), step("d")))
    bench.claim("a")
    bench.claim("b")
    bench.settle("b", Waiting(timedelta(seconds=10)))
    bench.after(seconds=30)
    bench.wake()
    assert bench.statuses("a", "b", "c", "d") == ["queued", "completed", "queued", "queued"]
    assert bench.step("d").dispatch_no == 2
    assert bench.step("c").dispatch_no == 1, "what has just been queued is not repeated"


def test_a_delay_that_is_the_last_step_completes_the_run():
    bench = Bench(chain(1))
    bench.claim("a0")
    bench.settle("a0", Waiting(timedelta(seconds=10)))
    bench.drive()
    assert (bench.run.status, bench.run.finished_at) == ("completed", START + timedelta(seconds=10))


def test_the_alarm_goes_off_with_the_first_thing_to_look_at():
    bench = Bench(plan(step("a"), step("b"), timeout="1h"))
    assert bench.run.wake_at == START + timedelta(seconds=30)
    bench.claim("a")
    bench.settle("a", Waiting(timedelta(seconds=5)))
    assert bench.run.wake_at == START + timedelta(seconds=5)
    bench.after(seconds=5)
    bench.wake()
    assert bench.run.wake_at == START + timedelta(seconds=30)


def test_waking_early_and_often_changes_nothing():
    bench = Bench(plan(step("a"), step("b")))
    bench.claim("a")
    before = bench.run
    for _ in range(3):
        bench.wake()
        assert bench.run.steps == before.steps
    assert (bench.run.seq, bench.run.wake_at) == (before.seq, START + min(LEASE, timedelta(seconds=30)))


def test_a_run_that_waits_for_its_gate_is_not_woken():
    bench = Bench(chain(1), admit=False)
    assert bench.wake() == Refused(Refusal.OVER)
    assert bench.run.wake_at is None


def test_an_attempt_that_settles_before_the_sweeper_comes_is_not_lost():
    bench = Bench(chain(2))
    bench.claim("a0")
    bench.after(seconds=40)
    bench.apply(bench.settled("a0", Completed(None)))
    bench.wake()
    assert bench.statuses("a0", "a1") == ["completed", "queued"]


TAKER = Taker("w2", LEASE, LANES)


def test_an_attempt_whose_lease_has_ended_goes_on_with_whoever_found_that():
    bench = Bench(chain(1))
    bench.claim("a0")
    bench.now += LEASE
    answer = bench.wake(taker=TAKER)
    assert isinstance(answer, Accepted)
    assert answer.next == bench.step("a0")
    assert (bench.step("a0").worker, bench.step("a0").token, bench.step("a0").crashes) == ("w2", 2, 1)
    assert bench.history("a0")[-3:] == [EventType.STEP_RETRYING, EventType.STEP_QUEUED, EventType.STEP_STARTED]
    assert len(bench.outbox) == 1, "nothing is dispatched that is begun already"
    assert bench.run.wake_at == bench.now + LEASE


@pytest.mark.parametrize(
    "taker",
    [
        Taker("w1", LEASE, LANES),
        Taker("w2", LEASE, frozenset({"other"})),
        Taker("w2", LEASE, LANES, frozenset({0})),
        None,
    ],
    ids=["own", "lane", "under way", "nobody"],
)
def test_an_attempt_is_dispatched_where_nobody_may_begin_with_it(taker):
    bench = Bench(chain(1))
    bench.claim("a0")
    bench.now += LEASE
    assert bench.wake(taker=taker) == Accepted()
    assert bench.status("a0") == "queued"
    assert len(bench.outbox) == 2


def test_of_several_lost_attempts_one_is_begun_and_the_others_are_dispatched():
    bench = Bench(plan(step("a"), step("b")))
    bench.claim("a")
    bench.claim("b")
    bench.now += LEASE
    assert isinstance(bench.wake(taker=TAKER), Accepted)
    assert bench.statuses("a", "b") == ["running", "queued"]
    assert len(bench.outbox) == 3


@pytest.mark.parametrize("ending", ["pause", "cancel"])
def test_nothing_is_begun_in_a_run_that_is_held_or_ending(ending):
    bench = Bench(chain(1))
    bench.claim("a0")
    getattr(bench, ending)()
    bench.now += LEASE
    assert bench.wake(taker=TAKER) == Accepted()
    assert bench.status("a0") == {"pause": "queued", "cancel": "cancelled"}[ending]


def test_only_leases_that_have_ended_are_taken_over():
    bench = Bench(plan(step("a"), step("b")))
    bench.claim("a")
    bench.after(seconds=1)
    assert bench.wake(taker=TAKER) == Accepted()
    assert bench.statuses("a", "b") == ["running", "queued"]


def test_a_delay_that_undoes_a_step_ends_with_its_time_and_is_not_begun_again():
    pause = undo(type="delay", config={"duration": "6s"})
    bench = Bench(plan(step("a", compensate=pause), step("b", "a", retry={"max_attempts": 1})))
    bench.complete("a")
    bench.fail("b")
    bench.claim("a:compensate")
    bench.settle("a:compensate", Waiting(timedelta(seconds=6)))
    bench.after(seconds=6)
    bench.wake()
    assert bench.statuses("a", "a:compensate") == ["compensated", "completed"]
    assert bench.run.status == "failed"
    assert bench.step("a:compensate").attempt == 1
