"""The feed: the whole history in the events stream, each run's events in order, however transactions overlap."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import cast
from uuid import UUID

import psycopg
import pytest

from flowforge.engine.feed import Feed
from flowforge.store import feed as store
from flowforge.store.database import Connection
from flowforge_streams.errors import StreamError
from tests.support.checker import check_feed
from tests.support.definitions import chain
from tests.support.eventually import eventually
from tests.support.hand import Hand
from tests.support.streams import published, published_events


def feed_of(hand: Hand) -> Feed:
    """Make a feed."""
    return Feed(hand.engine.database, hand.engine.streams, hand.engine.names)


async def quiet(feed: Feed) -> None:
    """Wait until nothing on the server is under way any more that was when this was called.

    Transaction numbers are the whole server's: one that makes the next test's database holds the horizon back.
    """
    async with feed._database.connection() as connection:
        cursor = await connection.execute("SELECT pg_snapshot_xmax(pg_current_snapshot())::text")
        target = (await cursor.fetchone() or ("",))[0]

        async def passed() -> bool:
            query = "SELECT pg_snapshot_xmin(pg_current_snapshot()) >= %s::text::xid8"
            return bool((await (await connection.execute(query, (target,))).fetchone() or (False,))[0])

        await eventually(passed)


async def drain(*feeds: Feed, calm: bool = True) -> None:
    """Let feeds publish until none of them has more to do at once; with *calm*, all that was committed before."""
    if calm:
        await quiet(feeds[0])
    while 0 in await asyncio.gather(*(one.run_once() for one in feeds)):
        pass


def append(session: psycopg.Connection, run_id: UUID) -> None:
    """Add an event to a run as a transaction of the engine does: under its lock, with the next number."""
    seq = session.execute("SELECT seq FROM runs WHERE id = %s FOR NO KEY UPDATE", (run_id,)).fetchone()[0]  # type: ignore[index]
    session.execute("UPDATE runs SET seq = seq + 1 WHERE id = %s", (run_id,))
    event = '[{"type":"workflow.duplicate_prevented","data":{"idempotency_key":"k"}}]'
    session.execute(
        "INSERT INTO run_events (run_id, seq, at, events) VALUES (%s, %s, clock_timestamp(), %s)",
        (run_id, seq + 1, event),
    )


async def test_every_event_is_published_once_with_all_it_says(hand: Hand, sql, valkey_client, endpoints):
    """Run, number, type, time, and what the event carries."""
    run_id = await hand.start(chain(1))
    await hand.finish(run_id)
    await drain(feed_of(hand))
    found = published(valkey_client, hand.engine)
    assert [(seq, kind) for _, seq, kind in found] == list(
        enumerate(
            [
                "workflow.created",
                "workflow.started",
                "step.queued",
                "step.started",
                "step.completed",
                "workflow.completed",
            ],
            1,
        )
    )
    started = published_events(valkey_client, hand.engine)[3]
    assert (started.step, started.attempt, started.data) == ("s0", 1, {"worker": "hand"})
    assert started.at == sql.value("SELECT at FROM events WHERE seq = 4")
    check_feed(endpoints.database_url, endpoints.redis_url)


async def test_transactions_whose_numbers_are_inverted_are_published_in_the_order_of_the_run(
    hand: Hand, sql, valkey_client, endpoints
):
    """A transaction may take its number before it waits for the run's lock: then it is older and its event newer."""
    run_id = await hand.start(chain(1))
    with sql.session() as older:
        older.execute("SELECT pg_current_xact_id()")
        with sql.session() as newer:
            append(newer, run_id)
        append(older, run_id)
    xids = sql.rows("SELECT seq, xid::text::bigint FROM run_events WHERE run_id = %s ORDER BY seq", run_id)
    assert xids[-1][1] < xids[-2][1], "the test did not invert anything"
    await drain(feed_of(hand))
    assert [seq for _, seq, _ in published(valkey_client, hand.engine)] == [1, 2, 3, 4, 5]
    check_feed(endpoints.database_url, endpoints.redis_url)


@pytest.mark.parametrize("limit", [1, 2, 3])
async def test_inverted_transactions_keep_their_order_over_the_edge_of_a_page(
    hand: Hand, sql, valkey_client, endpoints, monkeypatch: pytest.MonkeyPatch, limit: int
):
    """The earlier event is pulled forward from the next page, and not published again there."""
    monkeypatch.setattr("flowforge.engine.feed.LIMIT", limit)
    runs = [await hand.start(chain(1)) for _ in range(3)]
    with sql.session() as older:
        older.execute("SELECT pg_current_xact_id()")
        for run_id in (*runs, runs[1]):
            with sql.session() as newer:
                append(newer, run_id)
        for run_id in runs:
            append(older, run_id)
    await drain(feed_of(hand))
    check_feed(endpoints.database_url, endpoints.redis_url)
    found = [(run, seq) for run, seq, _ in published(valkey_client, hand.engine)]
    assert Counter(found).most_common(1)[0][1] == 1


@pytest.mark.parametrize("limit", [1, 3, 7])
async def test_a_backlog_larger_than_a_page_is_published_page_by_page(
    hand: Hand, valkey_client, endpoints, monkeypatch: pytest.MonkeyPatch, limit: int
):
    """Also when one transaction alone is larger than a page."""
    monkeypatch.setattr("flowforge.engine.feed.LIMIT", limit)
    for run_id in await hand.start_many(chain(2), 10):
        await hand.finish(run_id)
    await hand.start(chain(1))
    await drain(feed_of(hand))
    check_feed(endpoints.database_url, endpoints.redis_url)
    found = [(run, seq) for run, seq, _ in published(valkey_client, hand.engine)]
    assert len(found) == len(set(found)) == 10 * 9 + 3


