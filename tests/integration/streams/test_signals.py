"""Control channels: messages arrive when somebody listens, and their loss is harmless."""

import asyncio
import signal
from contextlib import aclosing
from datetime import timedelta

from flowforge_streams import Signal, connect


async def listened(log, channels, ready):
    """Listen until a message other than *ready* comes, and return it."""
    async with aclosing(log.signals.listen(channels)) as signals:
        async for one in signals:
            if one.payload != ready:
                return one
    raise AssertionError("listening ended by itself")


async def test_a_listener_gets_what_is_sent_to_its_channels(log, stream, eventually):
    """Channel and payload arrive; other channels do not."""
    wake, control, other = f"{stream}:wake", f"{stream}:control", f"{stream}:other"
    listening = asyncio.create_task(listened(log, [wake, control], b"ready?"))

    async def heard():
        return await log.signals.publish(wake, b"ready?") == 1

    await eventually(heard)
    assert await log.signals.publish(other, b"not for you") == 0
    assert await log.signals.publish(control, b"cancel \xff") == 1
    async with asyncio.timeout(60):
        assert await listening == Signal(control, b"cancel \xff")


async def test_a_signal_without_a_listener_is_lost(log, stream):
    """Sending it is no error."""
    assert await log.signals.publish(f"{stream}:wake") == 0


async def test_a_listener_can_be_cancelled(log, stream, eventually):
    """Nothing of it is left on the server."""
    listening = asyncio.create_task(listened(log, [f"{stream}:wake"], b""))

    async def listens():
        return await log.signals.publish(f"{stream}:wake") == 1

    async def has_gone():
        return await log.signals.publish(f"{stream}:wake") == 0

    await eventually(listens)
    listening.cancel()
    assert isinstance((await asyncio.gather(listening, return_exceptions=True))[0], asyncio.CancelledError)
    await eventually(has_gone)


async def test_a_silent_channel_is_asked_whether_it_lives(server, stream, eventually, monkeypatch):
    """A server that answers keeps its listener; one that has frozen is left, and found again later."""
    monkeypatch.setattr("flowforge_streams.redis_signals._SILENCE", 0.02)
    async with connect(server.url, timeout=timedelta(milliseconds=200)) as log:
        listening = asyncio.create_task(listened(log, [stream], b"ready?"))

        async def heard():
            return await log.signals.publish(stream, b"ready?") == 1

        async def has_asked():
            return server.admin.info("commandstats").get("cmdstat_ping", {}).get("calls", 0) > asked + 3

        await eventually(heard)
        asked = server.admin.info("commandstats").get("cmdstat_ping", {}).get("calls", 0)
        await eventually(has_asked)
        assert not listening.done()
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)


async def test_a_listener_leaves_a_frozen_server_and_finds_it_again(
    own_server, stream, eventually, monkeypatch, caplog
):
    """Half-open connections are noticed by the answer that does not come."""
    monkeypatch.setattr("flowforge_streams.redis_signals._SILENCE", 0.02)
    async with connect(own_server.url, timeout=timedelta(milliseconds=200)) as log:
        listening = asyncio.create_task(listened(log, [stream], b"ready?"))

        async def heard():
            return await log.signals.publish(stream, b"ready?") > 0

        async def lost():
            return "control channel lost" in caplog.text

        await eventually(heard)
        own_server.signal(signal.SIGSTOP)
        await eventually(lost)
        own_server.signal(signal.SIGCONT)
        await eventually(heard)

        async def stopped():
            # Nothing is kept for a listener that is just connecting again.
            await log.signals.publish(stream, b"stop")
            return listening.done()

        await eventually(stopped)
        assert listening.result().payload == b"stop"
