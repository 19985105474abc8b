"""Pub/sub on a real server, for wake-ups and control messages whose loss is harmless.

A subscription is silent for hours, so a connection that died without a word would go unnoticed: a PING that
stays unanswered is what ends it.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Sequence

from redis.asyncio.connection import AbstractConnection

from .backoff import Backoff
from .errors import StreamUnavailable
from .link import Endpoint, Link
from .refusal import UNREACHABLE
from .seam import Signal
from .throttle import ThrottledLog

logger = logging.getLogger("flowforge_streams")

_SILENCE = 15.0  # seconds without a word before the server is asked whether it is still there


class RedisSignals:
    """Control channels of one server."""

    def __init__(self, endpoint: Endpoint, link: Link) -> None:
        self._endpoint = endpoint
        self._link = link
        self._log = ThrottledLog(logger)

    async def publish(self, channel: str, payload: bytes | str = b"") -> int:
        """Send to whoever listens at this moment; return how many did, 0 when the server is away."""
        try:
            return int(await self._link.call("PUBLISH", channel, payload))
        except StreamUnavailable as error:
            logger.debug("signal on %s not sent: %s", channel, error)
            return 0

    async def listen(self, channels: Sequence[str]) -> AsyncGenerator[Signal, None]:
        """Yield messages for ever, reconnecting with backoff; end it with `aclose` or a cancellation."""
        backoff = Backoff()
        while True:
            connection = self._endpoint.connection()
            try:
                await self._subscribe(connection, channels)
                backoff.reset()
                while True:
                    if signal := await self._next(connection):
                        yield signal
            except UNREACHABLE as error:
                self._log.warning("control channel lost, connecting again: %s", error)
            finally:
                await connection.disconnect(nowait=True)
            await asyncio.sleep(backoff.next())

    async def _subscribe(self, connection: AbstractConnection, channels: Sequence[str]) -> None:
        async with asyncio.timeout(self._endpoint.timeout):
            await connection.connect()
            await connection.send_command("SUBSCRIBE", *channels, check_health=False)

    async def _next(self, connection: AbstractConnection) -> Signal | None:
        # With a timeout of its own the driver returns None and keeps the connection and what it has parsed.
        reply = await connection.read_response(timeout=_SILENCE)
        if reply is None:
            await connection.send_command("PING", check_health=False)
            reply = await connection.read_response(timeout=self._endpoint.timeout)
            if reply is None:
                raise TimeoutError("no answer to PING")
        if reply[0] != b"message":
            return None  # the confirmation of a subscription, or a pong
        return Signal(reply[1].decode(), reply[2])
