"""Gates: how many runs of a workflow are active at once, who waits, and that nothing is ever leaked."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from flowforge.client import AsyncClient
from flowforge.engine.entries import Consequences, Entry
from flowforge.engine.ledger import Hands
from flowforge.engine.sweeper import GATES_EVERY, Sweeper
from flowforge.errors import BackendError, Conflict, GateFull
from flowforge.model.facts import Refusal, Refused, Taker
from flowforge.model.outcome import Cancelled, Completed
from flowforge.store import gates
from tests.support.definitions import chain
from tests.support.hand import Hand
from tests.support.sql import Sql


def statuses(sql: Sql) -> dict[str, int]:
    """Count runs by status."""
    return dict(sql.rows("SELECT status::text, count(*) FROM runs GROUP BY 1"))


def limited(limit: int, **more: object) -> dict[str, Any]:
    """Make a workflow of one step with a limit."""
    return chain(1, concurrency={"limit": limit, **more})


def sweeper(hand: Hand) -> Sweeper:
    """Make a sweeper that looks at gates in its next round."""
    one = Sweeper(hand.engine.database, hand.engine.ledger, hand.engine.streams, [], lambda _: None)
    one._round = GATES_EVERY - 1
    return one


async def test_by_default_the_101st_run_waits(hand: Hand, sql: Sql):
    """A workflow that says nothing has a gate of 100."""
    definition = chain(1)
    del definition["concurrency"]
    run_ids = await hand.start_many(definition, 101)
    assert statuses(sql) == {"running": 100, "pending": 1}
    assert sql.status(max(run_ids)) == "pending"
    assert sql.events(max(run_ids)) == ["workflow.created"]
    assert sql.value("SELECT count(*) FROM outbox") == 100


async def test_a_run_that_ends_admits_the_next(hand: Hand, sql: Sql):
    """Before whoever ended it hears of it."""
    first, second = await hand.start(limited(1)), await hand.start(limited(1))
    assert sql.status(second) == "pending"
    await hand.complete(first, 0)
    assert sql.status(second) == "running"
    assert sql.events(second) == ["workflow.created", "workflow.started", "step.queued s0"]


@pytest.mark.parametrize("how", ["complete", "fail", "cancel"])
async def test_every_way_to_end_gives_the_room_back(hand: Hand, sql: Sql, how: str):
    """Completed, failed and cancelled runs hold nothing."""
    first, second = await hand.start(limited(1)), await hand.start(limited(1))
    if how == "cancel":
        await hand.cancel(first)
    else:
        await getattr(hand, how)(first, 0)
    assert sql.status(second) == "running"


async def test_a_cancelled_waiter_leaves_the_queue_and_takes_nobodys_room(hand: Hand, sql: Sql):
    """It never ran: it ends at once, and the next one waits on."""
    first, second, third = [await hand.start(limited(1)) for _ in range(3)]
    await hand.cancel(second)
    assert [sql.status(one) for one in (first, second, third)] == ["running", "cancelled", "pending"]
    await hand.complete(first, 0)
    assert sql.status(third) == "running"


async def test_waiters_are_admitted_by_priority_and_then_in_order(hand: Hand, sql: Sql):
    """FIFO within priority."""
    first = await hand.start(limited(1))
    order = [("a", 0), ("b", 5), ("c", 0), ("d", 5), ("e", -1)]
    names: dict[UUID, str] = {}
    for name, priority in order:
        names[await hand.start(limited(1), priority=priority)] = name
    admitted = []
    current = first
    for _ in order:
        await hand.complete(current, 0)
        current = sql.value("SELECT id FROM runs WHERE status = 'running'")
        admitted.append(names[current])
    assert admitted == ["b", "d", "a", "c", "e"]


async def test_a_key_gives_every_value_a_limit_of_its_own(hand: Hand, sql: Sql):
    """The key is a template over the input."""
    definition = limited(2, key="{{ input.region }}")
    for region in ("eu", "eu", "eu", "us"):
        await hand.start(definition, {"region": region})
    assert sql.rows("SELECT key FROM gates ORDER BY key") == [("eu",), ("us",)]
    query = "SELECT input ->> 'region', status::text, count(*) FROM runs GROUP BY 1, 2 ORDER BY 1, 2"
    assert sql.rows(query) == [("eu", "pending", 1), ("eu", "running", 2), ("us", "running", 1)]


async def test_a_key_may_be_any_json_value(hand: Hand, sql: Sql):
    """Different values are different gates, also when their text would be the same."""
    definition = limited(1, key="{{ input.key }}")
    for key in (1, "1", [1], {"a": 1}, None):
        await hand.start(definition, {"key": key})
    assert statuses(sql) == {"running": 5}


async def test_reject_refuses_the_run_that_finds_no_room(client: AsyncClient, sql: Sql):
    """GateFull is a conflict, and nothing is stored."""
    definition = limited(2, on_limit="reject")
    for _ in range(2):
        await client.run(definition)
    with pytest.raises(GateFull, match=r"\b2\b") as caught:
        await client.run(definition)
    assert isinstance(caught.value, Conflict)
    assert sql.counts("runs") == 2


async def test_reject_holds_for_starts_that_come_together(hand: Hand, sql: Sql):
    """A batch must not slip more runs through than there is room for."""
    with pytest.raises(GateFull):
        await hand.start_many(limited(2, on_limit="reject"), 3)
    assert sql.counts("runs") == 0
    assert len(await hand.start_many(limited(2, on_limit="reject"), 2)) == 2


async def test_reject_holds_for_twenty_concurrent_starters(make_engine, sql: Sql):
    """Exactly the limit gets in, nobody waits."""
    hand = Hand(await make_engine(connections=10))
    requests = [await hand.request(limited(5, on_limit="reject")) for _ in range(20)]
    answers = await asyncio.gather(*(hand.engine.starter.start([one]) for one in requests), return_exceptions=True)
    refused = [answer for answer in answers if isinstance(answer, GateFull)]
    assert [type(a) for a in answers if isinstance(a, Exception) and not isinstance(a, GateFull)] == []
    assert len(refused) == 15
    assert statuses(sql) == {"running": 5}


async def test_cancel_oldest_makes_room_for_the_newest(client: AsyncClient, hand: Hand, sql: Sql):
    """The oldest run ends with the reason, the new one runs."""
    definition = limited(2, on_limit="cancel_oldest")
    first, second, third = [(await client.run(definition)).id for _ in range(3)]
    assert [sql.status(one) for one in (first, second, third)] == ["cancelled", "running", "running"]
    (event,) = [one for one in await client.events(first) if one.type == "workflow.cancelling"]
    assert "cancel_oldest" in event.data["reason"]


async def test_cancel_oldest_waits_for_an_attempt_that_runs(client: AsyncClient, hand: Hand, sql: Sql):
    """A side effect under way is told to stop; the new run is admitted when it has, never beside it."""
    definition = limited(1, on_limit="cancel_oldest")
    first = (await client.run(definition)).id
    claimed = await hand.claim(first, 0)
    second = (await client.run(definition)).id
    assert [sql.status(one) for one in (first, second)] == ["cancelling", "pending"]

    await hand.settle(claimed, Cancelled())
    assert [sql.status(one) for one in (first, second)] == ["cancelled", "running"]


async def test_cancel_oldest_does_not_fail_a_start_because_the_oldest_ended_meanwhile(
    client: AsyncClient, hand: Hand, sql: Sql, monkeypatch: pytest.MonkeyPatch
):
    """Between choosing the oldest and cancelling it, it may end by itself: that makes room just as well."""
    definition = limited(1, on_limit="cancel_oldest")
    first = (await client.run(definition)).id
    starter = client.engine.starter
    make_room = starter.make_room

    async def slow(start, actor):
        entries = await make_room(start, actor)
        await hand.complete(first, 0)
        return entries

    monkeypatch.setattr(starter, "make_room", slow)
    second = (await client.run(definition)).id
    assert [sql.status(one) for one in (first, second)] == ["completed", "running"]


async def finish_one(hand: Hand) -> bool:
    """Complete or cancel a queued run, any of them; say whether there was one."""
    async with hand.engine.database.connection() as connection:
        cursor = await connection.execute("SELECT run_id FROM steps WHERE status = 'queued' ORDER BY random() LIMIT 1")
        row = await cursor.fetchone()
    if row is None:
        return False
    if random.random() < 0.2:
        await hand.cancel(row[0])
        return True
    claimed = await hand.claim(row[0], 0)
    if claimed.assignment is not None:
        await hand.settle(claimed, Completed(None))
    return True


async def test_a_gate_is_never_over_admitted_by_concurrent_starters_and_finishers(make_engine, sql: Sql, at_rest):
    """Twenty of each at random: the rows at every moment, and the history at the end, stay within the limit."""
    hands = [Hand(await make_engine(connections=10), f"hand-{no}") for no in range(2)]
    definition = limited(5)
    for hand in hands:
        await hand.publish(definition)
    left, seen = 120, []
    stop = asyncio.Event()

    async def starter(hand: Hand) -> None:
        nonlocal left
        while left > 0:
            count = min(left, random.randint(1, 3))
            left -= count
            await hand.start_many(definition, count)

    async def finisher(hand: Hand) -> None:
        while not stop.is_set():
            if (
                not await finish_one(hand)
                and sql.value("SELECT count(*) FROM runs WHERE finished_at IS NOT NULL") == 120
            ):
                stop.set()

    async def watcher() -> None:
        active = "SELECT count(*) FROM runs WHERE status IN ('running', 'cancelling')"
        while not stop.is_set():
            seen.append(sql.value(active))
            await asyncio.sleep(0)

    async with asyncio.timeout(90):
        await asyncio.gather(
            watcher(), *(starter(hands[no % 2]) for no in range(10)), *(finisher(hands[no % 2]) for no in range(10))
        )
    assert max(seen) <= 5
    assert sql.value("SELECT count(*) FROM runs WHERE finished_at IS NULL") == 0
    sql.do("DELETE FROM outbox")
    assert await at_rest() == 120


async def test_nothing_is_held_when_everything_has_ended(hand: Hand, sql: Sql):
    """Occupancy is read from the runs: there is no counter to be wrong."""
    run_ids = await hand.start_many(limited(3), 7)
    while unfinished := sql.rows("SELECT id FROM runs WHERE status = 'running'"):
        for (run_id,) in unfinished:
            await hand.finish(run_id)
    assert {sql.status(one) for one in run_ids} == {"completed"}
    gate_id = sql.value("SELECT id FROM gates")
    async with hand.engine.database.transaction() as connection:
        assert await gates.room(connection, gate_id) == 3
        assert await gates.waited_at(connection) == []


async def test_a_holder_that_is_killed_in_its_transaction_leaks_no_room(hand: Hand, sql: Sql):
    """Its run is as it was, still counted once; when it ends the next one is admitted."""
    first, second = await hand.start(limited(1)), await hand.start(limited(1))
    claimed = await hand.claim(first, 0)
    sql.sabotage("run_events", "kill", run=first)
    with pytest.raises(BackendError):
        await hand.settle(claimed, Completed(None))
    assert [sql.status(one) for one in (first, second)] == ["running", "pending"]
    await hand.settle(claimed, Completed(None))
    assert [sql.status(one) for one in (first, second)] == ["completed", "running"]


async def test_a_worker_that_dies_before_it_admits_the_next_leaves_that_to_the_sweeper(hand: Hand, sql: Sql):
    """The room is counted from the runs, so it is not lost with whoever made it."""
    first, second = await hand.start(limited(1)), await hand.start(limited(1))
    entry = hand.settling(await hand.claim(first, 0), Completed(None))
    _, consequences = await hand.engine.ledger.apply([entry], admit=False)
    assert consequences.freed == {sql.value("SELECT id FROM gates")}
    assert [sql.status(one) for one in (first, second)] == ["completed", "pending"]
    await sweeper(hand).run_once()
    assert sql.status(second) == "running"


async def test_a_start_lets_nobody_in_where_others_wait(hand: Hand, sql: Sql):
    """Room was made, and whoever made it has not given it away yet: it begins with who is first, and sends nothing."""
    first, second = await hand.start_many(limited(1), 2)
    sql.do("UPDATE runs SET gate_id = NULL WHERE status = 'running'")
    (third,) = await hand.start_many(limited(1), 1)
    assert [sql.status(one) for one in (first, second, third)] == ["running", "pending", "pending"]
    await hand.engine.ledger.admit([sql.value("SELECT id FROM gates")], Consequences())
    assert [sql.status(one) for one in (second, third)] == ["running", "pending"]


async def test_whoever_admits_runs_begins_with_as_many_as_it_has_room_for(hand: Hand, sql: Sql):
    """Their first steps are its own in the same commit; those of the others go through the stream."""
    await hand.start_many(limited(3), 6)
    sql.do("UPDATE runs SET gate_id = NULL WHERE status = 'running'")
    sql.do("DELETE FROM outbox")
    taker = Taker("busy", timedelta(seconds=30), frozenset({"default"}))
    hands = Hands(taker, room=2)
    begun = await hand.engine.ledger.admit([sql.value("SELECT id FROM gates")], Consequences(), hands)
    assert [one.assignment.attempt for one in begun if one.assignment] == [1, 1]
    assert sql.value("SELECT count(*) FROM steps WHERE worker = 'busy' AND status = 'running'") == 2
    assert sql.counts("outbox") == 1
    assert {run_id for run_id, _ in hands.given} == {one.assignment.run_id for one in begun if one.assignment}


async def test_steps_given_in_a_transaction_whose_answer_was_lost_can_be_asked_for_again(hand: Hand, sql: Sql):
    """Their claims are repeated: who holds the step is told so, and nobody else gets it."""
    await hand.start_many(limited(1), 2)
    sql.do("UPDATE runs SET gate_id = NULL WHERE status = 'running'")
    hands = Hands(Taker("busy", timedelta(seconds=30), frozenset({"default"})), room=1)
    (begun,) = await hand.engine.ledger.admit([sql.value("SELECT id FROM gates")], Consequences(), hands)
    ((run_id, claim),) = hands.given
    (again,), _ = await hand.engine.ledger.apply([Entry(run_id, claim)])
    assert again.assignment is not None
    assert begun.assignment is not None
    assert again.assignment.token == begun.assignment.token
    (other,), _ = await hand.engine.ledger.apply([Entry(run_id, replace(claim, worker="other"))])
    assert other.answer == Refused(Refusal.LEASED)


async def test_the_sweeper_admits_who_waits_at_a_gate_with_room(hand: Hand, sql: Sql):
    """The safety net behind the admission at every release: here the row was freed behind the engine's back."""
    await hand.start(limited(1))
    second = await hand.start(limited(1))
    sql.do("UPDATE runs SET gate_id = NULL WHERE status = 'running'")
    await sweeper(hand).run_once()
    assert sql.status(second) == "running"


async def test_a_raised_limit_lets_waiters_in(hand: Hand, sql: Sql):
    """The gate takes the limit of the version that was started last."""
    await hand.start_many(limited(1), 3)
    assert statuses(sql) == {"running": 1, "pending": 2}
    await hand.start(limited(3))
    assert statuses(sql) == {"running": 3, "pending": 1}


async def test_a_lowered_limit_stops_nobody_and_lets_nobody_in(hand: Hand, sql: Sql):
    """More may be active than the new limit until they end."""
    run_ids = await hand.start_many(limited(3), 3)
    late = await hand.start(limited(1))
    assert statuses(sql) == {"running": 3, "pending": 1}
    for run_id in run_ids[:2]:
        await hand.complete(run_id, 0)
        assert sql.status(late) == "pending"
    await hand.complete(run_ids[2], 0)
    assert sql.status(late) == "running"
