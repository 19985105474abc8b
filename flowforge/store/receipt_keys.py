"""The keys that receipts are signed with: every public one, and the private one unless it is kept elsewhere.

A unique index allows one private key, so workers that start together on a new installation end up with the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from flowforge.store.database import Connection

ACTIVE = "SELECT private_key FROM receipt_keys WHERE private_key IS NOT NULL"
KEEP = """
INSERT INTO receipt_keys (id, public_key, private_key) VALUES (%b::text, %b, %b) ON CONFLICT DO NOTHING
"""
RETIRE = "UPDATE receipt_keys SET private_key = NULL, retired_at = now() WHERE private_key IS NOT NULL"
ALL = """
SELECT id, public_key, private_key IS NOT NULL, created_at, retired_at FROM receipt_keys ORDER BY created_at DESC, id
"""


@dataclass(frozen=True, slots=True)
class KeyRow:
    """A key, without its private half."""

    id: str
    public_key: bytes
    #: Its private half lies in the database.
    kept: bool
    created_at: datetime
    retired_at: datetime | None


async def active(connection: Connection) -> bytes | None:
    """Return the private key that lies in the database; None when there is none yet."""
    row = await (await connection.cursor(binary=True).execute(ACTIVE)).fetchone()
    return None if row is None else bytes(row[0])


async def keep(connection: Connection, key_id: str, public_key: bytes, private_key: bytes | None = None) -> None:
    """Keep a key, unless it is known, or there is a private one already and this would be another."""
    await connection.cursor(binary=True).execute(KEEP, (key_id, public_key, private_key))


async def retire(connection: Connection) -> None:
    """Forget the private key; receipts it has signed can be verified for ever."""
    await connection.execute(RETIRE)


async def every(connection: Connection) -> list[KeyRow]:
    """Return every key, newest first."""
    cursor = await connection.cursor(binary=True).execute(ALL)
    return [KeyRow(*row) for row in await cursor.fetchall()]
