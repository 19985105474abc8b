"""Work and events over Redis Streams consumer groups, on asyncio, for servers from Redis 6.2 to Valkey 9.

    async with connect("redis://localhost") as log:
        group = log.group("orders", "workers")
        await group.ensure()
        await log.publish([Entry("orders", {"order": "42"})])
        for delivery in await group.read("worker-1", count=100, block=timedelta(seconds=2)):
            ...
            await group.ack([delivery.entry_id])

The promises are in `seam`; `MemoryLog` keeps them without a server.

The driver is loaded when it is first needed: whoever asks Postgres only, or catches an error, does not wait for it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

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

if TYPE_CHECKING:
    from .redis_log import RedisLog

    # Both keep the seam: said here, where a type checker finds out first.
    _implementations: tuple[type[StreamLog], ...] = (RedisLog, MemoryLog)


def __getattr__(name: str) -> Any:
    """Load what needs the driver (PEP 562)."""
    if name == "RedisLog":
        return import_module(".redis_log", __name__).RedisLog
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
