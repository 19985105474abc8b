"""Connections that are kept open between http steps, by origin.

httpcore's own pool looks at every connection for every request, which costs milliseconds at 256 concurrent steps;
here a request takes the connection that was used last, or opens one. There is no limit on open connections: the
worker limits its attempts, and each has one at most. Nothing but a connection that is done with its last response
is ever kept.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeAlias

import httpcore

from flowforge.steps.http_network import GuardedBackend

#: Seconds an unused connection stays open: less than what common servers allow.
_KEEP = 5.0
#: Unused connections to one origin.
_KEPT = 64

_Key: TypeAlias = tuple[bytes, bytes, int]


class ConnectionPool:
    """Lends connections, each to one request at a time."""

    def __init__(self, backend: GuardedBackend, tls: ssl.SSLContext) -> None:
        self._backend = backend
        self._tls = tls
        #: By origin, with the time since when they are unused; the most recently used one last.
        self._idle: dict[_Key, deque[tuple[float, httpcore.AsyncHTTPConnection]]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._closing: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def stream(self, request: httpcore.Request) -> AsyncIterator[httpcore.Response]:
        """Send a request; its response is read inside the block."""
        connection = self._take(request.url.origin)
        try:
            response = await connection.handle_async_request(request)
            try:
                yield response
            finally:
                await response.aclose()
        finally:
            if connection.is_idle() and not connection.is_closed():
                self._keep(request.url.origin, connection)
            else:
                await connection.aclose()

    async def close(self) -> None:
        """Close all connections that are not in use."""
        if self._timer is not None:
            self._timer.cancel()
        for kept in self._idle.values():
            for _, connection in kept:
                self._close(connection)
        self._idle.clear()
        await asyncio.gather(*self._closing)

    def _take(self, origin: httpcore.Origin) -> httpcore.AsyncHTTPConnection:
        kept = self._idle.get(_key(origin))
        while kept:
            _, connection = kept.pop()
            # Also false once the server has closed it.
            if connection.is_available() and not connection.has_expired():
                return connection
            self._close(connection)
        return httpcore.AsyncHTTPConnection(
            origin=origin, ssl_context=self._tls, keepalive_expiry=_KEEP, network_backend=self._backend
        )

    def _keep(self, origin: httpcore.Origin, connection: httpcore.AsyncHTTPConnection) -> None:
        loop = asyncio.get_running_loop()
        kept = self._idle.setdefault(_key(origin), deque())
        kept.append((loop.time(), connection))
        if len(kept) > _KEPT:
            self._close(kept.popleft()[1])
        if self._timer is None:
            self._timer = loop.call_later(_KEEP, self._expire)

    def _expire(self) -> None:
        """Close what was not used for too long."""
        loop = asyncio.get_running_loop()
        oldest = loop.time() - _KEEP
        for key, kept in list(self._idle.items()):
            while kept and kept[0][0] <= oldest:
                self._close(kept.popleft()[1])
            if not kept:
                del self._idle[key]
        self._timer = loop.call_later(_KEEP, self._expire) if self._idle else None

    def _close(self, connection: httpcore.AsyncHTTPConnection) -> None:
        task = asyncio.create_task(connection.aclose())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


def _key(origin: httpcore.Origin) -> _Key:
    return origin.scheme, origin.host, origin.port
