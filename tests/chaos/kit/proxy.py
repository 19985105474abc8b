"""A proxy of our own between clients on loopback TCP and a server: it passes, delays, freezes, drops, resets, cuts.

It lives in a thread with an event loop; everything that tests call is synchronous and has taken effect when it
returns. It knows nothing of the protocols that go through it, except that a byte sequence can be waited for.

    pass      bytes go through
    delay     every piece waits first
    freeze    nothing goes through and nothing is lost: what was on its way arrives after the thaw
    drop      bytes are taken and thrown away; what lost some is reset when the network heals
    refuse    new connections are reset at once, old ones go on
    reset     connections end with RST (once, for those there are)
    half-open the server's side is gone, the client's side is silent (once, for those there are)
    cut       one connection ends with RST after a number of bytes, or just before a byte sequence would arrive
"""

from __future__ import annotations

import asyncio
import random
import socket
import struct
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

#: What Postgres answers when a transaction is committed, and when the relay has taken rows out of the outbox.
COMMITTED, DELETED = b"C\x00\x00\x00\x0bCOMMIT\x00", b"DELETE "

_PIECE = 64 * 1024
_LINGER_NOTHING = struct.pack("ii", 1, 0)


class Mode(StrEnum):
    """What happens to bytes."""

    PASS = "pass"
    FREEZE = "freeze"
    DROP = "drop"


class Way(StrEnum):
    """Which way bytes go."""

    #: From the client to the server.
    UP = "up"
    #: From the server to the client.
    DOWN = "down"


@dataclass(slots=True, eq=False)
class Cut:
    """Ends one connection at a certain place of what goes through it."""

    way: Way
    #: Bytes that still go through, for all connections together; None: the sequence decides.
    left: int | None = None
    #: What must not arrive.
    sequence: bytes = b""
    #: What has to have gone through the connection before.
    after: bytes = b""
    #: Called before the connection ends.
    then: Callable[[], None] = lambda: None
    #: Connections that are ended, one after the other.
    times: int = 1
    done: threading.Event = field(default_factory=threading.Event)
    _armed: set[object] = field(default_factory=set)

    def allowed(self, connection: object, piece: bytes) -> int | None:
        """Return how many bytes of a piece go through before the cut; None: all, and no cut."""
        if self.left is not None:
            if len(piece) < self.left:
                self.left -= len(piece)
                return None
            return self.left
        start = 0
        if self.after and connection not in self._armed:
            start = piece.find(self.after)
            if start < 0:
                return None
            self._armed.add(connection)
        place = piece.find(self.sequence, start)
        return None if place < 0 else place


@dataclass(slots=True, eq=False)
class _Connection:
    client: asyncio.StreamWriter
    server: asyncio.StreamWriter | None = None
    lossy: bool = False
    #: Only the client's side is left.
    half_open: bool = False
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def reset(self) -> None:
        for writer in (self.client, self.server):
            if writer is not None:
                with suppress(OSError):
                    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOTHING)
                writer.transport.abort()
        for task in self.tasks:
            task.cancel()


