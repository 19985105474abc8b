"""The seam between an engine and its streams: four protocols, kept by Redis and by the in-memory twin.

What every implementation promises (`tests/integration/streams` holds them to it):

- Delivery is at least once. An entry stays pending until it is acked; a consumer that dies leaves its
  entries to `reclaim`. Nothing is ever retried silently, so an error says "unknown", not "no".
- Ownership of a pending entry is not a lock. `touch` and `reclaim` move an entry to the caller whoever had it
  before: fence the work itself elsewhere, and touch only what the fence says is still yours.
- The server may lose everything. A group that vanished is made again from the start of its stream, and
  `epoch` and `Group.recreated` change so that the owner of the truth can publish again.
- Only `read` blocks, and only on a connection of its own; stop it with a short *block* and a flag, or with
  `close`.
"""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol, Self

from .delivery import START, Delivery, Entry, Reclaimed, Record
from .letters import DeadLetter
from .standing import Consumer, Depth, EvictionPolicy, Pending


class Group(Protocol):
    """One consumer group on one stream.

    Acked entries are deleted from the stream, so a stream of work has one group.
    """

    @property
    def stream(self) -> str:
        """Key of the stream."""

    @property
    def name(self) -> str:
        """Name of the group."""

    @property
    def recreated(self) -> int:
        """Times a call from here found the group gone and made it again: a change means entries may be lost.

        Of many that find it gone one makes it again, so one of them hears of each loss.
        """

    async def ensure(self) -> None:
        """Make the stream and the group if they do not exist, from the beginning of the stream."""

    async def read(self, consumer: str, *, count: int, block: timedelta | None = None) -> list[Delivery]:
        """Take up to *count* entries no consumer has seen, waiting up to *block* for the first.

        A missing group is made again, with backoff, within the call. After `StreamUnavailable` or a
        cancellation the reply may be lost with entries in it: call `read_own` before reading on.
        """

    async def read_own(self, consumer: str, *, count: int, after: str = START) -> list[Delivery]:
        """Read again what *consumer* has pending, oldest first, after the id *after*.

        For the start of a consumer and for reconnects. It resets idle times and includes what the consumer
        is working on at the moment. Pending ids whose entry is gone are acked and left out, so only an empty
        list ends a walk.
        """

    async def reclaim(self, consumer: str, *, min_idle: timedelta, count: int, cursor: str = START) -> Reclaimed:
        """Take over up to *count* entries that were idle for *min_idle*, whoever has them.

        One call looks at no more than ten times *count* pending entries, so it may find nothing although
        there is something further on: go on with the returned cursor until `Reclaimed.done`, and start again
        later. Always starting at `0-0` never reaches what lies behind the first window.
        """

    async def ack(self, entry_ids: Sequence[str]) -> int:
        """Finish entries: off the pending list and out of the stream. Return how many were pending."""

    async def touch(self, consumer: str, entry_ids: Sequence[str]) -> list[str]:
        """Reset the idle time of entries, leaving their delivery count, and return those still pending.

        There is no "only if still mine" in Redis: this takes an entry back from whoever reclaimed it. Call it
        only after the lease that fences the work was renewed.
        """

    async def hand_back(self, consumer: str, entry_ids: Sequence[str]) -> list[str]:
        """Let entries be reclaimed by whoever looks next, and return those still pending.

        For what this consumer cannot handle and another can. Like `touch`, it takes the entries first.
        """

    async def depth(self) -> Depth:
        """Count what waits and what is pending."""

    async def pending(self, *, limit: int, min_idle: timedelta = timedelta(0)) -> list[Pending]:
        """List pending entries, lowest id first."""

    async def consumers(self) -> list[Consumer]:
        """List the consumers the group knows."""

    async def retire(self, consumer: str, *, min_idle: timedelta = timedelta(0)) -> bool:
        """Delete *consumer* if it has nothing pending and was idle for *min_idle*; return whether it is gone.

        Deleting a consumer destroys its pending entries, so the check and the deletion are one step on the
        server; reclaim its entries first.
        """

    async def bury(self, delivery: Delivery, reason: str) -> None:
        """Move an entry nobody can use to the dead letters, then ack it."""

    async def dead(self, limit: int = 100) -> list[DeadLetter]:
        """List dead letters, newest first."""

    async def close(self) -> None:
        """Close the reading connection; a blocked read raises `StreamClosed`. Other calls go on working."""


class Tail(Protocol):
    """A reader of a stream without a group: every tail sees every entry, nothing is acked."""

    async def read(self, after: str, *, count: int, block: timedelta | None = None) -> list[Record]:
        """Read up to *count* entries after the id *after*, waiting up to *block* for the first.

        Start with `0-0` for everything or with `end()` for what comes from now on.
        """

    async def end(self) -> str:
        """Return the id of the last entry ever appended; `0-0` when there is no stream."""

    async def close(self) -> None:
        """Close the connection; a blocked read raises `StreamClosed`."""


@dataclass(frozen=True, slots=True)
class Signal:
    """One message of a control channel."""

    channel: str
    payload: bytes


class Signals(Protocol):
    """Wake-ups and control messages. Any of them may be lost: they only shorten a poll."""

    async def publish(self, channel: str, payload: bytes | str = b"") -> int:
        """Send to whoever listens at this moment; return how many did, 0 when the server is away."""

    def listen(self, channels: Sequence[str]) -> AsyncGenerator[Signal, None]:
        """Yield messages for ever, reconnecting with backoff; end it with `aclose` or a cancellation."""


class StreamLog(Protocol):
    """Streams on one server."""

    @property
    def address(self) -> str:
        """Where the server is, for people: without credentials."""

    @property
    def signals(self) -> Signals:
        """The control channels of the same server."""

    async def publish(self, entries: Sequence[Entry], *, max_len: int | None = None) -> list[str]:
        """Append entries to their streams, in order, in one round trip; return their ids.

        *max_len* trims each stream to about that many entries. It is for streams of events: trimming a stream
        of work deletes what is waiting.
        """

    def group(self, stream: str, name: str) -> Group:
        """Open a group; nothing is sent yet."""

    def tail(self, stream: str) -> Tail:
        """Open a tail; nothing is sent yet."""

    async def epoch(self) -> str:
        """Return a value that changes when the server started anew, was promoted, or was flushed.

        Compare it with the one remembered: a different one means that anything published may be lost.
        """

    async def check_eviction_policy(self) -> EvictionPolicy:
        """Return what the server evicts when its memory is full."""

    async def close(self) -> None:
        """Close every connection, those of groups and tails too."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, *exc: object) -> None: ...
