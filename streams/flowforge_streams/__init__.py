"""Work and events over Redis Streams consumer groups, on asyncio, for servers from Redis 6.2 to Valkey 9.

    async with connect("redis://localhost") as log:
        group = log.group("orders", "workers")
        await group.ensure()
        await log.publish([Entry("orders", {"order": "42"})])
        for delivery in await group.read("worker-1", count=100, block=timedelta(seconds=2)):
            ...
            await group.ack([delivery.entry_id])

The promises are in `seam`; `MemoryLog` keeps them without a server.
"""

from typing import TYPE_CHECKING

from .backoff import Backoff
from .connecting import connect
from .delivery import START, Delivery, Entry, Reclaimed, Record
from .errors import (
    GroupMissing,
    PartlyPublished,
    StreamClosed,
    StreamError,
    StreamFull,
    StreamRefused,
    StreamUnavailable,
)
from .letters import DeadLetter
from .memory_log import MemoryLog
from .redis_log import RedisLog
from .seam import Group, Signal, Signals, StreamLog, Tail
from .standing import Consumer, Depth, EvictionPolicy, Pending

__all__ = [
    "START",
    "Backoff",
    "Consumer",
    "DeadLetter",
    "Delivery",
    "Depth",
    "Entry",
    "EvictionPolicy",
    "Group",
    "GroupMissing",
    "MemoryLog",
    "PartlyPublished",
    "Pending",
    "Reclaimed",
    "Record",
    "RedisLog",
    "Signal",
    "Signals",
    "StreamClosed",
    "StreamError",
    "StreamFull",
    "StreamLog",
    "StreamRefused",
    "StreamUnavailable",
    "Tail",
    "connect",
]

if TYPE_CHECKING:  # both keep the seam: said here, where a type checker finds out first
    _implementations: tuple[type[StreamLog], ...] = (RedisLog, MemoryLog)
