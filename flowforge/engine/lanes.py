"""The dispatch streams that one worker serves: a queue has one lane for python steps and one for all others.

Invariant: a lane whose queue is paused is closed on every way to it: to readers, to successors of what runs here, to
runs that are admitted, and to what is claimed straight from the outbox.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass

from flowforge.engine.engine import Engine
from flowforge.engine.holdings import Held
from flowforge.engine.message import NO_ENTRY
from flowforge.engine.names import GROUP, lanes_of
from flowforge_streams.errors import StreamError
from flowforge_streams.seam import Group


@dataclass(frozen=True, slots=True)
class Lane:
    """A dispatch stream that the worker serves."""

    name: str
    queue: str
    group: Group
    python: bool


class Lanes:
    """All of them, and which are open."""

    def __init__(self, engine: Engine) -> None:
        self._lanes = tuple(
            Lane(name, queue, engine.streams.group(engine.names.lane(name), GROUP), python)
            for queue in engine.settings.queues
            for name, python in zip(lanes_of(queue), (False, True), strict=True)
        )
        #: The queues that nobody may take from, of any worker.
        self.paused: frozenset[str] = frozenset()
        self._open = self._names(python=True)
        self._open_to_others = self._names(python=False)

    def __iter__(self) -> Iterator[Lane]:
        return iter(self._lanes)

    @property
    def names(self) -> list[str]:
        """What they are called."""
        return [lane.name for lane in self._lanes]

    @property
    def groups(self) -> list[Group]:
        """The consumer group of each."""
        return [lane.group for lane in self._lanes]

    # -- which are open ------------------------------------------------------------------------------------

    def hold(self, queues: frozenset[str]) -> None:
        """Close the lanes of some queues, and open all others."""
        self.paused = queues
        self._open = self._names(python=True)
        self._open_to_others = self._names(python=False)

    def is_held(self, lane: Lane) -> bool:
        """Say whether a lane is closed."""
        return lane.queue in self.paused

    def open(self, *, python: bool) -> frozenset[str]:
        """Return the names of those that are open: all, or those of steps that need no child process."""
        return self._open if python else self._open_to_others

    def _names(self, *, python: bool) -> frozenset[str]:
        return frozenset(lane.name for lane in self._lanes if not self.is_held(lane) and (python or not lane.python))

    # -- what lies in them ---------------------------------------------------------------------------------

    async def ensure(self) -> None:
        """Make the groups that are not there yet; StreamError where the server is away."""
        for lane in self._lanes:
            await lane.group.ensure()

    async def touch(self, consumer: str, held: Iterable[Held]) -> None:
        """Keep the entries of what is held from being reclaimed; those of a server that is away may be, harmlessly."""
        by_stream: dict[str, list[str]] = {}
        for one in held:
            if one.delivery is not None and one.delivery.entry_id != NO_ENTRY:
                by_stream.setdefault(one.delivery.stream, []).append(one.delivery.entry_id)
        touching = [(group, by_stream[group.stream]) for group in self.groups if group.stream in by_stream]
        # At once, because queues may have servers of their own, of which one may hang.
        await asyncio.gather(*(_touched(group, consumer, entry_ids) for group, entry_ids in touching))

    async def close(self) -> None:
        """End the reads that wait."""
        for lane in self._lanes:
            await lane.group.close()

    async def retire(self, consumer: str) -> None:
        """Take a consumer out of every group; StreamError where the server is away."""
        for lane in self._lanes:
            await lane.group.retire(consumer)


async def _touched(group: Group, consumer: str, entry_ids: list[str]) -> None:
    with suppress(StreamError):
        await group.touch(consumer, entry_ids)
