"""The schema's versions: up, down, from many processes at once, and what is said when they do not match."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from flowforge.engine.engine import Endpoints, Engine
from flowforge.errors import Conflict, DatabaseUnavailable, SchemaMismatch
from flowforge.settings import Settings
from flowforge.store import parts, schema
from flowforge.store.database import connect
from tests.support.eventually import eventually


@pytest.fixture
def empty(session_servers) -> Iterator[str]:
    """The URL of a database without any schema."""
    with session_servers.empty() as url:
        yield url


async def status(url: str) -> schema.SchemaStatus:
    """Return what a database has."""
    connection = await connect(url)
    try:
        return await schema.status(connection)
    finally:
        await connection.close()


async def require(url: str) -> None:
    """Ask whether the code can work with a database."""
    connection = await connect(url)
    try:
        await schema.require(connection)
    finally:
        await connection.close()


def ask(url: str, query: str, *parameters: object) -> list[tuple[Any, ...]]:
    """Run one query."""
    with psycopg.connect(url, autocommit=True) as connection:
        return connection.execute(query.encode(), parameters or None).fetchall()


def tables(url: str) -> set[str]:
    """Return the names of what lies in the schema."""
    return {
        row[0] for row in ask(url, "SELECT relname FROM pg_class WHERE relnamespace::regnamespace::text = 'flowforge'")
    }


def shape(url: str) -> list[tuple[Any, ...]]:
    """Return every column, constraint, index and enum value of the schema."""
    queries = (
        """SELECT table_name, column_name, data_type, is_nullable, column_default FROM information_schema.columns
           WHERE table_schema = 'flowforge' AND table_name <> 'alembic_version' ORDER BY 1, 2""",
        """SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
           WHERE connamespace::regnamespace::text = 'flowforge' ORDER BY 1, 2""",
        "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'flowforge' ORDER BY 1",
        "SELECT enumtypid::regtype::text, enumlabel FROM pg_enum ORDER BY 1, enumsortorder",
    )
    return [row for query in queries for row in ask(url, query)]


async def test_an_empty_database_is_brought_to_the_newest_version(empty: str):
    """And a second upgrade changes nothing."""
    assert (await status(empty)).current is None
    schema.upgrade(empty)
    found = await status(empty)
    assert (found.current, found.ready) == (schema.HEAD, True)
    before = shape(empty)
    installation = ask(empty, "SELECT id FROM flowforge.installation")
    schema.upgrade(empty)
    assert shape(empty) == before
    assert ask(empty, "SELECT id FROM flowforge.installation") == installation
    await require(empty)


async def test_the_version_the_code_knows_is_the_newest_there_is():
    """HEAD is written by hand, so that looking needs no Alembic."""
    from alembic.script import ScriptDirectory

    assert ScriptDirectory.from_config(schema._config()).get_heads() == [schema.HEAD]


async def test_a_downgrade_to_base_removes_everything_and_can_be_undone(empty: str):
    """No table, type or view is left behind."""
    schema.upgrade(empty)
    before = shape(empty)
    schema.downgrade(empty, "base")
    assert tables(empty) <= {"alembic_version", "alembic_version_pkc"}
    assert (
        ask(empty, "SELECT typname FROM pg_type WHERE typnamespace::regnamespace::text = 'flowforge' AND typtype = 'e'")
        == []
    )
    found = await status(empty)
    assert (found.current, found.ready) == (None, False)
    schema.upgrade(empty)
    assert shape(empty) == before


async def test_five_processes_that_upgrade_at_once_upgrade_once(empty: str):
    """The others wait for the lock and find the work done."""
    code = "import sys; from flowforge.store import schema; schema.upgrade(sys.argv[1])"
    processes = [
        await asyncio.create_subprocess_exec(sys.executable, "-c", code, empty, stderr=asyncio.subprocess.PIPE)
        for _ in range(5)
    ]
    for process in processes:
        _, errors = await process.communicate()
        assert process.returncode == 0, errors.decode()
    assert (await status(empty)).ready
    assert len(ask(empty, "SELECT * FROM flowforge.installation")) == 1


async def test_an_upgrade_that_fails_leaves_nothing_half_done(empty: str):
    """All of it is one transaction."""
    with psycopg.connect(empty, autocommit=True) as connection:
        connection.execute("CREATE SCHEMA flowforge")
        connection.execute("CREATE TABLE flowforge.outbox (in_the_way int)")
    with pytest.raises(Exception, match="outbox"):
        schema.upgrade(empty)
    assert tables(empty) == {"outbox"}
    assert (await status(empty)).current is None


async def test_a_database_without_a_schema_is_refused_with_the_remedy(empty: str):
    """The hint is the command."""
    with pytest.raises(SchemaMismatch, match="no FlowForge schema") as caught:
        await require(empty)
    assert "flowforge db upgrade" in (caught.value.hint or "")


@pytest.mark.parametrize(("version", "says", "hint"), [("0000", "needs", "db upgrade"), ("9999", "newer", "release")])
async def test_an_older_or_newer_schema_is_refused_with_both_versions(empty: str, version: str, says: str, hint: str):
    """Which one is there, which one is needed, and what to do."""
    schema.upgrade(empty)
    with psycopg.connect(empty, autocommit=True) as connection:
        connection.execute("UPDATE flowforge.alembic_version SET version_num = %s", (version,))
    with pytest.raises(SchemaMismatch, match=says) as caught:
        await require(empty)
    assert version in caught.value.message
    assert schema.HEAD in caught.value.message
    assert hint in (caught.value.hint or "")
    found = await status(empty)
    assert (found.current, found.ready) == (version, False)


async def test_an_engine_does_not_open_on_a_schema_that_does_not_fit(empty: str, session_servers):
    """And leaves no connection behind."""
    engine = Engine(Endpoints(empty, session_servers.redis_url), Settings())
    with pytest.raises(SchemaMismatch):
        await engine.open()
    others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    await eventually(lambda: ask(empty, others) == [(0,)], what="every connection is closed")


async def test_the_sql_of_an_upgrade_can_be_run_by_hand(empty: str, session_servers):
    """It makes the same schema as the upgrade itself."""
    with psycopg.connect(empty, autocommit=True) as connection:
        connection.execute(schema.upgrade_sql().encode())
    assert (await status(empty)).ready
    with session_servers.empty() as other:
        schema.upgrade(other)
        assert shape(other) == shape(empty)
    await require(empty)


async def test_a_database_that_is_not_there_is_named_and_not_traced(session_servers):
    """An operator sees one line."""
    with pytest.raises(DatabaseUnavailable, match="does not exist"):
        schema.upgrade(session_servers.named("there_is_none"))


async def test_the_tables_have_the_columns_that_the_store_writes(empty: str):
    """Column lists are written by hand: each has to name every column that has no default."""
    schema.upgrade(empty)

    def columns(table: str) -> set[str]:
        query = (
            "SELECT column_name FROM information_schema.columns WHERE table_schema = 'flowforge' AND table_name = %s"
        )
        return {row[0] for row in ask(empty, query, table)}

    def inserted(part: parts.Part) -> set[str]:
        listed = re.search(r"INSERT INTO \w+ \(([^)]*)\)", part.text)
        assert listed is not None
        return {name.strip() for name in listed[1].split(",")}

    assert inserted(parts.NEW_RUN) == columns("runs")
    assert inserted(parts.ENTERED) == columns("steps") - {"progress"}
    assert inserted(parts.TOLD) == columns("run_events") - {"xid"}
    assert inserted(parts.SENT) == columns("outbox") - {"id"}
    assert inserted(parts.CAME) == columns("signals")
    told = {"id", "notified_at", "resolved_at", "resolved_by", "resolution"}
    assert inserted(parts.OPENED) == columns("incidents") - told
    updated = set(re.findall(r"(\w+) = (?:coalesce\()?u\.", parts.CHANGED.text.split("FROM")[0]))
    assert updated == columns("steps") - {"run_id", "step_no", "progress"}


async def test_enums_are_the_models_statuses(empty: str):
    """The words are the same in code and columns."""
    from flowforge.model.status import RunStatus, StepStatus

    schema.upgrade(empty)
    query = "SELECT enumlabel FROM pg_enum WHERE enumtypid = %s::regtype"
    assert {row[0] for row in ask(empty, query, "flowforge.run_status")} == set(RunStatus)
    assert {row[0] for row in ask(empty, query, "flowforge.step_status")} == set(StepStatus)


def test_a_migration_begins_again_when_a_table_is_in_use(session_servers, empty: str, monkeypatch: pytest.MonkeyPatch):
    """It waits for no lock for long, so that nobody else waits behind it; when the lock is free, it goes through."""
    monkeypatch.setattr(schema, "LOCK_TIMEOUT", "100ms")
    pauses: list[float] = []
    schema.upgrade(empty)
    with psycopg.connect(empty) as report:
        report.execute("SELECT count(*) FROM flowforge.runs")

        def pause(seconds: float) -> None:
            pauses.append(seconds)
            if len(pauses) == 3:
                report.rollback()

        monkeypatch.setattr("flowforge.store.schema.time.sleep", pause)
        schema.downgrade(empty, "base")
    assert len(pauses) == 3
    assert "runs" not in tables(empty)


def test_a_migration_that_never_gets_its_lock_says_who_has_to_end(empty: str, monkeypatch: pytest.MonkeyPatch):
    """Nothing is changed, and the message tells where to look."""
    monkeypatch.setattr(schema, "LOCK_TIMEOUT", "50ms")
    monkeypatch.setattr(schema, "LOCK_PAUSE", 0.0)
    schema.upgrade(empty)
    with psycopg.connect(empty) as report:
        report.execute("SELECT count(*) FROM flowforge.runs")
        with pytest.raises(Conflict, match="other sessions hold its tables"):
            schema.downgrade(empty, "base")
    assert "runs" in tables(empty)
