"""Claims: who gets a step, and what everybody else is told."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from flowforge.engine.entries import Applied
from flowforge.model.facts import Granted, Refusal, Refused
from flowforge.model.outcome import Cancelled, Completed
from tests.support.definitions import chain, step, workflow
from tests.support.hand import Hand
from tests.support.sql import Sql


def refusal(applied: Applied) -> Refusal:
    """Return why a claim was refused."""
    assert isinstance(applied.answer, Refused), applied.answer
    assert applied.assignment is None
    return applied.answer.why


async def test_a_claim_is_committed_before_its_step_can_run(hand: Hand, sql: Sql):
    """The row says who runs it, under which token and until when, by the database's clock."""
    run_id = await hand.start(chain(1))
    applied = await hand.claim(run_id, 0)
    assert isinstance(applied.answer, Granted)
    assert applied.assignment is not None
    row = sql.rows(
        """SELECT status::text, worker, token, attempt, dispatch_no, due_at - started_at,
                  abs(extract(epoch FROM started_at - clock_timestamp())) < 30 FROM steps"""
    )
    assert row == [("running", "hand", 1, 1, 1, hand.lease, True)]
    assert (applied.assignment.token, applied.assignment.attempt, applied.dispatch_no) == (1, 1, 1)
    assert sql.events(run_id)[-1] == "step.started s0"


async def test_only_the_newest_dispatch_is_claimed(hand: Hand):
    """Messages of older dispatches, and of ones that were never made, are stale."""
    run_id = await hand.start(chain(1))
    await hand.wake(run_id, streams_lost=True)
    assert refusal(await hand.claim(run_id, 0, dispatch_no=1)) is Refusal.STALE
    assert refusal(await hand.claim(run_id, 0, dispatch_no=3)) is Refusal.STALE
    assert isinstance((await hand.claim(run_id, 0, dispatch_no=2)).answer, Granted)


async def test_a_run_or_step_that_does_not_exist_is_unknown(hand: Hand):
    """Such a message can be buried: nothing will ever make it right."""
    from uuid import uuid4

    run_id = await hand.start(chain(2))
    assert refusal(await hand.claim(uuid4(), 0, dispatch_no=1)) is Refusal.UNKNOWN
    assert refusal(await hand.claim(run_id, 99, dispatch_no=1)) is Refusal.UNKNOWN
    assert refusal(await hand.claim(run_id, 99, dispatch_no=1, reclaimed=True)) is Refusal.UNKNOWN


@pytest.mark.parametrize("how", ["completed", "failed", "cancelled"])
async def test_a_run_that_is_over_gives_nothing_away(hand: Hand, how: str):
    """Late deliveries are answered, never raised."""
    run_id = await hand.start(workflow(step("a"), step("b")))
    if how == "completed":
        await hand.finish(run_id)
    elif how == "failed":
        await hand.fail(run_id, "a")
    else:
        await hand.cancel(run_id)
    for no in (0, 1):
        assert refusal(await hand.claim(run_id, no)) in (Refusal.OVER, Refusal.STALE)


async def test_a_step_that_runs_elsewhere_is_left_to_its_lease(hand: Hand, sql: Sql):
    """A delivery taken over by the stream is not enough: only the lease in Postgres counts."""
    other = Hand(hand.engine, "other")
    run_id = await hand.start(chain(1))
    await hand.claim(run_id, 0)
    assert refusal(await other.claim(run_id, 0)) is Refusal.LEASED
    assert refusal(await other.claim(run_id, 0, reclaimed=True)) is Refusal.LEASED
    assert sql.value("SELECT worker FROM steps") == "hand"


async def test_an_ended_lease_is_taken_over_by_a_reclaim_only(hand: Hand, sql: Sql):
    """The next attempt has a new token, and the crash is on record and charged to nobody's retries."""
    other = Hand(hand.engine, "other")
    run_id = await hand.start(chain(1))
    first = await hand.claim(run_id, 0)
    sql.do("UPDATE steps SET due_at = clock_timestamp() - interval '1 second'")
    assert refusal(await other.claim(run_id, 0)) is Refusal.LEASED
    taken = await other.claim(run_id, 0, reclaimed=True)
    assert taken.assignment is not None
    assert (taken.assignment.token, taken.assignment.attempt) == (2, 2)
    assert sql.rows("SELECT worker, crashes, failures, token FROM steps") == [("other", 1, 0, 2)]
    assert sql.events(run_id)[-3:] == ["step.retrying s0", "step.queued s0", "step.started s0"]
    assert sql.value("SELECT count(*) FROM outbox WHERE dispatch_no > 1") == 0
    assert refusal(await hand.settle(first, Completed("late"))) is Refusal.STALE
    await other.settle(taken, Completed("in time"))
    assert sql.value("SELECT output FROM runs") == {"s0": "in time"}


