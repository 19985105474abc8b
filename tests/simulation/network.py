"""Whoever sends messages in a simulation, and what becomes of them: late, lost, or the last thing that somebody did."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

from tests.simulation.schedule import PACES, Fault


class Lost(Exception):
    """A message did not arrive, or its answer did not come back."""


class Owner:
    """A process: everything it sends is counted, and can be its last."""

    def __init__(self, name: str, seed: int, pace: str, faults: list[Fault], die: Callable[[Owner], None]) -> None:
        self.name = name
        self.random = random.Random(f"{seed}:{name}")
        self._usual, self._share, self._longest = PACES[pace]
        self._faults = {fault.at: fault for fault in faults}
        self._die = die
        self.messages = 0
        self.dead = False
        #: It does not come to do anything before.
        self.frozen_until = 0.0
        #: When it was last frozen, dead or alive: its own clock cannot be trusted until it has looked again.
        self.was_frozen = False
        #: Until when a server is out of its reach.
        self.cut_off: dict[str, float] = {}
        self.tasks: set[asyncio.Task[Any]] = set()

    def adopt(self, task: asyncio.Task[Any]) -> None:
        """Take in a task that ends with this process."""
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def reaches(self, server: str) -> bool:
        """Say whether messages get through to a server at all."""
        return asyncio.get_running_loop().time() >= self.cut_off.get(server, 0.0)

    async def reach(self, server: str, timeout: float) -> None:
        """Wait for a server that is out of reach, for a time."""
        missing = self.cut_off.get(server, 0.0) - asyncio.get_running_loop().time()
        if missing > 0:
            await asyncio.sleep(min(missing, timeout))

    async def travel(self, server: str) -> None:
        """Send a message to a server, or receive its answer; raise Lost when that does not arrive."""
        self._last_words()
        self.messages += 1
        fault = self._faults.pop(self.messages, None)
        kind = "" if fault is None else fault.kind
        if kind == "crash":
            self._die(self)
            raise asyncio.CancelledError
        await asyncio.sleep(fault.much if fault is not None and kind == "late" else self._delay())
        await self.thawed()
        self._last_words()
        if kind == "cut":
            raise Lost
        if not self.reaches(server):
            # Nobody says so: it is noticed when no answer has come for long.
            await self.reach(server, 15.0)
            raise Lost

    async def thawed(self) -> None:
        """Wait while frozen."""
        loop = asyncio.get_running_loop()
        while self.frozen_until > loop.time():  # noqa: ASYNC110 - it may be frozen again meanwhile
            await asyncio.sleep(self.frozen_until - loop.time())

    def _delay(self) -> float:
        delay = self.random.expovariate(1 / self._usual)
        return delay + self.random.uniform(0, self._longest) if self.random.random() < self._share else delay

    def _last_words(self) -> None:
        if self.dead:
            raise asyncio.CancelledError
