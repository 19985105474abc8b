"""Workflows and their versions: drafts that can change, published versions that never do.

A published version is found again by its digest, so publishing the same content twice is a no-op. Publishing is
serialised by the workflow's row.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.rows import TupleRow

from flowforge.store.database import Connection
from flowforge.store.rows import columns

_COLUMNS = """v.id, w.id, w.name, v.version, v.status::text, v.digest, v.created_at, v.published_at, v.archived_at"""
_FROM = "FROM workflow_versions v JOIN workflows w ON w.id = v.workflow_id"

#: The update takes the row's lock also when the workflow exists, which serialises versions of one workflow.
ENSURE = """
INSERT INTO workflows (name) VALUES (%b::text) ON CONFLICT (name) DO UPDATE SET name = excluded.name RETURNING id
"""

INSERT = """
INSERT INTO workflow_versions (workflow_id, version, status, digest, definition, published_at)
SELECT %b::int8, coalesce(max(version), 0) + 1, %b::text::version_status, %b::text, %b::text::jsonb,
       CASE WHEN %b::text = 'draft' THEN NULL ELSE now() END
FROM workflow_versions WHERE workflow_id = %b::int8
RETURNING id
"""

INSERT_STEPS = """
INSERT INTO workflow_steps (version_id, step_no, step_id, name, type)
SELECT %b::int8, u.* FROM unnest(%b::int4[], %b::text[], %b::text[], %b::text[]) AS u
"""

#: The last run is the last one of this workflow or one before it, and then none of this one. Asked for as the newest
#: with `workflow_id = w.id`, the planner walks back through the runs of all workflows until it meets one.
SUMMARIES = """
SELECT w.id, w.name, count(*), max(v.version) FILTER (WHERE v.status = 'published'),
       max(v.version) FILTER (WHERE v.status = 'draft'), bool_and(v.status = 'archived'),
       (SELECT count(*) FROM runs r WHERE r.workflow_id = w.id AND r.finished_at IS NULL),
       (SELECT CASE WHEN r.workflow_id = w.id THEN r.created_at END FROM runs r
        WHERE r.workflow_id <= w.id ORDER BY r.workflow_id DESC, r.id DESC LIMIT 1)
FROM workflows w JOIN workflow_versions v ON v.workflow_id = w.id WHERE w.id = ANY(%b::int8[]) GROUP BY w.id
"""


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a workflow, without its definition."""

    id: int
    workflow_id: int
    workflow: str
    version: int
    status: str
    digest: str
    created_at: datetime
    published_at: datetime | None
    archived_at: datetime | None


@dataclass(frozen=True, slots=True)
class WorkflowSummary:
    """A workflow with its newest version and how much it is used."""

    name: str
    versions: int
    latest: int | None
    draft: int | None
    archived: bool
    active_runs: int
    last_run_at: datetime | None


async def ensure(connection: Connection, name: str) -> int:
    """Return the id of the workflow with this name, locked; create it if needed."""
    cursor = await connection.cursor(binary=True).execute(ENSURE, (name,))
    row = await cursor.fetchone()
    assert row is not None
    workflow_id: int = row[0]
    return workflow_id


async def latest(connection: Connection, name: str, *, status: str = "published") -> Version | None:
    """Return the newest version of a workflow that has *status*."""
    query = f"SELECT {_COLUMNS} {_FROM} WHERE w.name = %b AND v.status = %b::text::version_status "
    return await _one(connection, query + "ORDER BY v.version DESC LIMIT 1", (name, status))


async def numbered(connection: Connection, name: str, version: int) -> Version | None:
    """Return one version of a workflow."""
    query = f"SELECT {_COLUMNS} {_FROM} WHERE w.name = %b AND v.version = %b::int4"
    return await _one(connection, query, (name, version))


async def by_id(connection: Connection, version_id: int) -> Version | None:
    """Return a version by its row's id."""
    return await _one(connection, f"SELECT {_COLUMNS} {_FROM} WHERE v.id = %b::int8", (version_id,))


async def newest(connection: Connection, name: str) -> Version | None:
    """Return the newest published version of a workflow, else the newest."""
    query = f"SELECT {_COLUMNS} {_FROM} WHERE w.name = %b ORDER BY v.status = 'published' DESC, v.version DESC LIMIT 1"
    return await _one(connection, query, (name,))