class Proxy:
    """Stands before one server; *upstream* is a Unix socket, or a port of this machine."""

    def __init__(self, upstream: Path | int, seed: int = 0, host: str = "127.0.0.1") -> None:
        self._upstream, self._host = upstream, host
        self._random = random.Random(seed)
        self._mode, self._delay = Mode.PASS, 0.0
        self._refusing = False
        self._cuts: list[Cut] = []
        self._connections: set[_Connection] = set()
        self._loop = asyncio.new_event_loop()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._thread.start()
        self._server = self._do(self._listen())
        #: Where clients connect to.
        self.port: int = self._server.sockets[0].getsockname()[1]

    # -- what tests say ------------------------------------------------------------------------------------

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return len(self._connections)

    def restore(self) -> None:
        """Heal: bytes go through as if nothing had been; connections that lost some are reset."""
        self._do(self._restore())

    def delay(self, seconds: float) -> None:
        """Let every piece wait, up to twice as long by chance."""
        self._delay = seconds

    def freeze(self) -> None:
        """Let nothing through, and lose nothing."""
        self._do(self._set(Mode.FREEZE))

    def drop(self) -> None:
        """Throw everything away, silently."""
        self._do(self._set(Mode.DROP))

    def refuse(self) -> None:
        """Reset whoever connects from now on."""
        self._refusing = True

    def reset(self, share: float = 1.0) -> int:
        """End connections with RST, all or a part of them by chance; return how many."""
        return self._do(self._end(share, half_open=False))

    def half_open(self, share: float = 1.0) -> int:
        """Take the server away from connections without telling their clients; return how many."""
        return self._do(self._end(share, half_open=True))

    def cut_after(self, count: int, way: Way = Way.DOWN) -> Cut:
        """End the connection that carries the byte after the next *count*."""
        return self._cut(Cut(way, left=count))

    def cut_before(
        self, sequence: bytes, *, after: bytes = b"", times: int = 1, then: Callable[[], None] = lambda: None
    ) -> Cut:
        """End the connection on which the server's byte sequence is about to arrive; *then* is called before that."""
        return self._cut(Cut(Way.DOWN, sequence=sequence, after=after, times=times, then=then))

    def close(self) -> None:
        """End everything."""
        self._do(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _cut(self, cut: Cut) -> Cut:
        self._do(self._add(cut))
        return cut

    def _do(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(timeout=30)

    # -- what happens in the loop --------------------------------------------------------------------------

    async def _listen(self) -> asyncio.Server:
        return await asyncio.start_server(self._accept, self._host, 0, backlog=512)

    async def _set(self, mode: Mode) -> None:
        self._mode = mode
        (self._flowing.clear if mode is Mode.FREEZE else self._flowing.set)()

    async def _restore(self) -> None:
        self._delay, self._refusing, self._cuts = 0.0, False, []
        for connection in [one for one in self._connections if one.lossy or one.half_open]:
            connection.reset()
        await self._set(Mode.PASS)

    async def _add(self, cut: Cut) -> None:
        self._cuts.append(cut)

    async def _end(self, share: float, *, half_open: bool) -> int:
        chosen = [one for one in self._connections if self._random.random() < share]
        for connection in chosen:
            if half_open and connection.server is not None:
                connection.half_open = True
                connection.server.transport.abort()
            else:
                connection.reset()
        return len(chosen)

    async def _close(self) -> None:
        self._server.close()
        for connection in list(self._connections):
            connection.reset()
        await asyncio.sleep(0)
        left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = _Connection(writer)
        if self._refusing:
            connection.reset()
            return
        self._connections.add(connection)
        try:
            await self._flowing.wait()
            if self._mode is Mode.DROP:
                # A connection that is opened into nothing: whatever is said in it is lost.
                connection.lossy = True
                while await reader.read(_PIECE):
                    pass
                return
            from_server, connection.server = await self._connect()
            connection.tasks = [
                asyncio.ensure_future(self._pump(connection, reader, connection.server, Way.UP)),
                asyncio.ensure_future(self._pump(connection, from_server, writer, Way.DOWN)),
            ]
            # One side ends: so does the other, and with it the connection.
            await asyncio.wait(connection.tasks, return_when=asyncio.FIRST_COMPLETED)
        except (OSError, asyncio.CancelledError):
            connection.reset()
        finally:
            self._connections.discard(connection)
            for task in connection.tasks:
                task.cancel()
            for one in (writer, connection.server):
                if one is not None:
                    one.close()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if isinstance(self._upstream, Path):
            return await asyncio.open_unix_connection(self._upstream)
        return await asyncio.open_connection("127.0.0.1", self._upstream)

    async def _pump(
        self, connection: _Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: Way
    ) -> None:
        while True:
            try:
                piece = await reader.read(_PIECE)
            except OSError:
                piece = b""
            if connection.half_open and way is Way.DOWN:
                await asyncio.get_running_loop().create_future()
            await self._flowing.wait()
            if not piece:
                return
            if connection.half_open:
                continue
            if self._delay:
                await asyncio.sleep(self._delay * self._random.uniform(0, 2))
            if self._mode is Mode.DROP:
                connection.lossy = True
                continue
            if await self._is_cut(connection, piece, writer, way):
                return
            writer.write(piece)
            await writer.drain()

    async def _is_cut(self, connection: _Connection, piece: bytes, writer: asyncio.StreamWriter, way: Way) -> bool:
        for cut in self._cuts:
            allowed = cut.allowed(connection, piece) if cut.way is way else None
            if allowed is None:
                continue
            cut.times -= 1
            if cut.times == 0:
                self._cuts.remove(cut)
            writer.write(piece[:allowed])
            with suppress(OSError):
                await writer.drain()
            cut.then()
            cut.done.set()
            connection.reset()
            return True
        return False
