"""Servers that are away, and databases that do not fit: exit code 4, one line, and no harm."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from flowforge.local.binaries import find_valkey
from tests.acceptance.conftest import SHORT
from tests.acceptance.kit.installation import Installation
from tests.acceptance.kit.person import Operator
from tests.acceptance.kit.workers import WorkerProcess
from tests.support.eventually import eventually_sync
from tests.support.sql import Sql

COMMANDS = (("run", "x"), ("worker", "start"), ("db", "status"))


@pytest.fixture
def database(installation: Installation) -> Iterator[str]:
    """The URL of a new, empty database."""
    name = f"ffa_{uuid4().hex[:10]}"

    def admin(statement: str) -> None:
        with psycopg.connect(installation.database_url, autocommit=True) as connection:
            connection.execute(statement.encode())

    admin(f"CREATE DATABASE {name}")
    yield installation.database_url.replace("/flowforge?", f"/{name}?")
    admin(f"DROP DATABASE {name} WITH (FORCE)")


@contextmanager
def valkey(socket: Path) -> Iterator[None]:
    """Run a Valkey of the test's own."""
    where = ["--port", "0", "--unixsocket", str(socket), "--save", "", "--dir", str(socket.parent)]
    command = [str(find_valkey().path), *where]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            yield
        finally:
            server.terminate()
            server.wait()
            socket.unlink(missing_ok=True)


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_without_postgres_every_command_says_so(operator: Operator, words: tuple[str, ...]):
    """Exit code 4, and the address without its password."""
    url = "postgresql://nobody:topsecret@127.0.0.1:1/none"
    result = operator.shell.type(*words, code=4, database_url=url, redis_url=operator.installation.redis_url)
    assert "Traceback" not in result.err
    assert "error" in result.err
    assert "topsecret" not in result.err + result.out


def test_a_run_can_be_started_while_redis_is_away(operator: Operator, worker: WorkerProcess):
    """Accepted means committed: the run is in Postgres, and whoever has Redis goes on with it."""
    flow = operator.flow('steps: [{id: a, type: http, config: {url: "@sink/a"}}]\n')
    where = {"database_url": operator.installation.database_url, "redis_url": "redis://127.0.0.1:1"}
    result = operator.shell.in_(**where).type("run", str(flow), "--json")
    run = result.document["id"]
    assert "Traceback" not in result.err
    (document,) = operator.wait(run)
    assert document["status"] == "completed"
    assert worker.process.poll() is None


@pytest.mark.thorough
def test_a_worker_waits_for_redis_and_goes_on_when_it_comes(operator: Operator, database: str, tmp_path: Path):
    """Started without Redis it neither ends nor spins; what was accepted meanwhile completes when Redis is there."""
    # A socket's path may have about 100 characters: the test's own folder is too deep.
    socket = operator.installation.folder / f"{operator.queue}.sock"
    where = {"database_url": database, "redis_url": f"unix://{socket}?db=0", "allow_loopback": "true"}
    shell = operator.shell.in_(**where)
    shell.type("db", "upgrade")
    flow = operator.flow("""
        steps:
          - {id: a, type: http, config: {url: "@sink/a"}}
          - {id: b, type: python, depends_on: a, config: {function: "os:getpid"}}
    """)
    one = WorkerProcess(shell, tmp_path / "waits.log", database, **SHORT)
    try:
        one.ready()
        run = shell.type("run", str(flow), "--json").document["id"]
        eventually_sync(lambda: "waits" in one.said, what="the worker says that it waits")
        with valkey(socket):
            assert shell.type("wait", run, "--json", "--timeout", "90s").document["status"] == "completed"
            one.stop()
    finally:
        one.abandon()
    assert len(operator.effects.calls("a")) == 1


@pytest.mark.parametrize(
    ("version", "words"),
    [
        ("9999", ("9999", "newer", "install")),
        ("0000", ("0000", "flowforge db upgrade")),
        (None, ("no flowforge schema", "flowforge db upgrade")),
    ],
    ids=["newer", "older", "none"],
)
def test_a_database_that_does_not_fit_the_code_is_left_alone(
    operator: Operator, database: str, version: str | None, words: tuple[str, ...]
):
    """Exit code 4 for client and worker, saying which is older and what to do."""
    shell = operator.shell.in_(database_url=database, redis_url=operator.installation.redis_url)
    if version is not None:
        shell.type("db", "upgrade")
        sql = Sql(database)
        sql.do("UPDATE alembic_version SET version_num = %s", version)
        sql.close()
    flow = operator.flow('steps: [{id: a, type: transform, config: {expression: "1"}}]\n')
    shell.type("ps", code=4).refused(*words)
    shell.type("run", str(flow), code=4).refused(*words)
    assert "Traceback" not in shell.type("worker", "start", code=4).err


def test_an_upgrade_makes_a_database_usable_and_says_where_it_stands(operator: Operator, database: str):
    """`db upgrade` twice, then a run in it: the second upgrade has nothing to do."""
    shell = operator.shell.in_(database_url=database, redis_url=operator.installation.redis_url)
    shell.type("db", "upgrade")
    shell.type("db", "upgrade")
    assert shell.type("db", "status", "--json").document["current"]
    flow = operator.flow('steps: [{id: a, type: transform, config: {expression: "1"}}]\n')
    assert shell.type("run", str(flow), "--wait", "--json").document["status"] == "completed"


def test_with_both_urls_set_nothing_embedded_is_started(operator: Operator, tmp_path: Path):
    """A home that is not needed is not even created, and no server runs that was not running before."""
    home = tmp_path / "unused"
    where = {"database_url": operator.installation.database_url, "redis_url": operator.installation.redis_url}
    shell = operator.shell.in_(home=str(home), **where)
    flow = operator.flow('steps: [{id: a, type: transform, config: {expression: "1"}}]\n')
    assert shell.type("run", str(flow), "--wait", "--json").document["status"] == "completed"
    shell.type("up")
    shell.type("ps")
    assert not home.exists()
    status = shell.type("status", "--json").document
    assert not any(server["embedded"] for server in status["servers"])
    assert "embedded" in shell.type("down", code=None).err or not home.exists()
    assert operator.installation.pid("postgres")


def test_loopback_is_refused_where_the_servers_are_not_embedded(operator: Operator, database: str):
    """A configured installation does not let http steps call this machine unless it is told to."""
    where = {"database_url": database, "redis_url": operator.installation.redis_url}
    shell = operator.shell.in_(**where)
    shell.type("db", "upgrade")
    flow = operator.flow('steps: [{id: a, type: http, config: {url: "@sink/a"}}]\n')
    result = shell.type("run", str(flow), "--wait", "--json", code=5)
    assert result.document["error"]["code"] == "ADDRESS_REFUSED"
    assert not operator.effects.calls()