async def version_ids(connection: Connection, name: str) -> list[int]:
    """Return the ids of every version of a workflow, newest first."""
    cursor = await connection.execute(f"SELECT v.id {_FROM} WHERE w.name = %s ORDER BY v.version DESC", (name,))
    return [row[0] for row in await cursor.fetchall()]


async def version_numbers(connection: Connection, name: str, limit: int) -> list[int]:
    """Return the numbers of the newest versions of a workflow, newest first."""
    query = f"SELECT v.version {_FROM} WHERE w.name = %s ORDER BY v.version DESC LIMIT %s"
    return [row[0] for row in await (await connection.execute(query, (name, limit))).fetchall()]


async def by_ids(connection: Connection, version_ids: Sequence[int]) -> dict[int, Version]:
    """Return versions by their rows' ids."""
    query = f"SELECT {_COLUMNS} {_FROM} WHERE v.id = ANY(%b::int8[])"
    cursor = await connection.cursor(binary=True).execute(query, (list(version_ids),))
    return {row[0]: Version(*row) for row in await cursor.fetchall()}


async def versions(connection: Connection, name: str) -> list[Version]:
    """Return every version of a workflow, newest first."""
    query = f"SELECT {_COLUMNS} {_FROM} WHERE w.name = %b ORDER BY v.version DESC"
    cursor = await connection.cursor(binary=True).execute(query, (name,))
    return [Version(*row) for row in await cursor.fetchall()]


async def definition(connection: Connection, version_id: int) -> dict[str, Any]:
    """Return a version's canonical definition."""
    query = "SELECT definition FROM workflow_versions WHERE id = %b::int8"
    row = await (await connection.cursor(binary=True).execute(query, (version_id,))).fetchone()
    if row is None:
        raise LookupError(version_id)
    found: dict[str, Any] = row[0]
    return found


async def insert(
    connection: Connection,
    workflow_id: int,
    definition: dict[str, Any],
    digest: str,
    steps: list[tuple[int, str, str, str]],
    *,
    status: str,
) -> int:
    """Add a version with the next number; *steps* are (number, id, name, type). The workflow must be locked."""
    text = json.dumps(definition, ensure_ascii=False)
    cursor = connection.cursor(binary=True)
    await cursor.execute(INSERT, (workflow_id, status, digest, text, status, workflow_id))
    row = await cursor.fetchone()
    assert row is not None
    version_id: int = row[0]
    await cursor.execute(INSERT_STEPS, [version_id, *columns(steps)])
    return version_id


async def drop_draft(connection: Connection, workflow_id: int) -> None:
    """Delete the draft of a locked workflow, if it has one."""
    query = "DELETE FROM workflow_versions WHERE workflow_id = %b::int8 AND status = 'draft'"
    await connection.execute(query, (workflow_id,))


async def publish_draft(connection: Connection, version_id: int) -> None:
    """Turn a draft into a published version."""
    query = "UPDATE workflow_versions SET status = 'published', published_at = now() WHERE id = %b::int8"
    await connection.execute(query, (version_id,))


async def archive(connection: Connection, version_ids: list[int]) -> None:
    """Archive versions: their runs go on, new ones cannot start."""
    query = """UPDATE workflow_versions SET status = 'archived', archived_at = now()
               WHERE id = ANY(%b::int8[]) AND status = 'published'"""
    await connection.execute(query, (version_ids,))


async def ids(connection: Connection) -> list[int]:
    """Return the ids of all workflows, in the order of their names."""
    cursor = await connection.execute("SELECT id FROM workflows ORDER BY name")
    return [row[0] for row in await cursor.fetchall()]


async def summaries(connection: Connection, workflow_ids: Sequence[int]) -> dict[int, WorkflowSummary]:
    """Return workflows by id."""
    cursor = await connection.cursor(binary=True).execute(SUMMARIES, (list(workflow_ids),))
    return {row[0]: WorkflowSummary(*row[1:]) for row in await cursor.fetchall()}


async def names(connection: Connection) -> list[str]:
    """Return the names of all workflows."""
    cursor = await connection.execute("SELECT name FROM workflows ORDER BY name")
    return [row[0] for row in await cursor.fetchall()]


async def _one(connection: Connection, query: str, parameters: tuple[Any, ...]) -> Version | None:
    cursor = connection.cursor(binary=True)
    row: TupleRow | None = await (await cursor.execute(query, parameters)).fetchone()
    return None if row is None else Version(*row)
