"""What only the in-memory twin can do: be told the time, and be told to fail."""

import asyncio
from datetime import timedelta

import pytest

from flowforge_streams import Entry, MemoryLog, StreamClosed, StreamUnavailable


class Clock:
    """A clock that only a test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


async def test_idle_time_is_what_the_clock_says():
    """An entry is reclaimed exactly when it has been idle for long enough, without any waiting."""
    clock = Clock()
    log = MemoryLog(clock=clock)
    group = log.group("s", "g")
    await log.publish([Entry("s", {"n": 1})])
    await group.read("a", count=1)
    lease = timedelta(seconds=30)
    clock.now = 29.9
    assert (await group.reclaim("b", min_idle=lease, count=1)).deliveries == ()
    clock.now = 30.0
    assert len((await group.reclaim("b", min_idle=lease, count=1)).deliveries) == 1


async def test_a_log_that_is_down_fails_every_call_until_it_is_up_again():
    """Signals are lost silently, as they are with a real server."""
    log = MemoryLog()
    group = log.group("s", "g")
    log.down = True
    for call in (
        log.publish([Entry("s", {"n": 1})]),
        log.epoch(),
        group.ensure(),
        group.read("a", count=1),
        group.read_own("a", count=1),
        group.reclaim("a", min_idle=timedelta(0), count=1),
        group.ack(["1-1"]),
        group.touch("a", ["1-1"]),
        group.depth(),
    ):
        with pytest.raises(StreamUnavailable):
            await call
    assert await log.signals.publish("wake") == 0
    log.down = False
    assert len(await log.publish([Entry("s", {"n": 1})])) == 1


async def test_a_closed_log_is_closed():
    """Also for a reader that waits."""
    log = MemoryLog()
    group = log.group("s", "g")
    reading = asyncio.create_task(group.read("a", count=1, block=timedelta(seconds=30)))
    await asyncio.sleep(0)
    await log.close()
    with pytest.raises(StreamClosed):
        await reading


async def test_ids_grow_within_a_stream_however_fast_entries_come():
    """They compare as numbers."""
    log = MemoryLog()
    ids = await log.publish([Entry("s", {"n": n}) for n in range(500)])
    numbers = [tuple(map(int, entry_id.split("-"))) for entry_id in ids]
    assert numbers == sorted(set(numbers))


async def test_two_logs_have_nothing_in_common():
    """Not even their epoch."""
    one, other = MemoryLog(), MemoryLog()
    await one.publish([Entry("s", {"n": 1})])
    assert (await other.group("s", "g").depth()).length == 0
    assert await one.epoch() != await other.epoch()
