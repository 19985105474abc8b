"""Assignments, what they report, and a server that answers whatever a test likes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from flowforge.model.load import from_data
from flowforge.steps.base import Assignment, Report


@dataclass
class Heard:
    """What an attempt reported."""

    progress: list[Any] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def text(self) -> str:
        return "".join(self.log)

    @property
    def report(self) -> Report:
        return Report(
            progress=lambda value: self._note(self.progress, value), log=lambda text: self._note(self.log, text)
        )

    async def until(self, condition: Callable[[Heard], bool]) -> None:
        """Wait until what was heard fulfils a condition."""
        async with asyncio.timeout(60):
            while not condition(self):
                self.changed.clear()
                await self.changed.wait()

    def _note(self, where: list[Any], what: Any) -> None:
        where.append(what)
        self.changed.set()


def assignment(
    kind: str, config: dict[str, Any], *, timeout: str = "2m", attempt: int = 1, **context: Any
) -> Assignment:
    """Return an assignment of a step with this configuration, as a definition compiles it."""
    written = {"id": "it", "type": kind, "config": config, "timeout": timeout}
    step = from_data({"name": "test", "steps": [written]}).plan.steps[0]
    return Assignment(
        run_id=uuid4(),
        workflow="test",
        version=1,
        step=step,
        attempt=attempt,
        token=1,
        context={"input": {}, "steps": {}, **context},
        claimed_at=datetime.now(UTC),
    )


@dataclass(frozen=True)
class Received:
    """A request as it arrived."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


Handler = Callable[[Received, asyncio.StreamWriter], Awaitable[None]]


class Server:
    """Answers by a function that writes to the connection whatever it likes."""

    def __init__(self, handler: Handler) -> None:
        self.handler = handler
        self.requests: list[Received] = []
        self.connections = 0
        self.port = 0
        self._tasks: set[asyncio.Task[None]] = set()

    def url(self, path: str = "/", host: str = "127.0.0.1", scheme: str = "http") -> str:
        return f"{scheme}://{host}:{self.port}{path}"

    @property
    def open(self) -> int:
        """How many connections are open."""
        return len(self._tasks)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while True:
                request = await _read(reader)
                self.requests.append(request)
                await self.handler(request, writer)
                await writer.drain()
                if writer.is_closing():
                    break
        writer.close()
        with contextlib.suppress(Exception):
            await writer.wait_closed()
        self._tasks.discard(task)

    async def stop(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def _read(reader: asyncio.StreamReader) -> Received:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    method, target, _ = head[0].split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Received(method, target, headers, body)


def response(body: bytes | str = b"", status: str = "200 OK", **headers: str) -> bytes:
    """Return a whole HTTP response; underscores in header names become dashes."""
    data = body.encode() if isinstance(body, str) else body
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(data)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + data


def runs(pid: int) -> bool:
    """Say whether a process lives; a zombie that nobody has buried does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


async def eventually(condition: Callable[[], bool]) -> None:
    """Wait until something that has no event of its own is so."""
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - other processes set no events
            await asyncio.sleep(0.01)
