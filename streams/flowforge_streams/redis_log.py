"""Streams on a real server: publishing, opening groups and tails, and noticing that data was lost.

Owns the connections: one shared link for commands that answer at once, and one more per group and tail.
"""

import logging
import secrets
from collections.abc import Sequence
from typing import Self

from . import replies, vitals
from .delivery import Entry, Record
from .errors import PartlyPublished, StreamError, StreamRefused
from .link import Argument, Command, Endpoint, Link
from .redis_group import RedisGroup
from .redis_signals import RedisSignals
from .redis_tail import RedisTail
from .standing import EvictionPolicy
from .throttle import ThrottledLog
from .vitals import Vitals

logger = logging.getLogger("flowforge_streams")


class RedisLog:
    """Streams on one Redis or Valkey server."""

    def __init__(self, endpoint: Endpoint, *, connections: int, epoch_key: str) -> None:
        self.address = endpoint.address
        self._endpoint = endpoint
        self._epoch_key = epoch_key
        self._link = Link(endpoint, connections)
        self._readers: list[Link] = []
        # One for all groups: a flush takes all of them at once, and one process should say so once.
        self._log = ThrottledLog(logger)
        self.signals = RedisSignals(endpoint, self._link)

    async def publish(self, entries: Sequence[Entry], *, max_len: int | None = None) -> list[str]:
        """Append entries to their streams, in order, in one round trip; return their ids."""
        if not entries:
            return []
        trim: Command = ("MAXLEN", "~", max_len, "*") if max_len is not None else ("*",)
        answers = await self._link.pipeline([_append(entry, trim) for entry in entries])
        refused = [answer for answer in answers if isinstance(answer, StreamError)]
        if not refused:
            return [answer.decode() for answer in answers]
        if len(refused) == len(entries):
            raise refused[0]
        entry_ids = [None if isinstance(answer, StreamError) else answer.decode() for answer in answers]
        raise PartlyPublished(entry_ids, refused) from refused[0]

    def group(self, stream: str, name: str) -> RedisGroup:
        """Open a group; nothing is sent yet."""
        return RedisGroup(stream, name, link=self._link, reader=self._reader(), log=self._log)

    def tail(self, stream: str) -> RedisTail:
        """Open a tail; nothing is sent yet."""
        return RedisTail(stream, link=self._link, reader=self._reader())

    def _reader(self) -> Link:
        self._readers = [reader for reader in self._readers if not reader.closed]
        self._readers.append(Link(self._endpoint))
        return self._readers[-1]

    async def epoch(self) -> str:
        """Return a value that changes when the server started anew, was promoted, or was flushed."""
        # A restart and a promotion change the replication id; FLUSHALL does not, but takes the marker along.
        # Whoever asks first sets the marker, and everybody reads the same one.
        made, marker, section = await self._link.pipeline(
            (
                ("SET", self._epoch_key, secrets.token_hex(8), "NX"),
                ("GET", self._epoch_key),
                ("INFO", "replication"),
            )
        )
        for answer in (made, marker, section):
            if isinstance(answer, StreamError):
                raise answer
        return f"{replies.info(section)['master_replid']}:{marker.decode()}"

    async def check_eviction_policy(self) -> EvictionPolicy:
        """Return what the server evicts when its memory is full."""
        # INFO and not CONFIG GET, which hosted servers forbid.
        memory = replies.info(await self._link.call("INFO", "memory"))
        return EvictionPolicy(policy=memory["maxmemory_policy"], limit=int(memory["maxmemory"]))

    async def version(self) -> str:
        """Return what the server calls itself: `redis 7.2.4`, `valkey 9.1.2`."""
        server = replies.info(await self._link.call("INFO", "server"))
        own = server.get("valkey_version")
        return f"valkey {own}" if own else f"redis {server['redis_version']}"

    async def vitals(self) -> Vitals:
        """Return what the server says of itself."""
        info, time, save = await self._link.pipeline((("INFO",), ("TIME",), ("CONFIG", "GET", "save")))
        for answer in (info, time):
            if isinstance(answer, StreamError):
                raise answer
        return vitals.vitals(info, time, save)

    async def streams(self, prefix: str) -> list[str]:
        """Return the keys of all streams that begin with *prefix*, in order; walks through all keys."""
        cursor, found = b"0", set[str]()
        while True:
            match = f"{prefix}*"
            cursor, keys = await self._link.call("SCAN", cursor, "MATCH", match, "COUNT", 1000, "TYPE", "stream")
            found.update(key.decode("utf-8", "backslashreplace") for key in keys)
            if cursor == b"0":
                return sorted(found)

    async def groups(self, stream: str) -> list[str]:
        """Return the names of a stream's groups; none for a stream that does not exist."""
        try:
            return vitals.group_names(await self._link.call("XINFO", "GROUPS", stream))
        except StreamRefused:
            return []

    async def length(self, stream: str) -> int:
        """Return how many entries a stream has."""
        return int(await self._link.call("XLEN", stream))

    async def lengths(self, streams: Sequence[str]) -> list[int]:
        """Return how many entries each of some streams has, in one round trip; none for one that does not exist."""
        found = await self._link.pipeline([("XLEN", stream) for stream in streams])
        for answer in found:
            if isinstance(answer, StreamError):
                raise answer
        return [int(answer) for answer in found]

    async def entries(self, stream: str, entry_ids: Sequence[str]) -> list[Record | None]:
        """Return entries by id, None for each that is gone."""
        answers = await self._link.pipeline([("XRANGE", stream, one, one) for one in entry_ids])
        return [next(iter(replies.records(rows)), None) if isinstance(rows, list) else None for rows in answers]

    async def close(self) -> None:
        """Close every connection, those of groups and tails too."""
        for link in (*self._readers, self._link):
            await link.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()


def _append(entry: Entry, trim: Command) -> Command:
    command: list[Argument] = ["XADD", entry.stream, *trim]
    for name, value in entry.fields.items():
        command += (name, value)
    return command
