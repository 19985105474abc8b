"""Claiming straight from Postgres: only while nothing leaves the outbox, a bounded number at a time, each once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from uuid import UUID

import pytest

from flowforge.engine import degraded
from flowforge.engine.degraded import Degraded, Source
from flowforge.engine.engine import Engine
from flowforge.engine.message import Message, decode
from flowforge.engine.relay import Relay
from flowforge_streams.delivery import Delivery
from flowforge_streams.errors import StreamError, StreamUnavailable
from tests.support.definitions import chain, step, workflow
from tests.support.eventually import eventually
from tests.support.executors import Counting, Scripted
from tests.support.hand import Hand
from tests.support.streams import LANES, dispatches


class Fed:
    """A degraded loop whose clock, room and deliveries the test holds."""

    def __init__(self, engine: Engine, lane: str = "default", room: int = 1000) -> None:
        self.now, self.published, self.room = 0.0, 0, room
        self.deliveries: list[Delivery] = []
        #: What asking the stream server ends with, and how often it was asked.
        self.error: StreamError | None = None
        self.asked = 0
        self.hangs = False
        source = Source(lane, engine.names.lane(lane), lambda: self.room)
        self.loop = Degraded(
            engine.database, [source], self.take, lambda: self.published, self.answers, lambda: self.now
        )

    def take(self, deliveries: Sequence[Delivery]) -> None:
        self.deliveries += deliveries

    async def answers(self) -> None:
        self.asked += 1
        if self.hangs:
            await asyncio.Event().wait()
        if self.error is not None:
            raise self.error

    async def look(self, after: float = 0.0) -> None:
        self.now += after
        await self.loop.run_once()

    def active(self) -> bool:
        return self.loop.active

    @property
    def messages(self) -> list[Message]:
        found = [decode(one) for one in self.deliveries]
        assert all(isinstance(one, Message) for one in found)
        return [one for one in found if isinstance(one, Message)]


async def test_nothing_is_taken_while_the_outbox_moves(hand: Hand, sql):
    """Every look finds another oldest row, however long that goes on."""
    fed = Fed(hand.engine)
    for _ in range(4):
        await hand.start(chain(1))
        await fed.look(after=degraded.PATIENCE * 0.9)
        sql.do("DELETE FROM outbox")
    await fed.look(after=degraded.PATIENCE)
    assert (fed.loop.active, fed.deliveries) == (False, [])


async def test_an_outbox_that_stands_still_is_read_by_workers(hand: Hand, sql):
    """After a while the dispatches of our lanes become deliveries, exactly as the stream would bring them."""
    run_id = await hand.start(workflow(step("a"), step("b", queue="gpu")))
    fed = Fed(hand.engine)
    await fed.look()
    assert fed.deliveries == []
    await fed.look(after=degraded.PATIENCE)
    assert fed.messages == [Message(run_id, 0, 1)]
    assert sql.rows("SELECT lane FROM outbox") == [("gpu",)]
    (delivery,) = fed.deliveries
    assert delivery.stream == hand.engine.names.lane("default")


async def test_no_more_is_taken_than_there_is_room_for_and_no_more_than_the_rate_allows(hand: Hand, sql):
    """A bounded number a look: Postgres must not become a queue that a fleet polls."""
    await hand.start_many(chain(1), degraded.LIMIT * 2)
    fed = Fed(hand.engine, room=3)
    await fed.look()
    await fed.look(after=degraded.PATIENCE)
    assert len(fed.deliveries) == 3
    fed.room = 0
    await fed.look()
    assert len(fed.deliveries) == 3
    fed.room = 10_000
    await fed.look()
    assert len(fed.deliveries) == 3 + degraded.LIMIT


async def test_two_workers_take_different_dispatches(hand: Hand, sql):
    """SKIP LOCKED and a deletion: none is taken twice, none is left."""
    await hand.start_many(chain(1), 40)
    workers = [Fed(hand.engine, room=7) for _ in range(2)]
    for one in workers:
        await one.look()
    for _ in range(3):
        await asyncio.gather(*(one.look(after=degraded.PATIENCE) for one in workers))
    taken = [message.run_id for one in workers for message in one.messages]
    assert len(taken) == len(set(taken)) == 40
    assert sql.counts("outbox") == 0


async def test_it_ends_when_the_relay_publishes_again(hand: Hand):
    """The relay's own success is the proof that the streams work."""
    await hand.start_many(chain(1), 3)
    fed = Fed(hand.engine, room=1)
    await fed.look()
    await fed.look(after=degraded.PATIENCE)
    assert fed.active() is True
    fed.published = 1
    await fed.look()
    assert fed.active() is False
    assert len(fed.deliveries) == 1


