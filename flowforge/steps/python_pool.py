"""The child processes of one worker: started when needed, kept warm, never more at work than allowed.

The pool belongs to the event loop it is first used in. That loop runs in the worker's main thread, which the
children's lives are tied to.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from flowforge.steps import python_tree
from flowforge.steps.python_process import ChildProcess, Crashed, Listener
from flowforge.steps.python_wire import Frame, Kind

if TYPE_CHECKING:
    from flowforge.steps.settings import StepSettings

logger = logging.getLogger(__name__)


class Pool:
    """Gives every call a process of its own for as long as it takes."""

    def __init__(self, settings: StepSettings) -> None:
        self._settings = settings
        self._slots = asyncio.Semaphore(settings.python_processes)
        #: The most recently used one last.
        self._idle: list[tuple[float, ChildProcess]] = []
        self._busy: set[ChildProcess] = set()
        self._leaving: set[asyncio.Task[None]] = set()
        self._reaping: asyncio.TimerHandle | None = None
        self._swept = False

    async def call(self, request: bytes, listener: Listener, grace: float) -> Frame:
        """Return the frame that ends the call, or raise Crashed.

        A cancelled call ends its process first, giving it *grace* seconds.
        """
        async with self._slots:
            while True:
                try:
                    reply = await self._call(request, listener, grace)
                except Crashed as crash:
                    if not crash.stale:
                        raise
                else:
                    if reply.kind is not Kind.OUTDATED:
                        return reply

    async def close(self) -> None:
        """End all processes."""
        if self._reaping is not None:
            self._reaping.cancel()
        for _, child in self._idle:
            self._dismiss(child)
        self._idle.clear()
        await asyncio.gather(*(child.stop(0) for child in list(self._busy)), *self._leaving)

    async def _call(self, request: bytes, listener: Listener, grace: float) -> Frame:
        child = await self._take()
        self._busy.add(child)
        try:
            reply = await child.call(request, listener)
        except BaseException:
            await child.stop(grace)
            raise
        finally:
            self._busy.discard(child)
        if reply.kind is not Kind.OUTDATED and child.sound:
            self._keep(child)
        else:
            self._dismiss(child)
        return reply

    async def _take(self) -> ChildProcess:
        while self._idle:
            _, child = self._idle.pop()
            if child.sound:
                return child
            self._dismiss(child)
        if not self._swept:
            self._swept = True
            swept = await asyncio.to_thread(python_tree.sweep)
            if swept:
                logger.warning("killed %d processes that python steps of dead workers had left", swept)
        return await ChildProcess.spawn(self._settings)

    def _keep(self, child: ChildProcess) -> None:
        loop = asyncio.get_running_loop()
        self._idle.append((loop.time(), child))
        if self._reaping is None and len(self._idle) > self._settings.python_warm:
            self._reaping = loop.call_later(self._settings.python_idle.total_seconds(), self._reap)

    def _reap(self) -> None:
        """Dismiss what was idle for too long, down to the number that stays warm."""
        self._reaping = None
        loop = asyncio.get_running_loop()
        oldest = loop.time() - self._settings.python_idle.total_seconds()
        while len(self._idle) > self._settings.python_warm and self._idle[0][0] <= oldest:
            self._dismiss(self._idle.pop(0)[1])
        if len(self._idle) > self._settings.python_warm:
            delay = max(0.0, self._idle[0][0] - oldest)
            self._reaping = loop.call_later(delay, self._reap)

    def _dismiss(self, child: ChildProcess) -> None:
        task = asyncio.create_task(child.dismiss())
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)
