"""Operators: cancelling and retrying runs in every state they can be in."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from flowforge.client import AsyncClient
from flowforge.errors import Conflict, NotFound
from flowforge.model.facts import Accepted, Refusal, Refused, Rejected
from flowforge.model.outcome import Cancelled, Completed, Failed, Waiting
from tests.support.definitions import chain, diamond, step, workflow
from tests.support.hand import Hand, error
from tests.support.sql import Sql


async def test_a_waiting_run_is_cancelled_at_once(hand: Hand, sql: Sql):
    """It never started."""
    await hand.start(chain(1, limit=1))
    run_id = await hand.start(chain(1, limit=1))
    await hand.cancel(run_id)
    assert sql.status(run_id) == "cancelled"
    assert sql.events(run_id) == ["workflow.created", "workflow.cancelling", "workflow.cancelled"]


async def test_a_run_with_queued_steps_is_cancelled_at_once(hand: Hand, sql: Sql):
    """Nothing runs, so nobody has to acknowledge."""
    run_id = await hand.start(workflow(step("a"), step("b"), step("c", "a")))
    await hand.complete(run_id, "a")
    await hand.cancel(run_id)
    assert sql.status(run_id) == "cancelled"
    assert sql.steps(run_id) == {"a": "completed", "b": "cancelled", "c": "cancelled"}


@pytest.mark.parametrize(
    "outcome", [Waiting(timedelta(hours=1)), Failed(error(retryable=True))], ids=["delay", "retry"]
)
async def test_a_run_with_waiting_steps_is_cancelled_at_once(hand: Hand, sql: Sql, outcome):
    """Timers of a cancelled run never fire."""
    run_id = await hand.start(chain(1))
    await hand.settle(await hand.claim(run_id, 0), outcome)
    assert sql.steps(run_id) == {"s0": "waiting"}
    await hand.cancel(run_id)
    assert (sql.status(run_id), sql.steps(run_id)) == ("cancelled", {"s0": "cancelled"})
    assert sql.rows("SELECT due_at FROM steps") == [(None,)]


@pytest.mark.parametrize(
    "outcome", [Cancelled(), Completed("after all"), Failed(error(retryable=True))], ids=lambda o: type(o).__name__
)
async def test_a_running_attempt_is_told_and_the_run_waits_for_it(hand: Hand, sql: Sql, outcome):
    """Whatever it answers is recorded; the run is cancelled only then."""
    run_id = await hand.start(chain(2))
    claimed = await hand.claim(run_id, 0)
    from flowforge.engine.entries import Entry
    from flowforge.model.facts import CancelRequested

    _, consequences = await hand.engine.ledger.apply([Entry(run_id, CancelRequested("me"))])
    assert consequences.stops == [("hand", run_id, 0, 1)]
    assert sql.status(run_id) == "cancelling"
    assert sql.value("SELECT cancel_requested FROM steps") is True
    await hand.settle(claimed, outcome, lanes=["default"])
    assert sql.status(run_id) == "cancelled"
    kept = {Cancelled: "cancelled", Completed: "completed", Failed: "failed"}[type(outcome)]
    assert sql.steps(run_id)["s0"] == kept


async def test_a_run_whose_worker_died_while_cancelling_ends_with_the_lease(hand: Hand, sql: Sql):
    """Nobody acknowledges; the sweeper does."""
    run_id = await hand.start(chain(1))
    await hand.claim(run_id, 0)
    await hand.cancel(run_id)
    sql.do("UPDATE steps SET due_at = clock_timestamp()")
    await hand.wake(run_id)
    assert (sql.status(run_id), sql.steps(run_id)) == ("cancelled", {"s0": "cancelled"})


async def test_cancelling_twice_changes_nothing(hand: Hand, sql: Sql):
    """The second request is accepted while the first is under way."""
    run_id = await hand.start(chain(1))
    await hand.claim(run_id, 0)
    await hand.cancel(run_id)
    events = sql.events(run_id)
    assert isinstance((await hand.cancel(run_id)).answer, Accepted)
    assert sql.events(run_id) == events


@pytest.mark.parametrize("end", ["completed", "failed", "cancelled"])
async def test_a_run_that_has_ended_cannot_be_cancelled(client: AsyncClient, hand: Hand, sql: Sql, end: str):
    """The conflict names the state."""
    run_id = await hand.start(chain(1))
    if end == "completed":
        await hand.complete(run_id, 0)
    elif end == "failed":
        await hand.fail(run_id, 0)
    else:
        await hand.cancel(run_id)
    seq = sql.value("SELECT seq FROM runs")
    with pytest.raises(Conflict, match=end):
        await client.cancel(run_id)
    assert sql.value("SELECT seq FROM runs") == seq


async def test_cancel_against_completion_has_one_winner(make_engine, sql: Sql, at_rest):
    """Whoever has the run's lock first; the other gets a clear answer, and the run one end."""
    hands = [Hand(await make_engine(), "worker"), Hand(await make_engine(), "operator")]
    await hands[1].publish(chain(1))
    ends = set()
    for no in range(40):
        run_id = await hands[0].start(chain(1))
        claimed = await hands[0].claim(run_id, 0)
        pair = [hands[0].settle(claimed, Completed(1)), hands[1].cancel(run_id)]
        settled, cancelled = await asyncio.gather(*pair) if no % 2 else reversed(await asyncio.gather(*pair[::-1]))
        assert isinstance(settled.answer, Accepted)
        status = sql.status(run_id)
        ends.add(status)
        assert isinstance(cancelled.answer, Rejected if status == "completed" else Accepted)
    assert ends <= {"completed", "cancelled"}
    sql.do("DELETE FROM outbox")
    assert await at_rest() == 40


