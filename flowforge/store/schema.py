"""The version of the database schema: what it is, what the code needs, and how to get from one to the other.

Upgrades run under an advisory lock, so that ten workers that start at once upgrade once.
"""

from __future__ import annotations

import io
import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg
from psycopg.errors import LockNotAvailable

from flowforge.errors import Conflict, SchemaMismatch
from flowforge.store.database import SCHEMA, Connection, unavailable

if TYPE_CHECKING:
    from alembic.config import Config

#: The revision this code works with; the newest of flowforge_migrations.
HEAD = "0009"
#: Key of the advisory lock around upgrades.
LOCK = 0x666C_6F77_0001
#: How long a migration waits for a lock, how often it begins anew, and the pause between in seconds: a minute in all.
LOCK_TIMEOUT, LOCK_TRIES, LOCK_PAUSE = "2s", 20, 1.0


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
    """Migrate in one transaction; begin again when a lock is not to be had, so that nobody queues behind it for long.

    A statement that waits for an exclusive lock stops every query that comes after it: waiting behind somebody's long
    report would take the installation down with it.
    """
    from sqlalchemy.exc import OperationalError

    for left in reversed(range(LOCK_TRIES)):
        try:
            _transact(url, revision, down=down)
        except OperationalError as error:
            if not isinstance(error.orig, LockNotAvailable):
                raise unavailable(error.orig or error) from error
            if not left:
                raise Conflict(
                    f"the schema cannot be changed: other sessions hold its tables ({_first_line(error.orig)})",
                    hint="end long transactions (SELECT * FROM pg_stat_activity ORDER BY xact_start), then try again",
                ) from error
            time.sleep(random.uniform(0.5, 1.5) * LOCK_PAUSE)  # noqa: S311 - jitter
        else:
            return


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0]


def _transact(url: str, revision: str, *, down: bool) -> None:
    from alembic import command
    from sqlalchemy import create_engine, text
    from sqlalchemy.pool import NullPool

    def creator() -> psycopg.Connection[tuple[object, ...]]:
        options = f"-c search_path={SCHEMA} -c lock_timeout={LOCK_TIMEOUT}"
        try:
            return psycopg.connect(url, options=options, connect_timeout=5)
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
