"""A command that runs below the dashboard: what it prints, line by line, and its end; nothing outlives it unseen.

It has a process group of its own, so that whatever it starts ends with it. Asked to end it detaches as with ctrl+c in a
terminal, and what it started in the installation goes on; what does not listen is killed.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Sequence

#: Seconds that a command has for its goodbye.
GRACE = 1.0
#: Bytes of one line.
LONGEST = 1_000_000


class Child:
    """One command."""

    def __init__(self, command: Sequence[str], *, width: int) -> None:
        self._command = list(command)
        plain = {"NO_COLOR": "1", "TERM": "dumb", "COLUMNS": str(width), "PYTHONIOENCODING": "utf-8"}
        self._environment = os.environ | plain
        self._process: asyncio.subprocess.Process | None = None

    async def lines(self) -> AsyncIterator[str]:
        """Start it, and give what it prints."""
        self._process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=self._environment,
            limit=LONGEST,
            start_new_session=True,
        )
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            yield line.decode("utf-8", "replace").rstrip("\n")

    async def code(self) -> int:
        """Return its exit code, once it has ended."""
        assert self._process is not None
        return await self._process.wait()

    async def end(self) -> None:
        """End it with everything it started, if it has not ended."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        _signal(process.pid, signal.SIGINT)
        try:
            async with asyncio.timeout(GRACE):
                await process.wait()
        except TimeoutError:
            _signal(process.pid, signal.SIGKILL)
            await process.wait()


def _signal(group: int, number: signal.Signals) -> None:
    """Send a signal to all of a group; one that is gone needs none."""
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return
