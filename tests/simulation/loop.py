"""An event loop without an outside: when nothing is ready it is later at once, and everything happens in one order.

It runs what real loops run, in the order they run it; only waiting takes no time. So a schedule is repeated exactly,
and an hour of it takes as long as the work that is done in that hour.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any, TypeVar

T = TypeVar("T")

#: Turns of the loop in one schedule: what needs more is a loop that never waits.
TURNS = 400_000


class Endless(AssertionError):
    """Something goes on and on without any time passing, or waits for what nobody will ever do."""


class _Nothing:
    """What a selector would be if no descriptor was ever ready."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop
        self._turns = 0

    def select(self, timeout: float | None) -> list[Any]:
        self._turns += 1
        if timeout is None or self._turns > TURNS:
            raise Endless("everybody waits for ever" if timeout is None else f"{TURNS} turns were not enough")
        self._loop.later(timeout)
        return []


class VirtualLoop(asyncio.BaseEventLoop):
    """Its time passes only while everybody waits."""

    def __init__(self) -> None:
        super().__init__()
        self._now = 1000.0
        self._selector = _Nothing(self)
        #: Told of every task and the context it was made in.
        self.on_task: Callable[[asyncio.Task[Any]], None] = lambda _: None
        #: Told of every exception that nobody handles, and by what it was raised: real loops only log it.
        self.on_defect: Callable[[str, BaseException], None] = lambda _, __: None
        self.set_task_factory(self._make)  # type: ignore[arg-type]

    def time(self) -> float:
        """Return the seconds that have passed, and a thousand more."""
        return self._now

    def later(self, seconds: float) -> None:
        """Let time pass."""
        self._now += seconds

    def _make(
        self, loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, T], context: Context | None = None, **more: Any
    ) -> asyncio.Task[T]:
        task: asyncio.Task[T] = asyncio.Task(work, loop=loop, context=context, **more)
        self.on_task(task)
        return task

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Pass on what nobody has handled; of what does not raise, such as a task left alone, nothing is said."""
        if (error := context.get("exception")) is not None:
            self.on_defect(context["message"], error)

    def _process_events(self, event_list: list[Any]) -> None:
        """Do nothing: there are none."""

    def _write_to_self(self) -> None:
        """Do nothing: there is no other thread."""


def run(main: Coroutine[Any, Any, T], loop: VirtualLoop) -> T:
    """Run to the end, cancel what is left, and close the loop."""
    asyncio.set_event_loop(loop)
    try:
        return loop.run_until_complete(main)
    finally:
        _cancel_all(loop)
        asyncio.set_event_loop(None)
        loop.close()


def _cancel_all(loop: VirtualLoop) -> None:
    for _ in range(5):
        left = [task for task in asyncio.all_tasks(loop) if not task.done()]
        if not left:
            return
        for task in left:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
