"""Waiting for what happens elsewhere: the one place where tests poll."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Callable
from typing import Any

#: A hang guard, not a performance budget.
DEADLINE = 60.0


async def eventually(condition: Callable[[], Any], deadline: float = DEADLINE, *, what: str = "") -> Any:
    """Poll until a condition (a function, or one that returns an awaitable) holds; its value is the answer."""
    end = time.monotonic() + deadline
    pause = 0.005
    while True:
        answer = condition()
        if inspect.isawaitable(answer):
            answer = await answer
        if answer:
            return answer
        assert time.monotonic() < end, f"did not happen within {deadline:g} s: {what or condition}"
        await asyncio.sleep(pause)
        pause = min(pause * 1.3, 0.1)


def eventually_sync(condition: Callable[[], Any], deadline: float = DEADLINE, *, what: str = "") -> Any:
    """Poll as `eventually` does, in tests without an event loop."""
    end = time.monotonic() + deadline
    pause = 0.005
    while not (answer := condition()):
        assert time.monotonic() < end, f"did not happen within {deadline:g} s: {what or condition}"
        time.sleep(pause)
        pause = min(pause * 1.3, 0.1)
    return answer
