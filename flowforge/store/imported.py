"""Runs of other installations that are kept to be looked at; nothing that moves runs ever reads them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from flowforge.model.documents import rfc3339
from flowforge.store.database import Connection

#: What was looked at later knows more.
KEEP = """
INSERT INTO imported_runs AS kept
    (id, workflow, version, status, created_at, finished_at, exported_at, imported_by, capsule)
VALUES (%b::uuid, %b::text, %b::int4, %b::text, %b::timestamptz, %b::timestamptz, %b::timestamptz, %b::text, %b::bytea)
ON CONFLICT (id) DO UPDATE
SET status = excluded.status, version = excluded.version, finished_at = excluded.finished_at,
    exported_at = excluded.exported_at, imported_at = excluded.imported_at, imported_by = excluded.imported_by,
    capsule = excluded.capsule
WHERE kept.exported_at <= excluded.exported_at
"""

IDS = "SELECT id FROM imported_runs ORDER BY imported_at DESC, id LIMIT %b::int4"
SOME = """
SELECT id, workflow, version, status, created_at, finished_at, exported_at, imported_at, imported_by
FROM imported_runs WHERE id = ANY(%b::uuid[])
"""
CAPSULE = "SELECT capsule FROM imported_runs WHERE id = %b::uuid"
OURS = "SELECT id FROM runs WHERE id = ANY(%b::uuid[])"
AMONG = "SELECT id FROM imported_runs WHERE id = ANY(%b::uuid[])"
FORGET = "DELETE FROM imported_runs WHERE id = %b::uuid"
#: There are never many.
MATCHING = """
SELECT id FROM imported_runs WHERE replace(id::text, '-', '') LIKE %b::text
OR replace(id::text, '-', '') LIKE %b::text ORDER BY id LIMIT 6
"""


@dataclass(frozen=True, slots=True)
class Imported:
    """A run of another installation, without its capsule; the fields are the columns of its row."""

    id: UUID
    workflow: str
    version: int
    status: str
    created_at: datetime
    finished_at: datetime | None
    exported_at: datetime
    imported_at: datetime
    imported_by: str

    def document(self) -> dict[str, Any]:
        """Return the element of `flowforge/imported/v1`."""
        return {
            "id": str(self.id),
            "workflow": self.workflow,
            "version": self.version,
            "status": self.status,
            "created_at": rfc3339(self.created_at),
            "finished_at": rfc3339(self.finished_at),
            "exported_at": rfc3339(self.exported_at),
            "imported_at": rfc3339(self.imported_at),
            "imported_by": self.imported_by,
        }


async def keep(connection: Connection, row: Sequence[Any]) -> None:
    """Keep a run: id, workflow, version, status, times of creation, end and export, who, and the capsule's bytes."""
    await connection.cursor(binary=True).execute(KEEP, tuple(row))


async def ours(connection: Connection, run_ids: Sequence[UUID]) -> list[UUID]:
    """Return those of some runs that are this installation's own."""
    cursor = await connection.cursor(binary=True).execute(OURS, (list(run_ids),))
    return [row[0] for row in await cursor.fetchall()]


async def ids(connection: Connection, limit: int | None) -> list[UUID]:
    """Return the ids of what was imported, the latest first; all of them without a limit."""
    cursor = await connection.cursor(binary=True).execute(IDS, (limit,))
    return [row[0] for row in await cursor.fetchall()]


async def by_ids(connection: Connection, run_ids: Sequence[UUID]) -> dict[UUID, Imported]:
    """Return imported runs by id."""
    cursor = await connection.cursor(binary=True).execute(SOME, (list(run_ids),))
    return {row[0]: Imported(*row) for row in await cursor.fetchall()}


async def capsule(connection: Connection, run_id: UUID) -> bytes | None:
    """Return the capsule of an imported run, as its file holds it."""
    row = await (await connection.cursor(binary=True).execute(CAPSULE, (run_id,))).fetchone()
    return None if row is None else bytes(row[0])


async def among(connection: Connection, run_ids: Sequence[UUID]) -> list[UUID]:
    """Return those of some runs that were imported."""
    cursor = await connection.cursor(binary=True).execute(AMONG, (list(run_ids),))
    return [row[0] for row in await cursor.fetchall()]


async def matching(connection: Connection, digits: str) -> list[UUID]:
    """Return up to six imported runs whose id begins or ends with some digits."""
    cursor = await connection.cursor(binary=True).execute(MATCHING, (f"{digits}%", f"%{digits}"))
    return [row[0] for row in await cursor.fetchall()]


async def forget(connection: Connection, run_id: UUID) -> bool:
    """Delete an imported run; say whether it was there."""
    return (await connection.cursor(binary=True).execute(FORGET, (run_id,))).rowcount > 0