async def test_two_feeds_at_once_publish_once(hand: Hand, make_engine, valkey_client, endpoints):
    """Whoever has the cursor publishes, the other does nothing."""
    feeds = [feed_of(hand), feed_of(Hand(await make_engine()))]
    for _ in range(10):
        run_id = await hand.start(chain(1))
        await asyncio.gather(hand.finish(run_id), *(one.run_once() for one in feeds))
    await drain(*feeds)
    check_feed(endpoints.database_url, endpoints.redis_url)
    found = [(run, seq) for run, seq, _ in published(valkey_client, hand.engine)]
    assert len(found) == len(set(found))


async def test_a_new_feed_goes_on_where_the_last_one_stopped(hand: Hand, make_engine, valkey_client, endpoints):
    """The cursor lies in Postgres."""
    await hand.start(chain(1))
    await drain(feed_of(hand))
    await hand.start(chain(1))
    await drain(feed_of(Hand(await make_engine())))
    found = [(run, seq) for run, seq, _ in published(valkey_client, hand.engine)]
    assert len(found) == len(set(found)) == 6
    check_feed(endpoints.database_url, endpoints.redis_url)


async def test_a_crash_after_publishing_repeats_events_and_loses_none(
    hand: Hand, valkey_client, endpoints, monkeypatch: pytest.MonkeyPatch
):
    """At least once: the cursor moves after the stream has them."""
    await hand.start(chain(1))

    async def crash(*_: object) -> None:
        raise RuntimeError("crash")

    await quiet(feed_of(hand))
    with monkeypatch.context() as patch:
        patch.setattr(store, "move", crash)
        with pytest.raises(RuntimeError, match="crash"):
            await feed_of(hand).run_once()
    await drain(feed_of(hand))
    assert [seq for _, seq, _ in published(valkey_client, hand.engine)] == [1, 2, 3, 1, 2, 3]
    check_feed(endpoints.database_url, endpoints.redis_url)


async def test_a_long_open_transaction_delays_the_feed_and_not_the_work(hand: Hand, sql, valkey_client, endpoints):
    """What is behind its horizon is published; what is in front waits for it to end."""
    await drain(feed_of(hand))
    with sql.session() as long:
        long.execute("SELECT pg_current_xact_id()")
        run_id = await hand.start(chain(2))
        await hand.finish(run_id)
        assert sql.status(run_id) == "completed"
        await drain(feed_of(hand), calm=False)
        assert published(valkey_client, hand.engine) == []
    await drain(feed_of(hand))
    check_feed(endpoints.database_url, endpoints.redis_url)


async def test_a_long_reader_delays_nothing(hand: Hand, sql, endpoints):
    """A report that runs for an hour has no transaction number."""
    with sql.session() as reader:
        reader.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        reader.execute("SELECT count(*) FROM runs")
        await hand.finish(await hand.start(chain(1)))
        await drain(feed_of(hand))
        check_feed(endpoints.database_url, endpoints.redis_url)


async def test_what_is_committed_while_a_page_is_read_comes_with_the_next_page_only(hand: Hand, sql):
    """The page and its horizon are one view of the history; otherwise events would be published twice."""
    feed = feed_of(hand)
    await hand.start(chain(1))
    await drain(feed)
    sql.do("UPDATE cursors SET xid = '0'")

    async def meanwhile() -> None:
        await hand.start(chain(1))
        await quiet(feed)

    async with hand.engine.database.transaction() as connection:
        first = await store.page(cast("Connection", _Interrupted(connection, meanwhile)), "0", 1000)
        second = await store.page(connection, first.next_xid, 1000)
    both = [(row.run, row.seq) for page in (first, second) for row in page.rows]
    assert len(both) == len(set(both)) == 2


async def test_a_cursor_from_another_clusters_future_is_brought_back(hand: Hand, sql, valkey_client):
    """After a restore into a new cluster the remembered number may be ahead for years; the feed must go on."""
    sql.do("UPDATE cursors SET xid = '99999999999' WHERE name = 'feed'")
    await hand.start(chain(1))
    await drain(feed_of(hand))
    later = await hand.start(chain(1))
    await drain(feed_of(hand))
    await drain(feed_of(hand))
    assert [seq for run, seq, _ in published(valkey_client, hand.engine) if run == str(later)] == [1, 2, 3]


async def test_without_redis_the_cursor_stays(make_engine, hand: Hand, sql, endpoints):
    """Nothing is skipped: everything is published when Redis is back."""
    await hand.start(chain(1))
    engine = await make_engine(redis_url="unix:///tmp/there-is-no-such-socket?db=0")
    await quiet(feed_of(hand))
    with pytest.raises(StreamError):
        await Feed(engine.database, engine.streams, engine.names).run_once()
    assert sql.value("SELECT xid::text FROM cursors WHERE name = 'feed'") == "0"
    await drain(feed_of(hand))
    check_feed(endpoints.database_url, endpoints.redis_url)


async def test_an_idle_feed_writes_nothing(hand: Hand, sql):
    """An installation at rest must not write."""
    await hand.start(chain(1))
    await drain(feed_of(hand))
    before = sql.rows("SELECT xid::text, updated_at, xmin::text FROM cursors")
    for _ in range(3):
        assert await feed_of(hand).run_once() is None
    assert sql.rows("SELECT xid::text, updated_at, xmin::text FROM cursors") == before


class _Interrupted:
    """A connection between whose first two statements something else is committed."""

    def __init__(self, connection, between) -> None:
        self._connection, self._between = connection, between

    async def execute(self, *arguments: object):
        """Run a statement, then let the other thing happen, once."""
        answer = await self._connection.execute(*arguments)
        if self._between is not None:
            between, self._between = self._between, None
            await between()
        return answer
