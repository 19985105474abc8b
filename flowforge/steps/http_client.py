"""The HTTP client of a worker: one connection pool for all http steps, and a redirect loop of its own.

It keeps no cookies, reads no proxy settings and follows nothing by itself, so no attempt can influence another.
Every connection, also a redirect's, goes through the guarded network. There is no timeout in here but for
connecting: the caller holds one deadline over all of it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

import httpcore
import httpx

from flowforge.errors import FlowforgeError
from flowforge.steps.http_body import Body, read
from flowforge.steps.http_network import GuardedBackend
from flowforge.steps.http_pool import ConnectionPool
from flowforge.steps.http_request import Request, redirected, shown

# At DEBUG it writes the headers of responses, session cookies among them, into the worker's log.
logging.getLogger("httpcore").setLevel(logging.INFO)


class TooManyRedirects(FlowforgeError):
    """The server redirects without end."""


@dataclass(frozen=True, slots=True)
class Reply:
    """The last response of a request."""

    status: int
    #: Lower-cased names; repeated headers are joined by comma, set-cookie by line break.
    headers: dict[str, str]
    body: Body
    url: httpx.URL


class HttpClient:
    """Sends requests; safe for any number of attempts at the same time."""

    def __init__(self, backend: GuardedBackend, connect_timeout: timedelta) -> None:
        # SSL_CERT_FILE and SSL_CERT_DIR are honoured: they say whom the installation trusts.
        self._pool = ConnectionPool(backend, httpx.create_ssl_context())
        self._timeouts = {"connect": connect_timeout.total_seconds()}

    async def send(
        self, request: Request, *, expects: Callable[[int], bool], max_bytes: int, max_redirects: int
    ) -> Reply:
        """Return the response after all redirects but an expected one; its body is cut at *max_bytes* and says so.

        Raises httpcore's errors, AddressRefused, BadRedirect and TooManyRedirects.
        """
        for _ in range(max_redirects + 1):
            reply = await self._exchange(request, max_bytes)
            if not max_redirects or expects(reply.status):
                return reply
            following = redirected(request, reply.status, reply.headers.get("location"))
            if following is None:
                return reply
            request = following
        raise TooManyRedirects(f"more than {max_redirects} redirects, the last one to {shown(request.url)}")

    async def close(self) -> None:
        """Close all connections."""
        await self._pool.close()

    async def _exchange(self, request: Request, max_bytes: int) -> Reply:
        message = httpx.Request(
            request.method, request.url, headers=_raw(request.headers.items()), content=request.content or None
        )
        url = httpcore.URL(
            scheme=request.url.raw_scheme,
            host=request.url.raw_host,
            port=request.url.port,
            target=request.url.raw_path,
        )
        outgoing = httpcore.Request(
            request.method.encode(),
            url,
            headers=message.headers.raw,
            content=request.content or None,
            extensions={"timeout": self._timeouts},
        )
        async with self._pool.stream(outgoing) as response:
            headers = _joined(response.headers)
            bodiless = request.method == "HEAD"
            encoding = "" if bodiless else headers.get("content-encoding", "")
            body = await read(response.aiter_stream(), encoding, max_bytes)
        return Reply(response.status, headers, body, request.url)


def _raw(headers: object) -> Sequence[tuple[bytes, bytes]]:
    return [(name.encode("ascii"), value.encode("utf-8")) for name, value in headers]  # type: ignore[attr-defined]


def _joined(raw: Sequence[tuple[bytes, bytes]]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for key, value in raw:
        name, text = key.decode("latin-1").lower(), value.decode("latin-1")
        separator = "\n" if name == "set-cookie" else ", "
        headers[name] = f"{headers[name]}{separator}{text}" if name in headers else text
    return headers
