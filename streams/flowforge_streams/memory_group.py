"""The in-memory twin of a consumer group, held to the same conformance tests as the real one.

For tests of whoever uses groups: idle time is counted by the clock of the log, so nothing has to sleep.
"""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from .delivery import START, Delivery, Reclaimed
from .errors import StreamClosed
from .letters import DEAD_LIMIT, DeadLetter, dead_stream, read_letter, write_letter
from .memory_stream import GroupState, Id, StreamState, format_id, parse_id
from .standing import Consumer, Depth, Pending

if TYPE_CHECKING:
    from .memory_log import MemoryLog

_LONG_IDLE = 86_400.0  # seconds; beyond every least idle time that anybody reclaims by


class MemoryGroup:
    """One consumer group on one stream of a `MemoryLog`."""

    def __init__(self, stream: str, name: str, *, log: "MemoryLog") -> None:
        self.stream = stream
        self.name = name
        #: times a call found the group gone and made it again
        self.recreated = 0
        self._log = log
        self._closed = False

    async def ensure(self) -> None:
        """Make the stream and the group if they do not exist, from the beginning of the stream."""
        self._log.reach().setdefault(self.stream, StreamState()).groups.setdefault(self.name, GroupState())

    def _state(self) -> tuple[StreamState, GroupState] | None:
        stream = self._log.reach().get(self.stream)
        group = stream.groups.get(self.name) if stream else None
        return (stream, group) if stream and group else None

    def _required(self) -> tuple[StreamState, GroupState]:
        if state := self._state():
            return state
        self.recreated += 1
        stream = self._log.reach().setdefault(self.stream, StreamState())
        return stream, stream.groups.setdefault(self.name, GroupState())

    def _seen(self, consumer: str) -> tuple[StreamState, GroupState, float]:
        stream, group = self._required()
        now = self._log.clock()
        group.seen[consumer] = now
        return stream, group, now

    def _deliveries(
        self, stream: StreamState, ids: Sequence[Id], *, delivered: int | None, reclaimed: bool = False
    ) -> list[Delivery]:
        return [Delivery(self.stream, format_id(one), stream.entries[one], delivered, reclaimed) for one in ids]

    async def read(self, consumer: str, *, count: int, block: timedelta | None = None) -> list[Delivery]:
        """Take up to *count* entries no consumer has seen, waiting up to *block* for the first."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + (block.total_seconds() if block else 0.0)
        while True:
            if self._closed:
                raise StreamClosed
            stream, group, now = self._seen(consumer)
            if taken := stream.take(group, consumer, count, now):
                return self._deliveries(stream, taken, delivered=1)
            if not await self._log.changed_within(deadline - loop.time()):
                return []

    async def read_own(self, consumer: str, *, count: int, after: str = START) -> list[Delivery]:
        """Read again what *consumer* has pending, oldest first, after the id *after*."""
        stream, group, now = self._seen(consumer)
        taken = stream.retake(group, consumer, count, parse_id(after), now)
        return self._deliveries(stream, taken, delivered=None)

    async def reclaim(self, consumer: str, *, min_idle: timedelta, count: int, cursor: str = START) -> Reclaimed:
        """Take over up to *count* entries that were idle for *min_idle*, whoever has them."""
        stream, group, now = self._seen(consumer)
        following, found, deleted = stream.reclaim(
            group, consumer, idle=min_idle.total_seconds(), count=count, start=parse_id(cursor), now=now
        )
        deliveries = self._deliveries(stream, found, delivered=None, reclaimed=True)
        return Reclaimed(format_id(following), tuple(deliveries), tuple(map(format_id, deleted)))

    async def ack(self, entry_ids: Sequence[str]) -> int:
        """Finish entries: off the pending list and out of the stream. Return how many were pending."""
        stream = self._log.reach().get(self.stream)
        state = self._state()
        acked = 0
        for entry_id in map(parse_id, entry_ids):
            if state and state[1].claims.pop(entry_id, None):
                acked += 1
            if stream:
                stream.entries.pop(entry_id, None)
        return acked

    async def touch(self, consumer: str, entry_ids: Sequence[str]) -> list[str]:
        """Reset the idle time of entries, leaving their delivery count, and return those still pending."""
        return self._set_idle(consumer, entry_ids, 0.0)

    async def hand_back(self, consumer: str, entry_ids: Sequence[str]) -> list[str]:
        """Let entries be reclaimed by whoever looks next, and return those still pending."""
        return self._set_idle(consumer, entry_ids, _LONG_IDLE)

    def _set_idle(self, consumer: str, entry_ids: Sequence[str], idle: float) -> list[str]:
        if not entry_ids or not (state := self._state()):
            return []
        stream, group = state
        now = group.seen[consumer] = self._log.clock()
        kept = [one for one in entry_ids if parse_id(one) in group.claims and parse_id(one) in stream.entries]
        for claim in (group.claims[parse_id(one)] for one in kept):
            claim.consumer, claim.since = consumer, now - idle
        return kept

    async def depth(self) -> Depth:
        """Count what waits and what is pending."""
        stream = self._log.reach().get(self.stream)
        state = self._state()
        length = len(stream.entries) if stream else 0
        if not state:
            return Depth(length, 0, None, None)
        stream, group = state
        oldest = min(group.claims, default=None)
        idle = None if oldest is None else timedelta(seconds=self._log.clock() - group.claims[oldest].since)
        return Depth(length, len(group.claims), len(stream.after(group.last, length)), idle)

    async def pending(self, *, limit: int, min_idle: timedelta = timedelta(0)) -> list[Pending]:
        """List pending entries, lowest id first."""
        state = self._state()
        now = self._log.clock()
        listed = [
            Pending(format_id(one), claim.consumer, timedelta(seconds=now - claim.since), claim.delivered)
            for one, claim in sorted(state[1].claims.items() if state else (), key=lambda item: item[0])
        ]
        return [one for one in listed if one.idle >= min_idle][:limit]

    async def consumers(self) -> list[Consumer]:
        """List the consumers the group knows."""
        if not (state := self._state()):
            return []
        _, group = state
        held = [claim.consumer for claim in group.claims.values()]
        now = self._log.clock()
        return [Consumer(name, held.count(name), timedelta(seconds=now - seen)) for name, seen in group.seen.items()]

    async def retire(self, consumer: str, *, min_idle: timedelta = timedelta(0)) -> bool:
        """Delete *consumer* if it has nothing pending and was idle for *min_idle*; return whether it is gone."""
        for known in await self.consumers():
            if known.name == consumer:
                if known.pending or known.idle < min_idle:
                    return False
                self._required()[1].seen.pop(consumer)
        return True

    async def bury(self, delivery: Delivery, reason: str) -> None:
        """Move an entry nobody can use to the dead letters, then ack it."""
        self._log.append(dead_stream(self.stream), write_letter(delivery, reason), max_len=DEAD_LIMIT)
        await self.ack([delivery.entry_id])

    async def dead(self, limit: int = 100) -> list[DeadLetter]:
        """List dead letters, newest first."""
        stream = self._log.reach().get(dead_stream(self.stream), StreamState())
        newest = list(reversed(stream.entries.items()))[:limit]
        return [read_letter(format_id(one), fields) for one, fields in newest]

    async def close(self) -> None:
        """Close the reading side; a blocked read raises `StreamClosed`."""
        self._closed = True
        self._log.changed()
