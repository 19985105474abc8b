"""A server that dies, freezes, comes back empty or is full."""

import asyncio
import signal
import time
from contextlib import aclosing, suppress
from datetime import timedelta

import pytest

from flowforge_streams import Entry, StreamFull, StreamUnavailable, connect

LONG = timedelta(seconds=30)


async def blocked(server, eventually):
    """Wait until the server has a blocked client."""

    async def is_blocked():
        return server.admin.info("clients")["blocked_clients"] > 0

    await eventually(is_blocked)


async def test_a_killed_server_is_noticed_at_once(own_server, stream, eventually):
    """A blocked read and every later call say StreamUnavailable at once, not after retries."""
    async with connect(own_server.url) as log:
        group = log.group(stream, "workers")
        await group.ensure()
        reading = asyncio.create_task(group.read("a", count=1, block=LONG))
        await blocked(own_server, eventually)
        own_server.kill()
        started = time.monotonic()
        with pytest.raises(StreamUnavailable):
            await reading
        with pytest.raises(StreamUnavailable):
            await log.publish([Entry(stream, {"n": 1})])
        with pytest.raises(StreamUnavailable):
            await group.read("a", count=1, block=LONG)
        assert await log.signals.publish("wake") == 0
        assert time.monotonic() - started < LONG.total_seconds() / 2


async def test_reading_recovers_when_an_empty_server_comes_back(own_server, stream):
    """The same objects go on: the group is made again and the epoch tells that everything was lost."""
    async with connect(own_server.url) as log:
        group = log.group(stream, "workers")
        await group.ensure()
        epoch = await log.epoch()
        await asyncio.to_thread(own_server.kill)
        with pytest.raises(StreamUnavailable):
            await group.read("a", count=1)
        await asyncio.to_thread(own_server.start)
        (entry_id,) = await log.publish([Entry(stream, {"n": 1})])
        assert await group.read_own("a", count=1) == []
        assert [delivery.entry_id for delivery in await group.read("a", count=1)] == [entry_id]
        assert group.recreated == 1
        assert await log.epoch() != epoch


async def test_a_server_restarted_between_two_calls_costs_no_error(own_server, stream):
    """A connection the server has hung up on is replaced before it is used."""
    async with connect(own_server.url) as log:
        await log.publish([Entry(stream, {"n": 1})])
        await own_server.restart()
        assert len(await log.publish([Entry(stream, {"n": 2})])) == 1


async def test_a_server_that_starts_later_is_no_error_before_the_first_call(own_server, stream):
    """Opening sends nothing."""
    own_server.kill()
    async with connect(own_server.url) as log:
        group = log.group(stream, "workers")
        with pytest.raises(StreamUnavailable):
            await group.ensure()
        own_server.start()
        await group.ensure()


async def test_a_frozen_server_is_given_up_after_block_and_timeout(own_server, stream, eventually):
    """Nothing waits for ever: the client's own deadline ends a read the server does not answer."""
    async with connect(own_server.url) as calm:
        await calm.group(stream, "workers").ensure()
        (entry_id,) = await calm.publish([Entry(stream, {"n": 1})])
    async with connect(own_server.url, timeout=timedelta(milliseconds=300)) as log:
        group = log.group(stream, "workers")
        own_server.signal(signal.SIGSTOP)
        started = time.monotonic()
        with pytest.raises(StreamUnavailable):
            await group.read("a", count=1, block=timedelta(milliseconds=200))
        with pytest.raises(StreamUnavailable):
            await log.epoch()
        assert time.monotonic() - started > 0.7
        own_server.signal(signal.SIGCONT)

        # The frozen server had the first read in its socket: it may have delivered to a connection that is
        # gone, which is what read_own is for.
        async def arrived():
            with suppress(StreamUnavailable):  # a busy machine may take longer than the client waits
                own = await group.read_own("a", count=1) or await group.read("a", count=1)
                return [delivery.entry_id for delivery in own] == [entry_id]
            return False

        await eventually(arrived)


async def test_a_server_that_hangs_keeps_its_callers_for_long_only_once(own_server, stream, eventually):
    """After an answer that did not come, the next call asks something small first, and waits only briefly for it."""
    async with connect(own_server.url, timeout=timedelta(seconds=3)) as log:
        await log.publish([Entry(stream, {"n": 1})])
        own_server.signal(signal.SIGSTOP)
        took = []
        for _ in range(3):
            started = time.monotonic()
            with pytest.raises(StreamUnavailable):
                await log.publish([Entry(stream, {"n": 2})])
            took.append(time.monotonic() - started)
        own_server.signal(signal.SIGCONT)
        assert took[0] > max(took[1:])

        async def published():
            with suppress(StreamUnavailable):  # also this asks something small first
                return await log.publish([Entry(stream, {"n": 3})])
            return []

        await eventually(published)


async def test_a_full_server_refuses_to_publish(own_server, stream):
    """Memory that is full has an error of its own, and passes when there is room again."""
    async with connect(own_server.url) as log:
        own_server.admin.config_set("maxmemory", "1")
        with pytest.raises(StreamFull):
            await log.publish([Entry(stream, {"n": 1})])
        own_server.admin.config_set("maxmemory", "0")
        assert len(await log.publish([Entry(stream, {"n": 1})])) == 1


async def test_an_evicting_policy_is_not_safe(own_server):
    """A stream evicted under pressure takes its groups along."""
    async with connect(own_server.url) as log:
        own_server.admin.config_set("maxmemory-policy", "allkeys-lru")
        policy = await log.check_eviction_policy()
        assert (policy.policy, policy.safe) == ("allkeys-lru", False)


async def test_a_listener_connects_again_when_the_server_comes_back(own_server, eventually):
    """What was sent meanwhile is lost; what is sent later arrives."""
    async with connect(own_server.url) as log:

        async def first_message():
            async with aclosing(log.signals.listen(["wake"])) as signals:
                return [signal async for signal in _until(signals, b"second")]

        async def heard():
            return await log.signals.publish("wake", b"first") == 1

        async def heard_again():
            return await log.signals.publish("wake", b"second") == 1

        listening = asyncio.create_task(first_message())
        await eventually(heard)
        await own_server.restart()
        await eventually(heard_again)
        async with asyncio.timeout(60):
            assert (await listening)[-1].payload == b"second"


async def _until(signals, payload):
    async for one in signals:
        yield one
        if one.payload == payload:
            return