async def test_a_retry_repeats_what_failed_and_keeps_what_completed(hand: Hand, sql: Sql, at_rest):
    """Same run, same version, outputs kept."""
    run_id = await hand.start(diamond())
    await hand.complete(run_id, "a", {"kept": True})
    await hand.complete(run_id, "b")
    await hand.fail(run_id, "c")
    assert sql.status(run_id) == "failed"
    await hand.retry(run_id)
    assert sql.status(run_id) == "running"
    assert sql.steps(run_id) == {"a": "completed", "b": "completed", "c": "queued", "d": "pending"}
    await hand.finish(run_id)
    assert sql.status(run_id) == "completed"
    events = sql.events(run_id)
    assert events.count("step.started a") == 1
    assert events.count("step.started c") == 2
    assert sql.value("SELECT attempt FROM steps WHERE step_no = 2") == 2
    sql.do("DELETE FROM outbox")
    await at_rest()


async def test_a_retry_from_a_step_repeats_all_behind_it(hand: Hand, sql: Sql):
    """Outputs of what is not behind it are kept."""
    run_id = await hand.start(diamond())
    await hand.complete(run_id, "a")
    await hand.complete(run_id, "b")
    await hand.complete(run_id, "c")
    await hand.fail(run_id, "d")
    await hand.retry(run_id, from_step=1)
    assert sql.steps(run_id) == {"a": "completed", "b": "queued", "c": "completed", "d": "pending"}


async def test_a_retry_waits_at_the_gate_like_any_run(hand: Hand, sql: Sql):
    """There is no way around the limit."""
    first = await hand.start(chain(1, limit=1))
    await hand.fail(first, 0)
    second = await hand.start(chain(1, limit=1))
    await hand.retry(first)
    assert [sql.status(one) for one in (first, second)] == ["pending", "running"]
    await hand.complete(second, 0)
    assert sql.status(first) == "running"
    await hand.finish(first)
    assert sql.status(first) == "completed"


async def test_a_retry_at_a_gate_with_room_starts_in_the_same_transaction(hand: Hand, sql: Sql):
    """Nobody has to notice it."""
    run_id = await hand.start(chain(1, limit=1))
    await hand.fail(run_id, 0)
    await hand.retry(run_id)
    assert sql.status(run_id) == "running"
    assert sql.events(run_id)[-3:] == ["workflow.retried", "workflow.started", "step.queued s0"]


async def test_a_cancelled_run_can_be_retried(hand: Hand, sql: Sql, at_rest):
    """Also one that was cancelled before it ever started."""
    await hand.start(chain(1, limit=1))
    run_id = await hand.start(chain(1, limit=1))
    await hand.cancel(run_id)
    await hand.cancel(sql.value("SELECT id FROM runs WHERE status = 'running'"))
    await hand.retry(run_id)
    await hand.finish(run_id)
    assert sql.status(run_id) == "completed"
    sql.do("DELETE FROM outbox")
    await at_rest()


@pytest.mark.parametrize("state", ["running", "completed", "pending"])
async def test_only_a_failed_or_cancelled_run_can_be_retried(client: AsyncClient, hand: Hand, sql: Sql, state: str):
    """The conflict names the state."""
    first = await hand.start(chain(1, limit=1))
    run_id = await hand.start(chain(1, limit=1)) if state == "pending" else first
    if state == "completed":
        await hand.finish(first)
    with pytest.raises(Conflict, match=state):
        await client.retry(run_id)


async def test_a_retry_from_a_step_that_does_not_exist_is_not_found(client: AsyncClient, hand: Hand):
    """It says which there are."""
    run_id = await hand.start(chain(2))
    await hand.fail(run_id, 0)
    with pytest.raises(NotFound) as caught:
        await client.retry(run_id, from_step="nope")
    assert "s0" in (caught.value.hint or "")


async def test_of_two_operators_who_retry_one_run_exactly_one_wins(make_engine, sql: Sql, at_rest):
    """Twenty times at once; the other is told the state, and there is one new attempt."""
    hands = [Hand(await make_engine(), f"operator-{no}") for no in range(2)]
    for hand in hands:
        await hand.publish(chain(1))
    for _ in range(20):
        run_id = await hands[0].start(chain(1))
        await hands[0].fail(run_id, 0)
        answers = await asyncio.gather(*(hand.retry(run_id) for hand in hands))
        assert sorted(type(one.answer).__name__ for one in answers) == ["Accepted", "Rejected"]
        assert sql.value("SELECT dispatch_no FROM steps WHERE run_id = %s", run_id) == 2
        await hands[0].finish(run_id)
    sql.do("DELETE FROM outbox")
    assert await at_rest() == 20


async def test_a_message_of_the_epoch_before_a_retry_is_stale(hand: Hand, sql: Sql):
    """Dispatch numbers and tokens go on counting, so nothing of the past fits."""
    run_id = await hand.start(chain(1))
    old = await hand.claim(run_id, 0)
    await hand.settle(old, Failed(error()))
    await hand.retry(run_id)
    assert (await hand.claim(run_id, 0, dispatch_no=1)).assignment is None
    assert (await hand.settle(old, Completed("old"))).assignment is None
    new = await hand.claim(run_id, 0)
    assert new.assignment is not None
    assert new.assignment.token == 2
    assert (await hand.settle(old, Completed("old"))).answer == Refused(Refusal.STALE)
    assert sql.value("SELECT status::text FROM steps") == "running"
