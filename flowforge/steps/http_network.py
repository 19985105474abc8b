"""The network below the HTTP client: resolves a name once, judges all its addresses, connects to one of them.

What was judged is what is connected to: between the two there is no second look-up that could answer otherwise
(DNS rebinding). Host header and TLS server name stay those of the URL, because only this layer sees addresses.
"""

from __future__ import annotations

import asyncio
import functools
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeAlias

import httpcore

from flowforge.steps.addresses import AddressPolicy, AddressRefused

#: Returns the addresses of a host, best first.
Resolver: TypeAlias = Callable[[str, int], Awaitable[Sequence[str]]]

#: Seconds for one of several addresses before the next one is tried.
_PATIENCE = 5.0
_LOOKUPS = 16


class GuardedBackend(httpcore.AsyncNetworkBackend):
    """Opens TCP connections to addresses that the policy allows."""

    def __init__(self, policy: AddressPolicy, resolve: Resolver | None = None) -> None:
        self._policy = policy
        # Threads of its own: names that take long to resolve hold up other names at most.
        self._lookups = ThreadPoolExecutor(_LOOKUPS, "flowforge-dns")
        self._resolve = resolve or self._ask_system
        self._sockets = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to *host*; raises AddressRefused when any of its addresses is not allowed."""
        addresses = await self._addresses(host, port)
        for address in addresses[:-1]:
            try:
                patience = _PATIENCE if timeout is None else min(_PATIENCE, timeout)
                return await self._sockets.connect_tcp(address, port, patience, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue
        return await self._sockets.connect_tcp(addresses[-1], port, timeout, local_address, socket_options)

    async def _addresses(self, host: str, port: int) -> Sequence[str]:
        try:
            addresses = list(dict.fromkeys(await self._resolve(host, port)))
        except (OSError, UnicodeError) as error:
            raise NameNotFound(f"the name {host} cannot be resolved: {error}") from error
        if not addresses:
            raise NameNotFound(f"the name {host} has no address")
        for address in addresses:
            self._policy.check(host, address)
        return addresses

    async def _ask_system(self, host: str, port: int) -> Sequence[str]:
        """Ask the system; it also reads decimal and hexadecimal spellings of IPv4 addresses."""
        ask = functools.partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
        found = await asyncio.get_running_loop().run_in_executor(self._lookups, ask)
        return [str(entry[4][0]) for entry in found]

    def close(self) -> None:
        """Give up the look-ups that are still waited for."""
        self._lookups.shutdown(wait=False, cancel_futures=True)

    async def connect_unix_socket(self, *_: Any, **__: Any) -> httpcore.AsyncNetworkStream:
        """Refuse: no URL leads to a local socket."""
        raise AddressRefused("unix", "unix", "a local socket", None)

    async def sleep(self, seconds: float) -> None:
        """Wait between connection attempts."""
        await asyncio.sleep(seconds)


class NameNotFound(httpcore.ConnectError):
    """The host has no address."""
