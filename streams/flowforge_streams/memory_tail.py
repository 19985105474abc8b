"""The in-memory twin of a tail."""

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

from .delivery import START, Record
from .errors import StreamClosed
from .memory_stream import StreamState, format_id, parse_id

if TYPE_CHECKING:
    from .memory_log import MemoryLog


class MemoryTail:
    """A reader of one stream of a `MemoryLog` without a group."""

    def __init__(self, stream: str, log: "MemoryLog") -> None:
        self.stream = stream
        self._log = log
        self._closed = False

    async def read(self, after: str, *, count: int, block: timedelta | None = None) -> list[Record]:
        """Read up to *count* entries after the id *after*, waiting up to *block* for the first."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + (block.total_seconds() if block else 0.0)
        while True:
            if self._closed:
                raise StreamClosed
            stream = self._log.reach().get(self.stream, StreamState())
            if found := stream.after(parse_id(after), count):
                return [Record(format_id(one), stream.entries[one]) for one in found]
            if not await self._log.changed_within(deadline - loop.time()):
                return []

    async def end(self) -> str:
        """Return the id of the last entry ever appended; `0-0` when there is no stream."""
        stream = self._log.reach().get(self.stream)
        return format_id(stream.last) if stream else START

    async def close(self) -> None:
        """Close the tail; a blocked read raises `StreamClosed`."""
        self._closed = True
        self._log.changed()
