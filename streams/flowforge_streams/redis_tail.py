"""A tail of a stream on a real server, on a connection of its own."""

from datetime import timedelta

from . import replies
from .delivery import START, Record
from .errors import StreamRefused
from .link import Link
from .waiting import block_words


class RedisTail:
    """A reader of one stream without a group."""

    def __init__(self, stream: str, *, link: Link, reader: Link) -> None:
        self.stream = stream
        self._link = link
        self._reader = reader

    async def read(self, after: str, *, count: int, block: timedelta | None = None) -> list[Record]:
        """Read up to *count* entries after the id *after*, waiting up to *block* for the first."""
        wait = max(0.0, block.total_seconds()) if block else 0.0
        command = ("XREAD", "COUNT", count, *block_words(wait), "STREAMS", self.stream, after)
        return replies.records(replies.first_stream(await self._reader.call(*command, block=wait)))

    async def end(self) -> str:
        """Return the id of the last entry ever appended; `0-0` when there is no stream."""
        try:
            reply = await self._link.call("XINFO", "STREAM", self.stream)
        except StreamRefused as refused:
            if "no such key" in str(refused):
                return START
            raise
        # Not the last entry's own id: that one may have been trimmed or deleted.
        last: bytes = replies.table([reply])[0][b"last-generated-id"]
        return last.decode()

    async def close(self) -> None:
        """Close the connection; a blocked read raises `StreamClosed`."""
        await self._reader.close()
