"""Where everything is measured: the embedded servers in a new home, and a new database for every measure.

The servers have the settings that every installation gets. Two measures add to them for as long as they last: `gate`
lets Postgres remember when each transaction committed, and `idle` and `statements` let it log what it is asked.

Statements are counted in that log, where Postgres notes each one that it executes, whoever sent it and in whichever
protocol: the embedded build has no pg_stat_statements, pg_stat_activity sees only what it happens to catch, and
pg_stat_database counts transactions. Nothing stands between the measured processes and the server.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import redis

from flowforge.local import Home, down, status, up
from flowforge_cli import accounting

#: The database of an embedded installation.
DATABASE = "flowforge"

COUNTERS = """
SELECT pg_current_wal_insert_lsn() - '0/0', tup_inserted + tup_updated + tup_deleted, xact_commit, xact_rollback
FROM pg_stat_database WHERE datname = %s
"""
#: How Postgres logs a statement of the simple and of the extended protocol.
STATEMENT = re.compile(rb"LOG:  (statement|execute [^:]*): ")
SETTINGS = """
SELECT name, current_setting(name) FROM pg_settings
WHERE source = 'command line' AND category NOT IN ('File Locations', 'Preset Options')
  AND category NOT LIKE 'Connections%%' AND category NOT LIKE 'Reporting%%' AND category NOT LIKE 'Client%%'
ORDER BY name
"""
STREAM_SETTINGS = ("appendonly", "appendfsync", "save", "maxmemory-policy", "io-threads")


@dataclass(frozen=True, slots=True)
class Place:
    """The servers, and how to use them from outside."""

    home: Path
    database_url: str
    redis_url: str
    #: Processor seconds of servers that were replaced.
    spent: list[float] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        """The environment of whatever is measured: nobody's settings, and byte code kept as usual."""
        own = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("FLOWFORGE_", "DBOS_", "CELERY_")) and name != "PYTHONDONTWRITEBYTECODE"
        }
        return own | {"FLOWFORGE_HOME": str(self.home), "XDG_CONFIG_HOME": str(self.home / "config"), "NO_COLOR": "1"}

    def url(self, database: str) -> str:
        """Return the URL of a database on the server."""
        return urlsplit(self.database_url)._replace(path=f"/{database}").geturl()

    def connect(self, database: str = DATABASE) -> psycopg.Connection[tuple[Any, ...]]:
        """Connect to a database, in autocommit mode."""
        return psycopg.connect(self.url(database), autocommit=True, options=f"-c search_path={DATABASE},public")

    def _rows(self, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Ask from another database, so that the question does not count."""
        with self.connect("postgres") as connection:
            return connection.execute(query.encode(), parameters).fetchall()

    def renew(self, database: str = DATABASE) -> str:
        """Replace a database by an empty one, empty the streams, and leave no debts of what was measured before."""
        with self.connect("postgres") as connection:
            connection.execute(f"DROP DATABASE IF EXISTS {database} WITH (FORCE)".encode())
            connection.execute(f"CREATE DATABASE {database}".encode())
            connection.execute("CHECKPOINT")
        with redis.Redis.from_url(self.redis_url) as client:
            client.flushall()
        return self.url(database)

    def counters(self) -> dict[str, float]:
        """Return what the servers have counted so far."""
        (wal, rows, commits, rollbacks), *_ = self._rows(COUNTERS, DATABASE) or [(0, 0, 0, 0)]
        with redis.Redis.from_url(self.redis_url) as client:
            info = client.info("stats")
        return {
            "wal_bytes": float(wal),
            "rows": float(rows),
            "commits": float(commits),
            "rollbacks": float(rollbacks),
            "stream_commands": float(info["total_commands_processed"]),
            "stream_bytes": float(info["total_net_input_bytes"] + info["total_net_output_bytes"]),
        }

    def gigabytes(self) -> float:
        """Return the size of the database."""
        ((size,),) = self._rows("SELECT pg_database_size(%s)", DATABASE)
        return float(size) / 1e9

    def log_statements(self) -> None:
        """Let Postgres log every statement that new connections send; until the database is renewed."""
        with self.connect("postgres") as connection:
            for setting in ("log_statement = 'all'", "log_parameter_max_length = 0"):
                connection.execute(f"ALTER DATABASE {DATABASE} SET {setting}".encode())

    def statements(self) -> int:
        """Return how many statements were logged so far."""
        return len(STATEMENT.findall(Home(self.home).log("postgres").read_bytes()))

    def processes(self) -> dict[str, int]:
        """Return the process of each server."""
        found = status(Home(self.home))
        return {name: one.pid for name, one in (("postgres", found.postgres), ("streams", found.valkey)) if one.pid}

    def server_seconds(self) -> dict[str, float]:
        """Return the processor time of each server so far, and of those that they replaced."""
        now = accounting.Meter({name: (pid,) for name, pid in self.processes().items()}).read()
        return now | {"replaced": sum(self.spent)}

    @contextmanager
    def remembering_commits(self) -> Iterator[None]:
        """Let Postgres remember when each transaction committed."""
        self._restart({"track_commit_timestamp": "on"})
        try:
            yield
        finally:
            self._restart({})

    def _restart(self, postgres: Mapping[str, str]) -> None:
        self.spent.append(sum(self.server_seconds().values()) - sum(self.spent))
        down(Home(self.home))
        up(Home(self.home), postgres=postgres)

    def versions(self) -> dict[str, str]:
        """Return the versions of the servers."""
        found = status(Home(self.home))
        return {"postgres": found.postgres.version or "?", "valkey": found.valkey.version or "?"}

    def settings(self) -> dict[str, dict[str, str]]:
        """Return the settings of the servers that are not their programs' defaults."""
        with redis.Redis.from_url(self.redis_url, decode_responses=True) as client:
            streams = client.config_get(*STREAM_SETTINGS)
        return {"postgres": dict(self._rows(SETTINGS)), "valkey": {name: str(streams[name]) for name in streams}}


@contextmanager
def opened() -> Iterator[Place]:
    """Start servers in a new home; they are stopped, and the home is removed, with the block."""
    # A socket's path may have about 100 characters, and the servers' account has to pass through.
    folder = Path(tempfile.mkdtemp(prefix="bench-", dir="/tmp" if sys.platform == "linux" else None))
    folder.chmod(0o755)
    home = Home(folder / "h")
    try:
        found = up(home)
        yield Place(home.path, found.database_url, found.redis_url)
    finally:
        down(home)
        shutil.rmtree(folder, ignore_errors=True)