async def test_a_worker_whose_answer_was_lost_gets_the_same_attempt_again(hand: Hand, sql: Sql):
    """It says that it asks again; nothing is counted twice."""
    run_id = await hand.start(chain(1))
    first, second = await hand.claim(run_id, 0), await hand.claim(run_id, 0, repeated=True)
    assert first.assignment is not None
    assert second.assignment is not None
    assert (first.assignment.token, first.assignment.attempt) == (second.assignment.token, second.assignment.attempt)
    assert sql.events(run_id).count("step.started s0") == 1


async def test_a_second_copy_of_a_delivery_does_not_give_a_worker_its_own_attempt_again(hand: Hand, sql: Sql):
    """It runs already: starting it once more beside itself would be a second execution."""
    run_id = await hand.start(chain(1))
    await hand.claim(run_id, 0)
    assert refusal(await hand.claim(run_id, 0)) is Refusal.LEASED
    assert refusal(await hand.claim(run_id, 0, reclaimed=True)) is Refusal.LEASED


async def test_two_workers_that_claim_one_delivery_get_exactly_one_attempt(make_engine, sql: Sql):
    """A hundred times, at the same instant."""
    hands = [Hand(await make_engine(), f"hand-{no}") for no in range(2)]
    run_ids = await hands[0].start_many(chain(1), 100)
    for hand in hands:
        await hand.publish(chain(1))
    for run_id in run_ids:
        answers = await asyncio.gather(*(hand.claim(run_id, 0, dispatch_no=1) for hand in hands))
        granted = [answer for answer in answers if answer.assignment is not None]
        assert len(granted) == 1
    assert sql.value("SELECT count(*) FROM events WHERE type = 'step.started'") == 100
    assert sql.value("SELECT max(token) FROM steps") == 1


async def test_five_copies_of_a_delivery_in_one_batch_make_one_attempt(make_engine, sql: Sql):
    """Whoever sends them: one is granted, the others change nothing."""
    hands = [Hand(await make_engine(), f"hand-{no}") for no in range(5)]
    run_id = await hands[0].start(chain(1))
    entries = [await hand.claiming(run_id, 0, dispatch_no=1) for hand in hands]
    applied, _ = await hands[0].engine.ledger.apply(entries)
    assert [one.assignment is not None for one in applied] == [True, False, False, False, False]
    assert sql.rows("SELECT worker, token FROM steps") == [("hand-0", 1)]


async def test_a_claim_on_a_run_that_is_being_cancelled_is_refused(hand: Hand):
    """Nothing new starts once the cancellation is committed."""
    run_id = await hand.start(workflow(step("a"), step("b")))
    claimed = await hand.claim(run_id, "a")
    await hand.cancel(run_id)
    assert refusal(await hand.claim(run_id, "b")) in (Refusal.OVER, Refusal.STALE)
    await hand.settle(claimed, Cancelled())


async def test_a_batch_may_mix_runs_steps_and_answers(hand: Hand, sql: Sql):
    """Each fact gets its own answer, in order."""
    runs = await hand.start_many(chain(1), 3)
    over = await hand.start(chain(1))
    await hand.finish(over)
    entries = [
        await hand.claiming(runs[0], 0),
        await hand.claiming(over, 0),
        await hand.claiming(runs[1], 0, dispatch_no=9),
        await hand.claiming(runs[2], 0),
    ]
    applied, _ = await hand.engine.ledger.apply(entries)
    assert [type(one.answer) for one in applied] == [Granted, Refused, Refused, Granted]
    assert [one.assignment is not None for one in applied] == [True, False, False, True]
    assert applied[3].assignment is not None
    assert applied[3].assignment.run_id == runs[2]


async def test_an_empty_batch_is_nothing(hand: Hand):
    """No transaction is made."""
    applied, consequences = await hand.engine.ledger.apply([])
    assert (applied, consequences.dispatched) == ([], 0)


async def test_the_lease_is_the_one_the_worker_asked_for(hand: Hand, sql: Sql):
    """Two workers with different leases may share an installation."""
    short = Hand(hand.engine, "short", timedelta(seconds=3))
    await short.claim(await hand.start(chain(1)), 0)
    assert sql.value("SELECT due_at - started_at FROM steps") == timedelta(seconds=3)
