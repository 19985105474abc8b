"""Servers and executors that are closed after each test."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from flowforge.model.outcome import Outcome
from flowforge.steps.base import Assignment
from flowforge.steps.http import Http
from flowforge.steps.python import Python
from flowforge.steps.run import attempt
from flowforge.steps.settings import StepSettings
from tests.integration.steps.support import Handler, Heard, Received, Server, assignment


@pytest.fixture
async def serve() -> AsyncIterator[Callable[..., Awaitable[Server]]]:
    """Start servers: `await serve(handler)`, or `await serve(b"a whole response")`."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(answer: Handler | bytes, **options: Any) -> Server:
            async def fixed(_: Received, writer: asyncio.StreamWriter) -> None:
                assert isinstance(answer, bytes)
                writer.write(answer)

            server = Server(fixed if isinstance(answer, bytes) else answer)
            listener = await asyncio.start_server(server.serve, options.pop("host", "127.0.0.1"), 0, **options)
            stack.push_async_callback(server.stop)
            stack.callback(listener.close)
            server.port = listener.sockets[0].getsockname()[1]
            return server

        yield start


@pytest.fixture
async def http() -> AsyncIterator[Callable[..., Awaitable[Outcome]]]:
    """Run an http step: `await http({"url": …}, settings…)`; one executor for all calls with the same settings."""
    executors: dict[Any, Http] = {}

    async def run(
        config: dict[str, Any], *, resolve: Any = None, assigned: Assignment | None = None, **settings: Any
    ) -> Outcome:
        settings = {"allow_loopback": True, **settings}
        key = (resolve, *sorted(settings.items()))
        executor = executors.setdefault(key, Http(StepSettings(**settings), resolve))
        return await attempt(executor, assigned or assignment("http", config), Heard().report)

    yield run
    for executor in executors.values():
        await executor.close()


@pytest.fixture
def functions(tmp_path: Path) -> Callable[[str], None]:
    """Write the module `work` that python steps find."""

    def write(source: str) -> None:
        (tmp_path / "work.py").write_text(source)

    return write


@pytest.fixture
async def python(tmp_path: Path) -> AsyncIterator[Callable[..., Python]]:
    """Make python executors that look for modules in the test's folder."""
    made: list[Python] = []

    def make(**settings: Any) -> Python:
        executor = Python(StepSettings(python_path=(str(tmp_path),), **settings))
        made.append(executor)
        return executor

    yield make
    for executor in made:
        await executor.close()
