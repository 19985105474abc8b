"""Incidents: what a person has to look at.

They are opened with the run that they are about (transitions.py). The same thing over and over is one incident that
counts; once resolved, the next time opens another.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from flowforge.model.aside import IncidentKind
from flowforge.model.documents import Incident
from flowforge.model.json import digest
from flowforge.store.database import Connection
from flowforge.store.rows import json_text

#: Those of an Incident document, in order.
_COLUMNS = "id, kind, workflow, run_id, step, error, count, first_seen, last_seen, resolved_at, resolved_by, resolution"

IDS = """
SELECT id FROM incidents
WHERE (%b::bool OR resolved_at IS NULL) AND (%b::text IS NULL OR workflow = %b::text)
  AND (%b::text IS NULL OR kind = %b::text)
ORDER BY (resolved_at IS NULL) DESC, last_seen DESC, id DESC LIMIT %b::int4
"""

SOME = f"SELECT {_COLUMNS} FROM incidents WHERE id = ANY(%b::int8[])"  # noqa: S608 - constants only

ONE = f"SELECT {_COLUMNS} FROM incidents WHERE id = %b::int8"  # noqa: S608 - constants only

RESOLVE = f"""
UPDATE incidents SET resolved_at = clock_timestamp(), resolved_by = %b::text, resolution = %b::text
WHERE id = %b::int8 AND resolved_at IS NULL RETURNING {_COLUMNS}
"""  # noqa: S608 - constants only

OPEN = """
INSERT INTO incidents (fingerprint, kind, workflow, run_id, step, error, count, first_seen, last_seen)
SELECT %b::text, %b::text, w.name, r.id, %b::text, %b::jsonb, 1, clock_timestamp(), clock_timestamp()
FROM runs r JOIN workflows w ON w.id = r.workflow_id WHERE r.id = %b::uuid
ON CONFLICT (fingerprint) WHERE resolved_at IS NULL DO UPDATE
SET count = incidents.count + 1, last_seen = excluded.last_seen, run_id = excluded.run_id, error = excluded.error
"""

#: Taken before anybody is told: a message that is lost with its worker is lost, one that comes twice is a nuisance.
TAKE = f"""
WITH taken AS MATERIALIZED (
    SELECT id FROM incidents WHERE notified_at IS NULL ORDER BY id LIMIT %b::int4 FOR UPDATE SKIP LOCKED
)
UPDATE incidents i SET notified_at = clock_timestamp() FROM taken WHERE i.id = taken.id
RETURNING {", ".join("i." + name.strip() for name in _COLUMNS.split(","))}
"""  # noqa: S608 - constants only


async def ids(
    connection: Connection,
    *,
    resolved: bool = False,
    workflow: str | None = None,
    kind: str | None = None,
    limit: int = 50,
) -> list[int]:
    """Return the numbers of incidents, open ones first, the latest first; resolved ones if asked for."""
    values = (resolved, workflow, workflow, kind, kind, limit)
    cursor = await connection.cursor(binary=True).execute(IDS, values)
    return [row[0] for row in await cursor.fetchall()]


async def by_ids(connection: Connection, numbers: Sequence[int]) -> dict[int, Incident]:
    """Return incidents by number."""
    cursor = await connection.cursor(binary=True).execute(SOME, (list(numbers),))
    return {row[0]: Incident(*row) for row in await cursor.fetchall()}


async def one(connection: Connection, number: int) -> Incident | None:
    """Return an incident."""
    return _first(await (await connection.cursor(binary=True).execute(ONE, (number,))).fetchall())


async def resolve(connection: Connection, number: int, actor: str, resolution: str | None) -> Incident | None:
    """Close an incident; None if it is closed already, or does not exist."""
    cursor = await connection.cursor(binary=True).execute(RESOLVE, (actor, resolution, number))
    return _first(await cursor.fetchall())


async def open_one(
    connection: Connection, kind: IncidentKind, run_id: UUID, step: str | None, error: dict[str, Any]
) -> None:
    """Open an incident about a run whose decision could not be written, or count it."""
    fingerprint = digest([kind, str(run_id), step, error["code"]])
    values = (fingerprint, kind, step, json_text(error), run_id)
    await connection.cursor(binary=True).execute(OPEN, values)


async def take_untold(connection: Connection, limit: int) -> list[Incident]:
    """Return incidents that nobody was told of, and note that somebody is."""
    cursor = await connection.cursor(binary=True).execute(TAKE, (limit,))
    return [Incident(*row) for row in await cursor.fetchall()]


def _first(rows: Sequence[Any]) -> Incident | None:
    return Incident(*rows[0]) if rows else None
