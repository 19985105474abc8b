"""Which queues there are: nobody declares one, steps and workers name them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flowforge.store.database import Connection

#: Of workers that are there or were lately, of published steps, of dispatches, and of what is held.
KNOWN = r"""
SELECT unnest(queues) FROM workers
UNION
SELECT queue #>> '{}'
FROM workflow_versions, jsonb_path_query(definition, 'lax $.**.queue ? (@.type() == "string")') AS queue
WHERE status <> 'draft'
UNION
SELECT regexp_replace(lane, '\.python$', '') FROM (SELECT DISTINCT lane FROM outbox) AS lanes
UNION
SELECT name FROM pauses WHERE kind = 'queue' AND resumed_at IS NULL
"""


async def known(connection: Connection) -> set[str]:
    """Return the names of all queues that something names."""
    cursor = await connection.execute(KNOWN)
    return {row[0] for row in await cursor.fetchall() if row[0]}
