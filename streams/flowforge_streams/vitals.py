"""What a server says of itself, and what lies in its streams: for diagnosis; nothing here decides about work."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from . import replies


@dataclass(frozen=True, slots=True)
class Vitals:
    """A server at one moment."""

    #: redis or valkey
    product: str
    version: str
    now: datetime
    #: value of `maxmemory-policy`
    policy: str
    used_memory: int
    #: memory limit in bytes; 0 = none
    max_memory: int
    #: Whether every write goes to the append-only file, and whether the last one could be written.
    append_only: bool
    writes: bool
    #: Whether snapshots are taken; None where the server does not say.
    snapshots: bool | None
    clients: int


def vitals(info: bytes, time: Sequence[bytes], save: Any) -> Vitals:
    """Read INFO, TIME and CONFIG GET save; hosted servers refuse the last one."""
    facts = replies.info(info)
    seconds, micros = (int(part) for part in time)
    valkey = facts.get("valkey_version")
    return Vitals(
        product="valkey" if valkey else "redis",
        version=valkey or facts["redis_version"],
        now=datetime.fromtimestamp(seconds, UTC) + timedelta(microseconds=micros),
        policy=facts["maxmemory_policy"],
        used_memory=int(facts["used_memory"]),
        max_memory=int(facts["maxmemory"]),
        append_only=facts.get("aof_enabled") == "1",
        writes=facts.get("aof_last_write_status", "ok") == "ok",
        snapshots=bool(save[1]) if isinstance(save, list) and len(save) > 1 else None,
        clients=int(facts.get("connected_clients", "0")),
    )


def group_names(reply: Sequence[Sequence[Any]]) -> list[str]:
    """Read the names of XINFO GROUPS."""
    table: Sequence[Mapping[bytes, Any]] = replies.table(reply)
    return [row[b"name"].decode("utf-8", "backslashreplace") for row in table]
