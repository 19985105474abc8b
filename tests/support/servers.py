"""One Postgres and one Valkey for a test session, and databases cloned from a migrated template."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
import pytest
import redis

from flowforge.errors import ServerStartError
from flowforge.local import Home, down, up
from flowforge.store import schema

#: Nothing here has to survive the machine.
POSTGRES = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "max_connections": "200"}
VALKEY = {"appendonly": "no"}


@dataclass(frozen=True, slots=True)
class Servers:
    """Where the session's servers are; the database is only there to create others from."""

    database_url: str
    redis_url: str

    def named(self, name: str) -> str:
        """Return the URL of another database on the same server."""
        return urlsplit(self.database_url)._replace(path=f"/{name}").geturl()

    def admin(self, statement: str) -> None:
        """Run a statement that allows no transaction around it."""
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            connection.execute(statement.encode())

    def copy(self, template: str) -> str:
        """Make a copy of a database; return its name."""
        name = f"fft_{uuid4().hex[:16]}"
        self.admin(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
        return name

    def drop(self, name: str) -> None:
        """Drop a database, whoever is still connected to it."""
        self.admin(f"DROP DATABASE {name} WITH (FORCE)")

    @contextmanager
    def installation(self, name: str) -> Iterator[str]:
        """Lend a migrated database as an installation of its own, with names of its own in Redis; yields its URL."""
        url = self.named(name)
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("UPDATE flowforge.installation SET id = gen_random_uuid()")
            row = connection.execute("SELECT left(id::text, 8) FROM flowforge.installation").fetchone()
        assert row is not None
        try:
            yield url
        finally:
            forget(self.redis_url, f"ff:{row[0]}:*")

    @contextmanager
    def empty(self) -> Iterator[str]:
        """Lend a database without any schema; yields its URL."""
        name = f"fft_{uuid4().hex[:16]}"
        self.admin(f"CREATE DATABASE {name}")
        try:
            yield self.named(name)
        finally:
            self.admin(f"DROP DATABASE {name} WITH (FORCE)")


class Stock:
    """Copies of a template, each made, and dropped, in the background while other tests run."""

    def __init__(self, servers: Servers, template: str) -> None:
        self._servers, self._template = servers, template
        self._maker = ThreadPoolExecutor(1)
        self._next = self._make()

    def _make(self) -> Future[str]:
        return self._maker.submit(self._servers.copy, self._template)

    @contextmanager
    def lend(self) -> Iterator[str]:
        """Lend an installation that nobody has used; yields the URL of its database."""
        taken, self._next = self._next, self._make()
        name = taken.result()
        try:
            with self._servers.installation(name) as url:
                yield url
        finally:
            self._maker.submit(self._servers.drop, name)

    def close(self) -> None:
        """Drop the copy that nobody took, once everything else is dropped."""
        self._maker.submit(self._servers.drop, self._next.result()).result()
        self._maker.shutdown()


def forget(redis_url: str, pattern: str) -> int:
    """Delete the keys of one installation, as FLUSHALL would, and leave those of others."""
    with redis.Redis.from_url(redis_url) as client:
        keys = list(client.scan_iter(match=pattern, count=1000))
        return int(client.delete(*keys)) if keys else 0


@contextmanager
def running() -> Iterator[Servers]:
    """Start servers, or use those of FLOWFORGE_TEST_DATABASE_URL and FLOWFORGE_TEST_REDIS_URL."""
    database_url = os.environ.get("FLOWFORGE_TEST_DATABASE_URL")
    redis_url = os.environ.get("FLOWFORGE_TEST_REDIS_URL")
    if database_url and redis_url:
        yield Servers(database_url, redis_url)
        return
    # A socket's path may have about 100 characters: pytest's own folders are too deep.
    folder = Path(tempfile.mkdtemp(prefix="fft-", dir="/tmp"))
    folder.chmod(0o755)
    home = Home(folder / "h")
    try:
        try:
            found = up(home, postgres=POSTGRES, valkey=VALKEY)
        except ServerStartError as error:
            if os.environ.get("CI"):
                raise
            pytest.skip(f"no servers: {error}")
        yield Servers(database_url or found.database_url, redis_url or found.redis_url)
    finally:
        down(home)
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def template(servers: Servers) -> Iterator[str]:
    """Make a migrated database to clone; yields its name."""
    name = f"fft_template_{uuid4().hex[:8]}"
    servers.admin(f"CREATE DATABASE {name}")
    try:
        schema.upgrade(servers.named(name))
        yield name
    finally:
        servers.admin(f"DROP DATABASE {name} WITH (FORCE)")
