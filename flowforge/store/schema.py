"""The version of the database schema: what it is, what the code needs, and how to get from one to the other.

Upgrades run under an advisory lock, so that ten workers that start at once upgrade once.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg

from flowforge.errors import SchemaMismatch
from flowforge.store.database import SCHEMA, Connection, unavailable

if TYPE_CHECKING:
    from alembic.config import Config

#: The revision this code works with; the newest of flowforge_migrations.
HEAD = "0002"
#: Key of the advisory lock around upgrades.
LOCK = 0x666C_6F77_0001


@dataclass(frozen=True, slots=True)
class SchemaStatus:
    """What a database has, and what the code wants."""

    current: str | None
    head: str

    @property
    def ready(self) -> bool:
        """Whether the code can work with the database."""
        return self.current == self.head


async def status(connection: Connection) -> SchemaStatus:
    """Return the schema's version."""
    cursor = await connection.execute("SELECT to_regclass(%s)", (f"{SCHEMA}.alembic_version",))
    row = await cursor.fetchone()
    if row is None or row[0] is None:
        return SchemaStatus(None, HEAD)
    cursor = await connection.execute(f"SELECT version_num FROM {SCHEMA}.alembic_version")  # noqa: S608
    row = await cursor.fetchone()
    return SchemaStatus(row[0] if row else None, HEAD)


async def require(connection: Connection) -> None:
    """Raise SchemaMismatch unless the code can work with the database."""
    found = await status(connection)
    if found.ready:
        return
    if found.current is None:
        raise SchemaMismatch("this database has no FlowForge schema yet", hint="create it: flowforge db upgrade")
    if found.current < found.head:
        raise SchemaMismatch(
            f"the database schema is at {found.current}, this FlowForge needs {found.head}",
            hint="bring it up to date: flowforge db upgrade",
        )
    raise SchemaMismatch(
        f"the database schema is at {found.current}, newer than this FlowForge, which knows {found.head}",
        hint="install the FlowForge release that made it, or newer",
    )


def upgrade(url: str, revision: str = "head") -> None:
    """Bring the database to a revision; safe to call from many processes at once."""
    _migrate(url, revision, down=False)


def downgrade(url: str, revision: str) -> None:
    """Take the database back to a revision; `base` removes everything, with all data."""
    _migrate(url, revision, down=True)


def upgrade_sql() -> str:
    """Return the SQL that an upgrade of an empty database would run."""
    from alembic import command

    config = _config()
    buffer = io.StringIO()
    config.output_buffer = buffer
    command.upgrade(config, "head", sql=True)
    return f"CREATE SCHEMA IF NOT EXISTS {SCHEMA};\nSET search_path = {SCHEMA};\n\n{buffer.getvalue()}"


def _config() -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", "flowforge_migrations:")
    config.set_main_option("path_separator", "os")
    return config


def _migrate(url: str, revision: str, *, down: bool) -> None:
    from alembic import command
    from sqlalchemy import create_engine, text
    from sqlalchemy.pool import NullPool

    def creator() -> psycopg.Connection[tuple[object, ...]]:
        try:
            return psycopg.connect(url, options=f"-c search_path={SCHEMA} -c lock_timeout=10s", connect_timeout=5)
        except psycopg.Error as error:
            raise unavailable(error) from error

    engine = create_engine("postgresql+psycopg://", creator=creator, poolclass=NullPool)
    with engine.begin() as connection:
        # Held until the commit: whoever waits here finds the work done.
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK})
        connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}"))
        config = _config()
        config.attributes["connection"] = connection
        (command.downgrade if down else command.upgrade)(config, revision)
    engine.dispose()
