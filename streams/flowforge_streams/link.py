"""Connections to one server: how commands travel, with one deadline and no retry.

A reply is always read by whoever sent its command: an exchange that is cancelled, fails or overruns its
deadline drops its connection, so that no later command can be given somebody else's answer. The driver's own
clients are not used, because they retry: a repeated XADD appends twice.
"""

import asyncio
import math
from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from hiredis import pack_command
from redis.asyncio.connection import AbstractConnection, Connection, parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import DataError, ResponseError

from .errors import StreamClosed, StreamError
from .refusal import UNREACHABLE, translated

#: Seconds that a server which did not answer lately gets to prove that it does again.
_PROOF = 0.5

Argument = bytes | str | int
Command = Sequence[Argument]


class Endpoint:
    """One server: `redis://`, `rediss://` or `unix:///path/sock?db=0`, and how long to wait for it."""

    def __init__(self, url: str, *, timeout: timedelta, client_name: str | None) -> None:
        self.timeout = timeout.total_seconds()
        options: dict[str, Any] = dict(parse_url(url))
        self._connection_class: type[AbstractConnection] = options.pop("connection_class", Connection)
        # Protocol 2 because it is the same on every server from 6.2 on, and its replies are plain lists. No
        # socket timeout because each exchange has its own deadline: a blocking read needs a longer one.
        self._options = options | {
            "protocol": 2,
            "decode_responses": False,
            "socket_timeout": None,
            "socket_connect_timeout": self.timeout,
            "retry": Retry(NoBackoff(), 0),
            "retry_on_timeout": False,
            "health_check_interval": 0,
            "client_name": client_name,
            "driver_info": None,
        }
        parts = urlsplit(url)
        address = parts.path if parts.scheme == "unix" else f"{parts.hostname}:{parts.port or 6379}"
        #: for people: where the server is, without credentials
        self.address = f"{address} db {options['db']}" if options.get("db") else address

    def connection(self) -> AbstractConnection:
        """Make a connection; it connects when it is used."""
        return self._connection_class(**self._options)


class Link:
    """Up to *size* connections to a server, each used by one exchange at a time."""

    def __init__(self, endpoint: Endpoint, size: int = 1) -> None:
        self._endpoint = endpoint
        self._slots = asyncio.Semaphore(size)
        self._idle: list[AbstractConnection] = []
        self._busy: set[AbstractConnection] = set()
        self._closed = False
        #: The last exchange had no answer in time.
        self._suspect = False

    @property
    def closed(self) -> bool:
        """Tell whether `close` was called."""
        return self._closed

    async def call(self, *command: Argument, block: float = 0.0) -> Any:
        """Send one command and return its reply; the server may take *block* seconds on top to answer."""
        (reply,) = await self.pipeline((command,), block=block)
        if isinstance(reply, StreamError):
            raise reply
        return reply

    async def pipeline(self, commands: Sequence[Command], *, block: float = 0.0) -> list[Any]:
        """Send commands in one go and return their replies; a refused one yields its error as a value."""
        if not commands:
            return []
        try:
            # The deadline covers waiting for a free connection as well: a stalled server fills them all.
            async with asyncio.timeout(self._endpoint.timeout + block), self._slots:
                return await self._exchange(commands)
        except UNREACHABLE as error:
            self._suspect = isinstance(error, TimeoutError)
            if self._closed:
                raise StreamClosed from error
            raise translated(error) from error
        except DataError as error:
            raise TypeError(str(error)) from error

    async def _exchange(self, commands: Sequence[Command]) -> list[Any]:
        if self._closed:
            raise StreamClosed
        connection = self._idle.pop() if self._idle else self._endpoint.connection()
        self._busy.add(connection)
        try:
            # A caller may hold locks meanwhile: a server that hangs keeps it for long once, not every time.
            async with asyncio.timeout(_PROOF if self._suspect else None):
                await _ready(connection)
                if self._suspect:
                    await connection.send_packed_command(connection.pack_command("PING"), check_health=False)
                    await _reply(connection)
            self._suspect = False
            # The driver's own packing is written in Python and takes seven times as long.
            packed = [pack_command(tuple(command)) for command in commands]  # type: ignore[arg-type]
            await connection.send_packed_command(packed, check_health=False)
            return [await _reply(connection) for _ in commands]
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        finally:
            self._busy.discard(connection)
            self._idle.append(connection)

    async def close(self) -> None:
        """Close the connections; exchanges under way end with `StreamClosed`."""
        self._closed = True
        for connection in (*self._idle, *self._busy):
            await connection.disconnect(nowait=True)


async def _ready(connection: AbstractConnection) -> None:
    # Readable before anything was asked means the server hung up (or worse, said something unasked).
    if connection.is_connected and await connection.can_read():
        await connection.disconnect(nowait=True)
    await connection.connect()


async def _reply(connection: AbstractConnection) -> Any:
    try:
        # math.inf switches the driver's timeout off; the deadline is the exchange's.
        return await connection.read_response(timeout=math.inf, disconnect_on_error=False)
    except ResponseError as refused:
        error = translated(refused)
        error.__cause__ = refused
        return error
