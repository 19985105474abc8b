"""Bringing both servers of a home up and down.

`up` is idempotent and safe from many processes at once: what runs is only verified, without a lock; what does not
is started by the one process that holds the home's lock.
"""

from __future__ import annotations

import contextlib
import errno
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from flowforge.errors import ServerStartError
from flowforge.local.account import account_for
from flowforge.local.home import Home
from flowforge.local.postgres import Postgres
from flowforge.local.process import Process
from flowforge.local.server import Server, no_space
from flowforge.local.sockets import prepare_sockets, socket_folder
from flowforge.local.valkey import Valkey

if TYPE_CHECKING:
    from datetime import datetime

#: Seconds a socket may be missing from a server that runs, before the server is restarted to get it back.
_SOCKET_PATIENCE = 3.0


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where the servers are, and what it took."""

    database_url: str
    redis_url: str
    #: The servers this call has started, by name.
    started: tuple[str, ...]
    seconds: float


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """What is known of one server without touching it."""

    name: str
    running: bool
    pid: int | None
    version: str | None
    socket: Path
    data: Path
    log: Path
    since: datetime | None


@dataclass(frozen=True, slots=True)
class Status:
    """What is known of a home's servers."""

    home: Path
    postgres: ServerStatus
    valkey: ServerStatus

    @property
    def running(self) -> bool:
        """Whether both run."""
        return self.postgres.running and self.valkey.running


def up(
    home: Home,
    *,
    postgres: Mapping[str, str] | None = None,
    valkey: Mapping[str, str] | None = None,
    start_timeout: float = 60.0,
    lock_timeout: float = 120.0,
) -> Endpoints:
    """Start what does not run, verify what does, and say where both are.

    *postgres* and *valkey* are settings over ours, for servers that this call starts (tests: fsync off).
    """
    begun = time.monotonic()
    database, streams = _servers(home, postgres, valkey)
    started: tuple[str, ...] = ()
    if not all(_is_up(server) for server in (database, streams)):
        started = _start(home, (streams, database), start_timeout, lock_timeout)
    return Endpoints(database.url, streams.url, started, time.monotonic() - begun)


def places(home: Home) -> Endpoints:
    """Say where both are when they run, starting and changing nothing."""
    database, streams = _servers(home)
    return Endpoints(database.url, streams.url, (), 0.0)


def _servers(
    home: Home, postgres: Mapping[str, str] | None = None, valkey: Mapping[str, str] | None = None
) -> tuple[Postgres, Valkey]:
    account = account_for(home)
    sockets = socket_folder(home)
    return Postgres(home, account, sockets, postgres), Valkey(home, account, sockets, valkey)


def _is_up(server: Server) -> bool:
    record = server.recorded()
    return record is not None and (server.ready(Process(record["pid"], record["started"])) or server.stalled())


def _start(home: Home, servers: tuple[Server, ...], start_timeout: float, lock_timeout: float) -> tuple[str, ...]:
    """Start the missing ones side by side: each is launched before any is waited for, the quickest first."""
    home.prepare()
    with home.locked(lock_timeout) as lock:
        prepare_sockets(servers[0].sockets, servers[0].account)
        launched: list[tuple[Server, Process]] = []
        started = []
        for server in servers:
            process = _usable(server)
            if process is None:
                process = _launch(server, lock)
                started.append(server.name)
            launched.append((server, process))
        for server, process in launched:
            ready = server.await_ready(process, start_timeout)
            if not ready and server.name not in started:  # it was being killed when we found it alive
                ready = server.await_ready(_launch(server, lock), start_timeout)
                started.append(server.name)
            if not ready:
                raise server.death()
    return tuple(sorted(started))


def _launch(server: Server, lock: int) -> Process:
    try:
        return server.start(lock)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise no_space(server.title, server.home) from error
        raise ServerStartError(
            f"{server.title} cannot start in {server.home.path}: {error}", hint=f"see {server.home.log(server.name)}"
        ) from error


def _usable(server: Server) -> Process | None:
    """The running server; one whose socket somebody has removed is stopped, since nobody can reach it."""
    process = server.find()
    if process is None:
        return None
    deadline = time.monotonic() + _SOCKET_PATIENCE
    while not server.socket.exists():
        if time.monotonic() > deadline:
            server.stop(process)
            return None
        time.sleep(0.01)
    if server.recorded() is None:
        server.adopt(process)
    return process


def down(home: Home, *, lock_timeout: float = 120.0) -> tuple[str, ...]:
    """Stop what runs, data safe; returns the names of the stopped servers."""
    if not home.path.is_dir():
        return ()
    home.prepare()
    with home.locked(lock_timeout):
        stopped = []
        for server in _servers(home):
            if process := server.find():
                server.stop(process)
                stopped.append(server.name)
        # Empty now; if somebody keeps a file of theirs in it, it stays.
        with contextlib.suppress(OSError):
            socket_folder(home).rmdir()
    return tuple(stopped)


def status(home: Home) -> Status:
    """Say what runs, starting and changing nothing."""
    database, streams = _servers(home)
    return Status(home.path, _status(database), _status(streams))


def running(home: Home) -> str | None:
    """Return the URL of the Postgres if it is up, starting and changing nothing."""
    database, _ = _servers(home)
    return database.url if _is_up(database) else None


def _status(server: Server) -> ServerStatus:
    from datetime import datetime

    process = server.find()
    record = server.recorded_or_last() if process else {}
    since = record.get("since")
    return ServerStatus(
        name=server.name,
        running=process is not None,
        pid=process.pid if process else None,
        version=record.get("version"),
        socket=server.socket,
        data=server.data,
        log=server.home.log(server.name),
        since=datetime.fromisoformat(since) if since else None,
    )
