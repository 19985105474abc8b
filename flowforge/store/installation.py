"""The identity of an installation: which database this is, whatever address it is reached by."""

from __future__ import annotations

from flowforge.store.database import Connection


async def short_id(connection: Connection) -> str:
    """Return the part of the installation's id that names its keys in Redis."""
    cursor = await connection.execute("SELECT left(id::text, 8) FROM installation")
    row = await cursor.fetchone()
    return str(row[0]) if row else "default"


async def full_id(connection: Connection) -> str:
    """Return the installation's whole id."""
    cursor = await connection.execute("SELECT id::text FROM installation")
    row = await cursor.fetchone()
    return str(row[0]) if row else "default"
