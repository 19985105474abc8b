"""The in-memory twin of a server: its streams, and ways to lose them, in one process.

For tests: `wipe` is FLUSHALL, `drop` is DEL, `down` is a server that is away. It promises what `seam` says and
nothing more; it is not a carrier for work.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from typing import Self

from .delivery import Entry
from .errors import StreamClosed, StreamUnavailable
from .memory_group import MemoryGroup
from .memory_signals import MemorySignals
from .memory_stream import StreamState, format_id, parse_id
from .memory_tail import MemoryTail
from .standing import EvictionPolicy

_generations = count(1)


class MemoryLog:
    """Streams in this process, for one event loop."""

    #: for people: there is no server
    address = "memory"

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        #: seconds, for idle times
        self.clock = clock
        #: set it to make every call fail as if the server were away
        self.down = False
        self.signals = MemorySignals(self)
        self._closed = False
        self._streams: dict[str, StreamState] = {}
        self._generation = next(_generations)
        self._change = asyncio.Event()

    def reach(self) -> dict[str, StreamState]:
        """Return the streams, unless the server is away."""
        if self._closed:
            raise StreamClosed
        if self.down:
            raise StreamUnavailable
        return self._streams

    def wipe(self) -> None:
        """Lose everything, as FLUSHALL does."""
        self._streams.clear()
        self._generation = next(_generations)
        self.changed()

    def drop(self, stream: str, group: str | None = None) -> None:
        """Lose one stream, or one group of it."""
        if group is None:
            self._streams.pop(stream, None)
        elif stream in self._streams:
            self._streams[stream].groups.pop(group, None)
        self.changed()

    def erase(self, stream: str, entry_id: str) -> None:
        """Delete one entry and leave it pending, as XDEL and trimming do."""
        self._streams[stream].entries.pop(parse_id(entry_id), None)

    def changed(self) -> None:
        """Wake every blocked reader, so that it looks again."""
        self._change.set()
        self._change = asyncio.Event()

    async def changed_within(self, seconds: float) -> bool:
        """Wait for a change; return whether one came."""
        if seconds <= 0:
            return False
        try:
            async with asyncio.timeout(seconds):
                return await self._change.wait()
        except TimeoutError:
            return False

    def append(self, stream: str, fields: Mapping[str, bytes | str | int], *, max_len: int | None = None) -> str:
        """Append one entry; values become bytes here as they would on their way to a server."""
        state = self.reach().setdefault(stream, StreamState())
        raw = {name: value if isinstance(value, bytes) else str(value).encode() for name, value in fields.items()}
        return format_id(state.append(raw, at=int(time.time() * 1000), max_len=max_len))

    async def publish(self, entries: Sequence[Entry], *, max_len: int | None = None) -> list[str]:
        """Append entries to their streams, in order; return their ids."""
        entry_ids = [self.append(entry.stream, entry.fields, max_len=max_len) for entry in entries]
        self.changed()
        return entry_ids

    def group(self, stream: str, name: str) -> MemoryGroup:
        """Open a group."""
        return MemoryGroup(stream, name, log=self)

    def tail(self, stream: str) -> MemoryTail:
        """Open a tail."""
        return MemoryTail(stream, self)

    async def epoch(self) -> str:
        """Return a value that changes when everything was lost."""
        self.reach()
        return f"memory:{self._generation}"

    async def check_eviction_policy(self) -> EvictionPolicy:
        """Return that nothing is ever evicted."""
        self.reach()
        return EvictionPolicy(policy="noeviction", limit=0)

    async def close(self) -> None:
        """Make every later call fail; blocked readers wake up and fail too."""
        self._closed = True
        self.changed()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()
