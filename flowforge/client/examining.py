"""The examination of what an installation stands on: servers, settings, clocks, disk, workers, queues."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from flowforge.engine.plans import Plans
from flowforge.errors import FlowforgeError
from flowforge.model.audit import Violation
from flowforge.model.health import Check
from flowforge.store import vitals, workers
from flowforge.store.database import Connection
from flowforge.store.vitals import PostgresVitals
from flowforge.version import __version__
from flowforge_streams.vitals import Vitals

if TYPE_CHECKING:
    from flowforge_streams.redis_log import RedisLog

#: What is needed.
POSTGRES, REDIS = 140_000, (6, 2)
#: Clocks may differ so much, beyond the time that asking took.
SKEW = timedelta(seconds=1)
#: Shares of connections, memory and disk from which on it is told.
FULL, DISK_LEFT, LEAST_LEFT = 0.85, 0.05, 512 * 1024 * 1024
OPEN_FOR = timedelta(minutes=10)
#: A worker that was lost longer ago is no news.
LATELY = timedelta(hours=1)


@dataclass(slots=True)
class Notes:
    """What an examination has found so far."""

    checks: list[Check] = field(default_factory=list)
    violations: list[Violation] = field(default_factory=list)

    def look(self, name: str, said: str, found: Iterator[tuple[str, str]] | list[tuple[str, str]] = ()) -> None:  # type: ignore[assignment]
        """Note what was looked at: fine unless something was found."""
        wrong = [Violation(kind, detail) for kind, detail in found]
        self.violations += wrong
        if not wrong:
            self.checks.append(Check(name, "ok", said))

    def skip(self, name: str, why: str) -> None:
        """Note what could not be looked at."""
        self.checks.append(Check(name, "skipped", why))


async def examine_postgres(connection: Connection, notes: Notes) -> None:
    """Look at the database server."""
    asked = datetime.now(UTC)
    found = await vitals.vitals(connection)
    took = datetime.now(UTC) - asked
    size = f"{found.bytes / 1024 / 1024:,.0f} MiB"
    notes.look("postgres", f"PostgreSQL {found.version}, {size}", list(_postgres(found)))
    notes.look("postgres clock", "agrees with this machine", list(_skew("Postgres", found.now, asked, took)))
    used = f"{found.connections} of {found.max_connections} connections"
    full = found.connections > FULL * found.max_connections
    notes.look("postgres connections", used, [("postgres.connections", used)] if full else [])


def _postgres(found: PostgresVitals) -> Iterator[tuple[str, str]]:
    if found.number < POSTGRES:
        yield "version", f"PostgreSQL {found.version}: 14 or later is needed"
    if found.standby:
        yield "server.postgres", "it is a standby, which takes no writes"
    off = [name for name in ("fsync", "full_page_writes") if not getattr(found, name)]
    off += ["synchronous_commit"] if found.synchronous_commit == "off" else []
    if off:
        yield "postgres.fsync", f"off: {', '.join(off)}"
    oldest = found.oldest_transaction
    if oldest is not None and found.now - oldest > OPEN_FOR:
        yield "postgres.old_transaction", f"a transaction has been open since {oldest:%Y-%m-%d %H:%M:%SZ}"


def _skew(who: str, theirs: datetime, asked: datetime, took: timedelta) -> Iterator[tuple[str, str]]:
    apart = theirs - (asked + took / 2)
    if abs(apart) > SKEW + took / 2:
        seconds = apart.total_seconds()
        yield "clock", f"{who} is {abs(seconds):.1f} s {'ahead of' if seconds > 0 else 'behind'} this machine"


async def examine_redis(streams: RedisLog, notes: Notes) -> None:
    """Look at the stream server; raises StreamError when it does not answer."""
    asked = datetime.now(UTC)
    found = await streams.vitals()
    took = datetime.now(UTC) - asked
    memory = f"{found.used_memory / 1024 / 1024:,.0f} MiB"
    notes.look("redis", f"{found.product.title()} {found.version}, {memory}", list(_redis(found)))
    notes.look("redis clock", "agrees with this machine", list(_skew("Redis", found.now, asked, took)))


def _redis(found: Vitals) -> Iterator[tuple[str, str]]:
    number = tuple(int(part) for part in found.version.split(".")[:2] if part.isdigit())
    if found.product == "redis" and number < REDIS:
        yield "version", f"Redis {found.version}: 6.2 or later is needed"
    if found.policy.startswith("allkeys"):
        yield "redis.eviction", f"maxmemory-policy is {found.policy}"
    if found.max_memory and found.used_memory > FULL * found.max_memory:
        yield "redis.memory", f"{found.used_memory:,} of {found.max_memory:,} bytes are used"
    if not found.append_only and found.snapshots is False:
        yield "redis.persistence", "neither an append-only file nor snapshots are written"
    if not found.writes:
        yield "redis.persistence", "the append-only file cannot be written: is its disk full?"


def examine_disk(folder: Path, notes: Notes) -> None:
    """Look at the disk that the embedded servers write to."""
    usage = shutil.disk_usage(folder)
    said = f"{usage.free / 1024**3:,.1f} of {usage.total / 1024**3:,.1f} GiB free at {folder}"
    low = usage.free < max(LEAST_LEFT, DISK_LEFT * usage.total) and usage.free < 10 * LEAST_LEFT
    notes.look("disk", said, [("disk", said)] if low else [])


async def _queue(connection: Connection, plans: Plans, version: int, step: int) -> str | None:
    """Return the queue of a step; None where the audit of its run will say why there is none."""
    try:
        return (await plans.get(connection, version)).plan.steps[step].queue
    except (FlowforgeError, LookupError):
        return None


async def examine_workers(connection: Connection, plans: Plans, patience: float, notes: Notes) -> None:
    """Look at who works, and at queues with work that nobody does."""
    known = await workers.all_workers(connection)
    active = [one for one in known if one.status == "active"]
    lost = [("workers.lost", f"{one.id} on {one.host}, last seen {one.seen_at:%H:%M:%SZ}") for one in known
            if one.status == "lost" and datetime.now(UTC) - one.seen_at < LATELY]  # fmt: skip
    other = [("workers.version", f"{one.id} is of release {one.version}, this one is {__version__}") for one in active
             if one.version != __version__]  # fmt: skip
    notes.look("workers", f"{len(active)} active", [*lost, *other])
    served = {queue for one in active for queue in one.queues}
    unserved: list[Violation] = []
    for row in await vitals.queued(connection, patience):
        queue = await _queue(connection, plans, row["version_id"], row["step_no"])
        if queue is not None and queue not in served:
            detail = f"queue '{queue}' has a step queued since {row['since']:%Y-%m-%d %H:%M:%SZ} and no worker"
            unserved += [Violation("queue.unserved", detail, run, queue) for run in row["runs"]]
    notes.violations += unserved
    waiting = await vitals.outbox(connection)
    if not unserved:
        dispatches = "1 dispatch" if waiting == 1 else f"{waiting:,} dispatches"
        notes.look("queues", f"nothing waits long for a worker, {dispatches} in the outbox")
