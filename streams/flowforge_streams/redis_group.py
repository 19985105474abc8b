"""A consumer group on a real server; it keeps the promises of `seam.Group` with Redis 6.2 commands only.

Two connections matter: reads that block travel on one of their own, everything else on the shared link, so a
waiting reader never delays an ack and is never cancelled in the middle of somebody else's exchange.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from functools import cache
from importlib.resources import files
from typing import Any, TypeVar

from . import replies
from .delivery import START, Delivery, Reclaimed
from .errors import GroupMissing, StreamError, StreamRefused
from .letters import DEAD_LIMIT, DeadLetter, dead_stream, read_letter, write_letter
from .link import Argument, Command, Link
from .recreation import Recreation, create_group
from .standing import Consumer, Depth, Pending
from .throttle import ThrottledLog
from .waiting import block_words, milliseconds

_T = TypeVar("_T")

_CHUNK = 1_000  # ids in one XACK, XDEL or XCLAIM: each is one uninterrupted step of the server
_LONG_IDLE = 86_400_000  # milliseconds; beyond every least idle time that anybody reclaims by
_SCAN = 10  # pending entries XAUTOCLAIM looks at, per entry asked for; built into the server


@cache
def _script(name: str) -> str:
    return files(__package__).joinpath(f"{name}.lua").read_text(encoding="utf-8")


class RedisGroup:
    """One consumer group on one stream of a Redis or Valkey server."""

    def __init__(self, stream: str, name: str, *, link: Link, reader: Link, log: ThrottledLog) -> None:
        self.stream = stream
        self.name = name
        self._link = link
        self._reader = reader
        self._recreation = Recreation(link, stream, name, log=log)

    @property
    def recreated(self) -> int:
        """Times a call from here found the group gone and made it again: a change means entries may be lost."""
        return self._recreation.count

    async def ensure(self) -> None:
        """Make the stream and the group if they do not exist, from the beginning of the stream."""
        await create_group(self._link, self.stream, self.name)

    async def read(self, consumer: str, *, count: int, block: timedelta | None = None) -> list[Delivery]:
        """Take up to *count* entries no consumer has seen, waiting up to *block* for the first."""
        clock = asyncio.get_running_loop().time
        deadline = clock() + (block.total_seconds() if block else 0.0)
        head = ("XREADGROUP", "GROUP", self.name, consumer, "COUNT", count)

        async def attempt() -> list[Delivery]:
            wait = max(0.0, deadline - clock())
            words = (*head, *block_words(wait), "STREAMS", self.stream, ">")
            reply = await self._reader.call(*words, block=wait)
            return await self._delivered(reply, delivered=1)

        return await self._repaired(attempt, otherwise=[])

    async def read_own(self, consumer: str, *, count: int, after: str = START) -> list[Delivery]:
        """Read again what *consumer* has pending, oldest first, after the id *after*."""
        head = ("XREADGROUP", "GROUP", self.name, consumer, "COUNT", count, "STREAMS", self.stream)

        async def attempt() -> list[Delivery]:
            position = after
            while rows := replies.first_stream(await self._link.call(*head, position)):
                # A page of nothing but deleted entries is not the end: step over it.
                if found := await self._delivered([[self.stream, rows]], delivered=None):
                    return found
                position = rows[-1][0].decode()
            return []

        return await self._repaired(attempt, otherwise=[])

    async def _delivered(self, reply: Any, *, delivered: int | None) -> list[Delivery]:
        rows = replies.first_stream(reply)
        found, gone, _ = replies.deliveries(self.stream, rows, delivered=delivered)
        if gone:
            await self._link.call("XACK", self.stream, self.name, *gone)
        return found

    async def _repaired(self, attempt: Callable[[], Awaitable[_T]], *, otherwise: _T) -> _T:
        """Attempt, make a missing group again, attempt once more; a group that vanished again is empty.

        One repair a call keeps calls short, so that a reader still sees its stop flag; the pace between
        repairs is kept over calls.
        """
        for _ in range(2):
            try:
                result = await attempt()
            except GroupMissing:
                await self._recreation.repair()
            else:
                self._recreation.settled()
                return result
        return otherwise

    async def reclaim(self, consumer: str, *, min_idle: timedelta, count: int, cursor: str = START) -> Reclaimed:
        """Take over up to *count* entries that were idle for *min_idle*, whoever has them."""
        who: Command = (self.stream, self.name, consumer)
        idle = milliseconds(min_idle)

        async def attempt() -> Any:
            return await self._link.call("XAUTOCLAIM", *who, idle, cursor, "COUNT", count)

        # Two elements on 6.2; the third of 7 and later lists the deleted entries it has taken off.
        reply: Any = await self._repaired(attempt, otherwise=[START.encode(), []])
        following = reply[0].decode()
        found, _, nameless = replies.deliveries(self.stream, reply[1], delivered=None, reclaimed=True)
        gone = [entry_id.decode() for deleted in reply[2:] for entry_id in deleted]
        if nameless:
            known = {delivery.entry_id for delivery in found}
            gone += await self._lay_ghosts(consumer, cursor, following, known, limit=count * _SCAN)
        return Reclaimed(following, tuple(found), tuple(gone))

    async def _lay_ghosts(self, consumer: str, start: str, end: str, known: set[str], *, limit: int) -> list[str]:
        # Redis 6.2 moves a deleted entry to the claimer and does not say which: it is one that is now pending
        # with us, inside the range just scanned, and has no body. Without an ack it would come up for ever.
        last = "+" if end == START else f"({end}"
        rows = await self._link.call("XPENDING", self.stream, self.name, start, last, limit, consumer)
        suspects = [row.entry_id for row in replies.pending(rows) if row.entry_id not in known]
        bodies = await self._link.pipeline([("XRANGE", self.stream, one, one) for one in suspects])
        ghosts = [one for one, body in zip(suspects, bodies, strict=True) if body == []]
        if ghosts:
            await self._link.call("XACK", self.stream, self.name, *ghosts)
        return ghosts

    async def ack(self, entry_ids: Sequence[str]) -> int:
        """Finish entries: off the pending list and out of the stream. Return how many were pending."""
        # XACK first: a crash between the two leaves an entry nobody is given, the other order a ghost.
        commands: list[Command] = []
        for chunk in _chunks(entry_ids):
            commands += (("XACK", self.stream, self.name, *chunk), ("XDEL", self.stream, *chunk))
        return sum(_checked(await self._link.pipeline(commands))[::2]) if commands else 0

    async def touch(self, consumer: str, entry_ids: Sequence[str]) -> list[str]:
        """Reset the idle time of entries, leaving their delivery count, and return those still pending."""
        return await self._set_idle(consumer, entry_ids, 0)

    async def hand_back(self, consumer: str, entry_ids: Sequence[str]) -> list[str]:
        """Let entries be reclaimed by whoever looks next, and return those still pending."""
        return await self._set_idle(consumer, entry_ids, _LONG_IDLE)

    async def _set_idle(self, consumer: str, entry_ids: Sequence[str], idle: int) -> list[str]:
        head: Command = ("XCLAIM", self.stream, self.name, consumer, 0)
        commands: list[Command] = [(*head, *chunk, "IDLE", idle, "JUSTID") for chunk in _chunks(entry_ids)]
        try:
            claimed = _checked(await self._link.pipeline(commands)) if commands else []
        except GroupMissing:
            return []  # nothing is pending any more; the next read makes the group again
        return [entry_id.decode() for chunk in claimed for entry_id in chunk]

    async def depth(self) -> Depth:
        """Count what waits and what is pending."""
        length, groups, oldest, stream = await self._link.pipeline(
            (
                ("XLEN", self.stream),
                ("XINFO", "GROUPS", self.stream),
                ("XPENDING", self.stream, self.name, "-", "+", 1),
                ("XINFO", "STREAM", self.stream),
            )
        )
        length = _checked([length])[0]
        name = self.name.encode()
        group = next((g for g in replies.table(_or_empty(groups)) if g[b"name"] == name), None)
        first = replies.pending(_or_empty(oldest))
        return Depth(
            length=length,
            pending=group[b"pending"] if group else 0,
            lag=group.get(b"lag") if group else None,
            oldest_idle=first[0].idle if first else None,
            added=replies.fields(_or_empty(stream)).get(b"entries-added"),
            delivered=group.get(b"entries-read") if group else None,
        )

    async def pending(self, *, limit: int, min_idle: timedelta = timedelta(0)) -> list[Pending]:
        """List pending entries, lowest id first."""
        idle: Command = ("IDLE", milliseconds(min_idle)) if min_idle else ()
        return replies.pending(await self._listed("XPENDING", self.stream, self.name, *idle, "-", "+", limit))

    async def consumers(self) -> list[Consumer]:
        """List the consumers the group knows."""
        return replies.consumers(await self._listed("XINFO", "CONSUMERS", self.stream, self.name))

    async def _listed(self, *command: Argument) -> Any:
        (reply,) = await self._link.pipeline((command,))
        return _or_empty(reply)

    async def retire(self, consumer: str, *, min_idle: timedelta = timedelta(0)) -> bool:
        """Delete *consumer* if it has nothing pending and was idle for *min_idle*; return whether it is gone."""
        arguments: Command = (self.stream, self.name, consumer, milliseconds(min_idle))
        try:
            return bool(await self._link.call("EVAL", _script("retire"), 1, *arguments))
        except StreamRefused as refused:
            # Errors of a command inside a script come with the script's own code on some versions.
            if "NOGROUP" in str(refused):
                return True
            raise

    async def bury(self, delivery: Delivery, reason: str) -> None:
        """Move an entry nobody can use to the dead letters, then ack it."""
        letter = [part for field in write_letter(delivery, reason).items() for part in field]
        # Two round trips: an entry whose letter was refused must not be acked.
        await self._link.call("XADD", dead_stream(self.stream), "MAXLEN", "~", DEAD_LIMIT, "*", *letter)
        await self.ack([delivery.entry_id])

    async def dead(self, limit: int = 100) -> list[DeadLetter]:
        """List dead letters, newest first."""
        rows = await self._link.call("XREVRANGE", dead_stream(self.stream), "+", "-", "COUNT", limit)
        return [read_letter(row.entry_id, row.fields) for row in replies.records(rows)]

    async def close(self) -> None:
        """Close the reading connection; a blocked read raises `StreamClosed`."""
        await self._reader.close()


def _chunks(entry_ids: Sequence[str]) -> list[Sequence[str]]:
    return [entry_ids[i : i + _CHUNK] for i in range(0, len(entry_ids), _CHUNK)]


def _checked(results: list[Any]) -> list[Any]:
    for result in results:
        if isinstance(result, StreamError):
            raise result
    return results


def _or_empty(reply: Any) -> Any:
    """Let a stream or group that does not exist count as empty; any other refusal is an error."""
    if isinstance(reply, GroupMissing) or (isinstance(reply, StreamRefused) and "no such key" in str(reply)):
        return []
    return _checked([reply])[0]
