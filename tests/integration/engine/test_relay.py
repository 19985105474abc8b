"""The relay: from the outbox to the streams, at least once, whatever happens between."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from uuid import UUID

import pytest

from flowforge.engine.relay import Relay
from flowforge_streams.errors import StreamError
from tests.support.definitions import chain, step, workflow
from tests.support.eventually import eventually
from tests.support.executors import Counting, Scripted
from tests.support.hand import Hand
from tests.support.streams import LANES, dispatches, entries


def relay_of(hand: Hand) -> Relay:
    """Make a relay."""
    return Relay(hand.engine.database, hand.engine.streams, hand.engine.names, LANES)


async def test_what_is_published_is_deleted(hand: Hand, sql, valkey_client):
    """Each row becomes one message in the stream of its lane."""
    run_id = await hand.start(workflow(step("a"), step("b", queue="gpu")))
    relay = relay_of(hand)
    await relay.run_once()
    assert sql.counts("outbox") == 0
    assert dispatches(valkey_client, hand.engine) == [(run_id.hex, 0, 1)]
    assert dispatches(valkey_client, hand.engine, "gpu") == [(run_id.hex, 1, 1)]
    assert relay.published == 2
    (message,) = entries(valkey_client, hand.engine.names.lane("gpu"))
    assert message == {"v": "1", "run": run_id.hex, "step": "1", "dispatch_no": "1"}


async def test_the_trace_travels_with_the_message(hand: Hand, valkey_client):
    """And nothing else does: there is no payload."""
    traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    await hand.start(chain(1), {"secret": 1}, traceparent=traceparent)
    await relay_of(hand).run_once()
    (message,) = entries(valkey_client, hand.engine.names.lane("default"))
    assert message["traceparent"] == traceparent
    assert "secret" not in str(message)


async def test_a_crash_between_publishing_and_committing_publishes_again_and_executes_once(
    hand: Hand, sql, valkey_client, start_worker, monkeypatch: pytest.MonkeyPatch, at_rest
):
    """The rows stay, the message is there twice, and the claim absorbs the second one."""
    run_id = await hand.start(chain(1))

    def crash(_: str) -> None:
        raise RuntimeError("crash")

    with monkeypatch.context() as patch:
        patch.setattr("flowforge.engine.relay.crash_point", crash)
        with pytest.raises(RuntimeError, match="crash"):
            await relay_of(hand).run_once()
    assert sql.counts("outbox") == 1
    await relay_of(hand).run_once()
    assert dispatches(valkey_client, hand.engine) == [(run_id.hex, 0, 1)] * 2
    counting = Counting()
    # A copy that arrives while the first is being claimed is left to be reclaimed, after a lease.
    await start_worker(executors=Scripted(transform=counting), lease=timedelta(seconds=1))
    await eventually(lambda: sql.status(run_id) == "completed")
    await at_rest()
    assert counting.executed == [(str(run_id), "s0", 1)]


async def test_two_relays_at_once_share_the_work(hand: Hand, make_engine, sql, valkey_client):
    """Neither waits for the other, and nothing is published twice."""
    sql.do(
        "INSERT INTO outbox (lane, run_id, step_no, dispatch_no) "
        "SELECT 'default', gen_random_uuid(), 0, 1 FROM generate_series(1, 3500)"
    )
    relays = [relay_of(hand), relay_of(Hand(await make_engine()))]
    while sql.counts("outbox"):
        await asyncio.gather(*(relay.run_once() for relay in relays))
    found = dispatches(valkey_client, hand.engine)
    assert len(found) == len(set(found)) == 3500
    assert all(relay.published for relay in relays)
    assert sum(relay.published for relay in relays) == 3500


async def test_a_relay_that_holds_rows_does_not_keep_another_from_publishing_the_rest(hand: Hand, sql, valkey_client):
    """SKIP LOCKED: rows of a stuck relay wait for it, the others do not."""
    first, second = await hand.start(chain(1)), await hand.start(chain(1))
    with sql.session() as stuck:
        stuck.execute("DELETE FROM outbox WHERE run_id = %s", (first,))
        await relay_of(hand).run_once()
        assert [run for run, _, _ in dispatches(valkey_client, hand.engine)] == [second.hex]
        stuck.rollback()
    await relay_of(hand).run_once()
    assert sorted(UUID(run) for run, _, _ in dispatches(valkey_client, hand.engine)) == sorted([first, second])


async def test_a_full_page_is_followed_by_the_next_at_once(hand: Hand, sql, monkeypatch: pytest.MonkeyPatch):
    """And a page that is not full by the usual pause."""
    monkeypatch.setattr("flowforge.engine.relay.LIMIT", 2)
    await hand.start_many(chain(1), 3)
    relay = relay_of(hand)
    assert await relay.run_once() == 0
    assert await relay.run_once() is None
    assert await relay.run_once() is None
    assert sql.counts("outbox") == 0


async def test_without_redis_the_rows_stay(make_engine, sql):
    """Starting goes on, nothing is lost, and the error says what is missing."""
    engine = await make_engine(redis_url="unix:///tmp/there-is-no-such-socket?db=0")
    hand = Hand(engine)
    run_id = await hand.start(chain(1))
    with pytest.raises(StreamError):
        await relay_of(hand).run_once()
    assert sql.counts("outbox") == 1
    assert sql.status(run_id) == "running"
    async with engine.database.connection() as connection:
        await connection.execute("SELECT 1")


async def test_dispatches_leave_in_the_order_they_came(hand: Hand, valkey_client):
    """Oldest first."""
    run_ids = [await hand.start(chain(1)) for _ in range(5)]
    await relay_of(hand).run_once()
    assert [run for run, _, _ in dispatches(valkey_client, hand.engine)] == [run_id.hex for run_id in run_ids]
