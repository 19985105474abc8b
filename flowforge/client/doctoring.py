"""The doctor: examines an installation, whatever of it still works, and repairs what can be repaired.

No server is started, no worker is needed. What may be on its way is looked at twice, a moment apart, and is a finding
only if it is still there. After a repair everything is examined anew: what is left is what could not be repaired.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from flowforge.client.examining import Notes, examine_disk, examine_postgres, examine_redis, examine_workers
from flowforge.engine import repairing
from flowforge.engine.auditing import Scope, audit_database
from flowforge.engine.engine import Endpoints, Engine
from flowforge.engine.names import Names
from flowforge.engine.plans import Plans
from flowforge.engine.stream_audit import audit_streams
from flowforge.errors import DatabaseUnavailable
from flowforge.model.audit import Violation
from flowforge.model.health import Diagnosis, Finding, findings
from flowforge.settings import Settings
from flowforge.store import audits, installation, schema
from flowforge.store.database import Connection, connect
from flowforge_streams.connecting import connect as open_streams
from flowforge_streams.errors import StreamError

if TYPE_CHECKING:
    from flowforge_streams.redis_log import RedisLog

#: Runs that have ended of which the history is read unless all are asked for.
RECENT = 10_000
#: What may be on its way at any moment, and the seconds between two looks at it.
PASSING = frozenset({"outbox.stale", "outbox.late", "lease.over", "timer.late", "step.unclaimed", "gate.idle"})
AGAIN_AFTER = 1.0

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Patient:
    """An installation: where its servers are, whether or not they run."""

    endpoints: Endpoints
    settings: Settings
    #: Where the embedded servers write; None where others are configured.
    home: Path | None = None


def patient(settings: Settings) -> Patient:
    """Find the servers without starting any."""
    if settings.database_url is not None and settings.redis_url is not None:
        return Patient(Endpoints(settings.database_url, settings.redis_url), settings)
    from flowforge import local

    home = local.default_home() if settings.home is None else local.Home(settings.home)
    found = local.places(home)
    where = Endpoints(settings.database_url or found.database_url, settings.redis_url or found.redis_url)
    return Patient(where, settings, home.path)


async def examine(
    who: Patient,
    *,
    fix: bool = False,
    ended: int | None = RECENT,
    progress: Progress = lambda _done, _of: None,
) -> Diagnosis:
    """Examine an installation; with *fix*, repair what can be repaired and examine it again."""
    first = await _examine(who, ended, progress)
    curable = [finding for finding in first.findings if finding.about.fixable]
    if not fix or not curable:
        return first
    repaired = await _repair(who, curable)
    return replace(await _examine(who, ended, progress), repaired=repaired)


async def _repair(who: Patient, curable: list[Finding]) -> list[str]:
    done = []
    async with Engine(who.endpoints, who.settings, connections=2) as engine:
        for finding in curable:
            try:
                said = await repairing.repair(engine, finding)
            except repairing.FAILURES as error:
                said = f"could not be repaired: {error}"
            done.append(f"{finding.about.title}: {said}")
    return done


async def _examine(who: Patient, ended: int | None, progress: Progress) -> Diagnosis:
    notes = Notes()
    if who.home is not None and who.home.exists():
        examine_disk(who.home, notes)
    async with open_streams(who.endpoints.redis_url, epoch_key="", client_name="flowforge-doctor") as streams:
        reachable = await _redis(streams, notes)
        runs, whole = 0, False
        try:
            connection = await connect(who.endpoints.database_url)
        except DatabaseUnavailable as error:
            notes.violations.append(Violation("server.postgres", error.message))
            notes.skip("invariants", "Postgres cannot be used")
        else:
            try:
                await examine_postgres(connection, notes)
                runs, whole = await _database(who, connection, streams if reachable else None, ended, progress, notes)
            finally:
                await connection.close()
    return Diagnosis(notes.checks, findings(notes.violations), runs, whole)


async def _redis(streams: RedisLog, notes: Notes) -> bool:
    try:
        await examine_redis(streams, notes)
    except StreamError as error:
        notes.violations.append(Violation("server.redis", f"{streams.address}: {error}"))
        return False
    return True


async def _database(
    who: Patient,
    connection: Connection,
    streams: RedisLog | None,
    ended: int | None,
    progress: Progress,
    notes: Notes,
) -> tuple[int, bool]:
    """Look at what stands in the database and in the streams; return how many runs, and whether those were all."""
    found = await schema.status(connection)
    if not found.ready:
        detail = f"the schema is at {found.current or 'none'}, this release needs {found.head}"
        notes.violations.append(Violation("schema", detail))
        notes.skip("invariants", "the schema is another one")
        return 0, False
    notes.look("schema", f"at {found.current}")
    names, plans = await _names(connection), Plans()
    patience = max(30.0, 2 * who.settings.lease.total_seconds())
    await examine_workers(connection, plans, patience, notes)
    scope = Scope(ended=ended, patience=patience, receipts=who.settings.receipts)
    audited = await audit_database(connection, plans, scope, progress)
    notes.violations += await _still(connection, patience, audited.violations)
    if streams is None:
        notes.skip("streams", "Redis cannot be used")
    else:
        wait = timedelta(seconds=patience)
        notes.violations += await audit_streams(connection, streams, names, patience=wait)
    return audited.runs, audited.whole


async def _still(connection: Connection, patience: float, found: list[Violation]) -> list[Violation]:
    """Leave out what has gone its way a moment later."""
    if not any(one.kind in PASSING for one in found):
        return found
    await asyncio.sleep(AGAIN_AFTER)
    again = [*await audits.leftovers(connection, patience), *await audits.gates(connection)]
    left = {(one.kind, one.run, one.about) for one in again}
    return [one for one in found if one.kind not in PASSING or (one.kind, one.run, one.about) in left]


async def _names(connection: Connection) -> Names:
    return Names(await installation.short_id(connection))
