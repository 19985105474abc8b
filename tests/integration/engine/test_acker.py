"""Acknowledging: together, after the fact, and never half forgotten when the worker leaves."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from flowforge.engine.acker import Acker
from flowforge.engine.message import NO_ENTRY
from flowforge_streams.delivery import Delivery
from flowforge_streams.errors import StreamUnavailable
from flowforge_streams.seam import Group
from tests.support.eventually import eventually


class Slow:
    """A group whose server answers when the test lets it."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.acked: list[str] = []
        self.answer = asyncio.Event()
        self.error: Exception | None = None

    async def ack(self, entry_ids: list[str]) -> int:
        """Wait, then acknowledge."""
        self.asked += entry_ids
        await self.answer.wait()
        if self.error is not None:
            raise self.error
        self.acked += entry_ids
        return len(entry_ids)


def delivery(entry_id: str) -> Delivery:
    """Make a delivery."""
    return Delivery("stream", entry_id, {}, delivered=1, reclaimed=False)


def acker_of(group: Slow) -> Acker:
    """Make an acker for one group."""
    return Acker({"stream": cast("Group", group)})


async def test_a_last_flush_waits_for_the_one_that_is_under_way():
    """A stopping worker flushes and then ends its services: what was on its way must not be cut off."""
    group = Slow()
    acker = acker_of(group)
    service = asyncio.create_task(acker.run())
    acker.ack(delivery("1-0"))
    await eventually(lambda: group.asked)
    last = asyncio.create_task(acker.flush())
    for _ in range(5):
        await asyncio.sleep(0)
    assert not last.done(), "the worker would leave now, and the acknowledgement with it"
    group.answer.set()
    await last
    service.cancel()
    await asyncio.gather(service, return_exceptions=True)
    assert group.acked == ["1-0"]


async def test_acknowledgements_that_come_together_travel_together():
    """One command for all of a stream."""
    group = Slow()
    group.answer.set()
    acker = acker_of(group)
    for no in range(1, 6):
        acker.ack(delivery(f"{no}-0"))
    acker.ack(None)
    acker.ack(delivery(NO_ENTRY))
    await acker.flush()
    assert group.acked == [f"{no}-0" for no in range(1, 6)]
    await acker.flush()
    assert len(group.asked) == 5


async def test_a_lost_acknowledgement_is_not_an_error():
    """Reclaiming repeats it, and the service lives on."""
    group = Slow()
    group.answer.set()
    group.error = StreamUnavailable()
    acker = acker_of(group)
    acker.ack(delivery("1-0"))
    await acker.flush()
    group.error = None
    acker.ack(delivery("2-0"))
    await acker.flush()
    assert group.acked == ["2-0"]


async def test_nothing_to_acknowledge_sends_nothing():
    """A continuation has no delivery."""
    group: Any = Slow()
    acker = acker_of(group)
    acker.ack(None)
    await acker.flush()
    assert group.asked == []
