"""What a worker holds at the moment: its attempts, and since when each lease is known to be renewed.

Written by the event loop, read by the heartbeat's thread; every access is one operation on a dict, which the
interpreter makes atomic.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeAlias
from uuid import UUID

from flowforge.engine import clock
from flowforge.model.plan import Plan
from flowforge.steps.base import Assignment
from flowforge_streams.delivery import Delivery

#: Which step of which run, as numbers: the hash of a UUID is a function written in Python.
Key: TypeAlias = tuple[int, int]


class Stop(StrEnum):
    """Why an attempt is being stopped."""

    CANCEL = "cancel"
    DRAIN = "drain"
    LOST = "lost"


@dataclass(slots=True)
class Held:
    """One attempt of this worker."""

    key: Key
    assignment: Assignment
    plan: Plan
    #: Number of the dispatch it answers; a delivery with a higher one is news.
    dispatch_no: int
    #: The delivery to acknowledge once the attempt is settled; None for a continuation.
    delivery: Delivery | None = None
    task: asyncio.Task[None] | None = None
    #: Set when the attempt is told to stop; the first reason stays.
    stop: Stop | None = None
    #: The outcome is on its way to Postgres: too late to stop.
    settling: bool = False
    #: A child process is kept free for its successor.
    promised: bool = False
    #: When the lease was last known to be ours, on the clock that leases are watched by.
    renewed: float = field(default_factory=clock.now)
    progress: Any = None
    log: list[str] = field(default_factory=list)
    #: Successors taken over without going through the stream, one after the other.
    chain: int = 0

    @property
    def name(self) -> str:
        """What the attempt is called in logs."""
        return f"{self.assignment.run_id}/{self.assignment.step.id}"

    @property
    def lease(self) -> tuple[UUID, int, int]:
        """What the heartbeat renews."""
        return self.assignment.run_id, self.assignment.step.no, self.assignment.token

    def interrupt(self, why: Stop) -> None:
        """Stop the attempt, unless its outcome is already being committed."""
        if self.stop is None and not self.settling:
            self.stop = why
            if self.task is not None:
                self.task.cancel()


class Holdings:
    """The attempts of one worker, by step."""

    def __init__(self) -> None:
        self._held: dict[Key, Held] = {}
        #: How many of them need a child process.
        self.python = 0

    def __len__(self) -> int:
        return len(self._held)

    def add(self, held: Held) -> None:
        """Take an attempt in."""
        self._held[held.key] = held
        self.python += held.assignment.step.type == "python"

    def remove(self, held: Held) -> None:
        """Let an attempt go."""
        found = self._held.pop(held.key, None)
        if found is not None and found is not held:
            self._held[held.key] = found
        elif found is not None:
            self.python -= held.assignment.step.type == "python"

    def get(self, key: Key) -> Held | None:
        """Return the attempt of a step."""
        return self._held.get(key)

    def steps(self) -> dict[int, list[int]]:
        """Return the numbers of the held steps, by their run's number."""
        found: dict[int, list[int]] = {}
        for run, step in list(self._held):
            found.setdefault(run, []).append(step)
        return found

    def all(self) -> list[Held]:
        """Return a snapshot of all attempts."""
        return list(self._held.values())