async def test_it_ends_when_nothing_waits_and_the_stream_server_answers(hand: Hand):
    """Another worker's relay may publish all there is: that ours has nothing to do must not last for ever."""
    await hand.start(chain(1))
    fed = Fed(hand.engine)
    await fed.look()
    await fed.look(after=degraded.PATIENCE)
    await fed.look()
    fed.error = StreamUnavailable("nobody listens")
    await fed.look(after=degraded.QUIET * 0.9)
    assert (fed.active(), fed.asked) == (True, 0)
    await fed.look(after=degraded.QUIET * 0.2)
    assert (fed.active(), fed.asked) == (True, 1)
    fed.error = None
    await fed.look()
    await fed.look(after=degraded.QUIET * 0.5)
    await hand.start(chain(1))
    await fed.look(after=degraded.QUIET)
    assert (fed.active(), fed.asked, len(fed.deliveries)) == (True, 1, 2)
    await fed.look()
    await fed.look(after=degraded.QUIET)
    assert (fed.active(), fed.asked) == (False, 2)


async def test_a_stream_server_that_hangs_is_not_waited_for(hand: Hand, monkeypatch: pytest.MonkeyPatch):
    """While it is asked nobody looks whether a dispatch has come: no answer in time is none."""
    monkeypatch.setattr(degraded, "ANSWER", 0.01)
    await hand.start(chain(1))
    fed = Fed(hand.engine)
    fed.hangs = True
    await fed.look()
    await fed.look(after=degraded.PATIENCE)
    await fed.look()
    await fed.look(after=degraded.QUIET)
    assert (fed.active(), fed.asked) == (True, 1)
    await hand.start(chain(1))
    await fed.look()
    assert len(fed.deliveries) == 2


async def test_a_dispatch_that_was_published_as_well_is_executed_once(
    hand: Hand, start_worker, valkey_client, monkeypatch: pytest.MonkeyPatch, at_rest
):
    """A relay that published and died before its commit, and a worker that finds the row: the claim decides."""
    run_id = await hand.start(chain(1))

    def crash(_: str) -> None:
        raise RuntimeError("crash")

    with monkeypatch.context() as patch:
        patch.setattr("flowforge.engine.relay.crash_point", crash)
        with pytest.raises(RuntimeError, match="crash"):
            await Relay(hand.engine.database, hand.engine.streams, hand.engine.names, LANES).run_once()
    assert dispatches(valkey_client, hand.engine) == [(run_id.hex, 0, 1)]
    fed = Fed(hand.engine)
    await fed.look()
    await fed.look(after=degraded.PATIENCE)
    counting = Counting()
    worker = await start_worker(executors=Scripted(transform=counting))
    worker.attempts.take(fed.deliveries)
    await eventually(lambda: len(counting.executed) == 1)
    await at_rest()
    assert len(counting.executed) == 1


async def test_a_worker_without_a_stream_server_completes_runs(hand: Hand, start_worker, sql, tmp_path: Path):
    """Nobody listens at the address of its streams, from the start: it works all the same, and says why slowly."""
    worker = await start_worker(redis_url=f"unix://{tmp_path}/nobody.sock")
    runs: list[UUID] = await hand.start_many(chain(3), 30)
    await eventually(lambda: all(sql.status(run) == "completed" for run in runs))
    assert worker.acker is not None
    assert sql.value("SELECT max(dispatch_no) FROM steps") == 1
