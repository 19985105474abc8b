"""The doctor: examines an installation, whatever of it still works, and repairs what can be repaired.

No server is started, no worker is needed. What is on its way is no finding (engine/watching.py), and a server that
goes away meanwhile is one, not an error. After a repair everything is examined anew: what is left is what could not
be repaired.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from flowforge.client.examining import Notes, examine_disk, examine_postgres, examine_redis, examine_workers
from flowforge.engine import repairing
from flowforge.engine.auditing import audit_database
from flowforge.engine.engine import Endpoints, Engine
from flowforge.engine.names import Names
from flowforge.engine.plans import Plans
from flowforge.engine.watching import Terms, Watch
from flowforge.errors import DatabaseUnavailable
from flowforge.model.audit import Violation
from flowforge.model.health import Diagnosis, Finding, findings
from flowforge.settings import Settings
from flowforge.store import installation, schema, workers
from flowforge.store.database import Connection, lent
from flowforge_streams.connecting import connect as open_streams
from flowforge_streams.errors import StreamError

if TYPE_CHECKING:
    from flowforge_streams.redis_log import RedisLog

#: Runs that have ended of which the history is read unless all are asked for.
RECENT = 10_000
#: Seconds that what is on its way may take at least.
PATIENCE = 30.0

Progress = Callable[[int, int], None]
Pause = Callable[[float], Awaitable[None]]


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
    pause: Pause = asyncio.sleep,
) -> Diagnosis:
    """Examine an installation; with *fix*, repair what can be repaired and examine it again.

    *pause* is what happens between two looks at what may be on its way.
    """
    first = await _examine(who, ended, progress, pause)
    curable = [finding for finding in first.findings if finding.about.fixable]
    if not fix or not curable:
        return first
    repaired = await _repair(who, curable)
    return replace(await _examine(who, ended, progress, pause), repaired=repaired)


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


async def _examine(who: Patient, ended: int | None, progress: Progress, pause: Pause) -> Diagnosis:
    notes = Notes()
    if who.home is not None and who.home.exists():
        examine_disk(who.home, notes)
    async with open_streams(who.endpoints.redis_url, epoch_key="", client_name="flowforge-doctor") as streams:
        reachable = await _redis(streams, notes)
        runs, whole = 0, False
        examination = _Examination(who, streams if reachable else None, notes, ended, progress, pause)
        try:
            async with lent(who.endpoints.database_url) as connection:
                await examine_postgres(connection, notes)
                runs, whole = await examination.database(connection)
        except DatabaseUnavailable as error:
            notes.violations.append(Violation("server.postgres", error.message))
            notes.skip("invariants", "Postgres cannot be used")
    return Diagnosis(notes.checks, findings(notes.violations), runs, whole)


async def _redis(streams: RedisLog, notes: Notes) -> bool:
    try:
        await examine_redis(streams, notes)
    except StreamError as error:
        notes.violations.append(Violation("server.redis", f"{streams.address}: {error}"))
        return False
    return True


@dataclass(frozen=True, slots=True)
class _Examination:
    """An examination of what stands in the database and in the streams."""

    who: Patient
    streams: RedisLog | None
    notes: Notes
    ended: int | None
    progress: Progress
    pause: Pause

    async def database(self, connection: Connection) -> tuple[int, bool]:
        """Look at everything; return how many runs were read, and whether those were all."""
        notes, settings, plans = self.notes, self.who.settings, Plans()
        found = await schema.status(connection)
        if not found.ready:
            detail = f"the schema is at {found.current or 'none'}, this release needs {found.head}"
            notes.violations.append(Violation("schema", detail))
            notes.skip("invariants", "the schema is another one")
            return 0, False
        notes.look("schema", f"at {found.current}")
        there = [one.lease for one in await workers.all_workers(connection) if one.status == "active"]
        lease = max(settings.lease, *there, timedelta()).total_seconds()
        terms = Terms(max(PATIENCE, 2 * lease), lease, settings.receipts)
        await examine_workers(connection, plans, terms.patience, notes)
        audited = await audit_database(connection, plans, self.ended, self.progress)
        names = Names(await installation.short_id(connection))
        watch = Watch(connection, self.streams, plans, names, terms, self.pause)
        notes.violations += [*audited.violations, *await watch.confirmed()]
        if self.streams is None:
            notes.skip("streams", "Redis cannot be used")
        elif watch.streams_failed is not None:
            notes.violations.append(Violation("server.redis", f"{self.streams.address}: {watch.streams_failed}"))
            notes.skip("streams", "Redis went away")
        return audited.runs, audited.whole
