"""The stream server in a simulation: the in-memory twin behind a network, and all that may happen to it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, TypeVar

from flowforge_streams.delivery import START, Delivery, Entry, Reclaimed
from flowforge_streams.errors import StreamUnavailable
from flowforge_streams.memory_group import MemoryGroup
from flowforge_streams.memory_log import MemoryLog
from flowforge_streams.memory_stream import format_id
from flowforge_streams.seam import Signals
from flowforge_streams.standing import Consumer, Depth, EvictionPolicy
from tests.simulation.network import Lost, Owner

T = TypeVar("T")


class Streams:
    """The one server."""

    def __init__(self, loop: asyncio.AbstractEventLoop, chance: random.Random) -> None:
        self._loop, self._chance = loop, chance
        self.log = MemoryLog(clock=loop.time)

    def crash(self, seconds: float, *, empty: bool) -> None:
        """Be away for a time; come back with everything, or with nothing."""
        self.log.down = True
        self.log.changed()
        if empty:
            self.log.wipe()
        self._loop.call_later(seconds, self._start)

    def _start(self) -> None:
        self.log.down = False
        self.log.changed()

    def lanes(self) -> list[str]:
        """Return the names of the dispatch streams that exist."""
        return [name for name in self.log._streams if ":q:" in name and not name.endswith(":dead")]

    def repeat(self) -> None:
        """Deliver everything that lies in the streams once more, in another order."""
        for name in self.lanes():
            entries = list(self.log._streams[name].entries.values())
            self._chance.shuffle(entries)
            for fields in entries:
                self._loop.call_later(self._chance.uniform(0, 5), self._append, name, dict(fields))

    def _append(self, name: str, fields: dict[str, Any]) -> None:
        if not self.log.down:
            self.log.append(name, fields)
            self.log.changed()

    def lose(self) -> None:
        """Let a part of what nobody has read disappear."""
        for name in self.lanes():
            state = self.log._streams[name]
            read = max((group.last for group in state.groups.values()), default=(0, 0))
            for entry_id in [one for one in state.entries if one > read]:
                if self._chance.random() < 0.5:
                    self.log.erase(name, format_id(entry_id))

    def left(self) -> list[str]:
        """Return what is in the streams and groups, one line each."""
        lines: list[str] = []
        for name in self.lanes():
            state = self.log._streams[name]
            lines += [f"an entry is left in {name}" for _ in state.entries]
            lines += [
                f"an entry is pending in {name} for {claim.consumer}"
                for group in state.groups.values()
                for claim in group.claims.values()
            ]
        return lines


class Line:
    """The way of one process to the server."""

    def __init__(self, owner: Owner) -> None:
        self.owner = owner

    async def ask(self, what: Callable[[], Any]) -> Any:
        """Let the server do something, at once when the message arrives, and wait for its answer."""
        await self._travel()
        answer = await what()
        await self._travel()
        return answer

    async def _travel(self) -> None:
        try:
            await self.owner.travel("valkey")
        except Lost:
            raise StreamUnavailable from None


class SimulatedGroup:
    """A consumer group as one process uses it; *on_ack* is told what it acknowledges, before that happens."""

    def __init__(self, group: MemoryGroup, line: Line, on_ack: Callable[[str, Sequence[str]], None]) -> None:
        self._group, self._line, self._on_ack = group, line, on_ack
        self.stream, self.name = group.stream, group.name

    @property
    def recreated(self) -> int:
        """Times that a call from here made it again."""
        return self._group.recreated

    async def ensure(self) -> None:
        await self._line.ask(self._group.ensure)

    async def read(self, consumer: str, *, count: int, block: timedelta | None = None) -> list[Delivery]:
        found: list[Delivery] = await self._line.ask(lambda: self._group.read(consumer, count=count, block=block))
        return found

    async def read_own(self, consumer: str, *, count: int, after: str = START) -> list[Delivery]:
        found: list[Delivery] = await self._line.ask(lambda: self._group.read_own(consumer, count=count, after=after))
        return found

    async def reclaim(self, consumer: str, *, min_idle: timedelta, count: int, cursor: str = START) -> Reclaimed:
        found: Reclaimed = await self._line.ask(
            lambda: self._group.reclaim(consumer, min_idle=min_idle, count=count, cursor=cursor)
        )
        return found

    async def ack(self, entry_ids: Sequence[str]) -> int:
        async def acknowledge() -> int:
            self._on_ack(self.stream, entry_ids)
            return await self._group.ack(entry_ids)

        acked: int = await self._line.ask(acknowledge)
        return acked

    async def touch(self, consumer: str, entry_ids: Sequence[str]) -> list[str]:
        kept: list[str] = await self._line.ask(lambda: self._group.touch(consumer, entry_ids))
        return kept

    async def hand_back(self, consumer: str, entry_ids: Sequence[str]) -> list[str]:
        kept: list[str] = await self._line.ask(lambda: self._group.hand_back(consumer, entry_ids))
        return kept

    async def bury(self, delivery: Delivery, reason: str) -> None:
        await self._line.ask(lambda: self._group.bury(delivery, reason))

    async def depth(self) -> Depth:
        depth: Depth = await self._line.ask(self._group.depth)
        return depth

    async def consumers(self) -> list[Consumer]:
        found: list[Consumer] = await self._line.ask(self._group.consumers)
        return found

    async def retire(self, consumer: str, *, min_idle: timedelta = timedelta(0)) -> bool:
        gone: bool = await self._line.ask(lambda: self._group.retire(consumer, min_idle=min_idle))
        return gone

    async def close(self) -> None:
        await self._group.close()


class SimulatedLog:
    """The streams as one process uses them."""

    #: What its epoch is remembered by.
    address = "simulated"

    def __init__(self, streams: Streams, owner: Owner, on_ack: Callable[[str, Sequence[str]], None]) -> None:
        self._log, self._line, self._on_ack = streams.log, Line(owner), on_ack
        self._owner = owner

    @property
    def signals(self) -> Signals:
        """The control channels, which lose nothing here: they only shorten polls."""
        return self._log.signals

    async def publish(self, entries: Sequence[Entry], *, max_len: int | None = None) -> list[str]:
        """Append entries; chance decides in which order they arrive."""
        shuffled = self._owner.random.sample(entries, len(entries))
        ids: list[str] = await self._line.ask(lambda: self._log.publish(shuffled, max_len=max_len))
        return ids

    def group(self, stream: str, name: str) -> SimulatedGroup:
        """Open a group."""
        return SimulatedGroup(self._log.group(stream, name), self._line, self._on_ack)

    async def epoch(self) -> str:
        """Return what changes when everything was lost."""
        epoch: str = await self._line.ask(self._log.epoch)
        return epoch

    async def check_eviction_policy(self) -> EvictionPolicy:
        """Return that nothing is evicted."""
        return await self._log.check_eviction_policy()
