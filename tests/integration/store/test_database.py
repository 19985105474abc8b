"""Connections: which errors mean that Postgres is away, and which mean that only this transaction was unlucky."""

from __future__ import annotations

import asyncio

import psycopg
import pytest
from psycopg import errors as pg

from flowforge.engine.engine import Engine
from flowforge.errors import DatabaseUnavailable
from flowforge.store.database import Database, connect
from tests.support.eventually import eventually
from tests.support.sql import Sql

_RAISE = "DO $$ BEGIN RAISE EXCEPTION 'injected' USING ERRCODE = '{}'; END $$"


async def killed(engine: Engine, sql: Sql) -> None:
    """Have a transaction whose backend dies in the middle."""
    async with engine.database.transaction() as connection:
        sql.do("SELECT pg_terminate_backend(%s)", connection.info.backend_pid)
        await connection.execute("SELECT 1")


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("40P01", pg.DeadlockDetected),
        ("40001", pg.SerializationFailure),
        ("55P03", pg.LockNotAvailable),
        ("54000", pg.ProgramLimitExceeded),
        ("22P05", pg.UntranslatableCharacter),
        ("23505", pg.UniqueViolation),
    ],
)
async def test_an_error_about_one_transaction_is_not_reported_as_a_server_that_is_away(
    engine: Engine, code: str, kind: type[psycopg.Error]
):
    """Whoever retries or isolates by the kind of error has to see it."""
    with pytest.raises(kind):
        async with engine.database.transaction() as connection:
            await connection.execute(_RAISE.format(code).encode())


@pytest.mark.parametrize("code", ["57P01", "57P03", "08006", "53300"])
async def test_a_server_that_goes_away_is_reported_as_unavailable(engine: Engine, code: str):
    """Shutdown, start-up, lost connections and no free connection are all outages."""
    with pytest.raises(DatabaseUnavailable):
        async with engine.database.transaction() as connection:
            await connection.execute(_RAISE.format(code).encode())


@pytest.mark.parametrize("code", ["25006", "42501", "42P01", "42703", "3F000"])
async def test_a_server_that_cannot_be_used_as_it_is_is_reported_as_unavailable(engine: Engine, code: str):
    """A standby, lost privileges, missing tables: whoever waits for an outage waits for this, too."""
    with pytest.raises(DatabaseUnavailable, match="Postgres cannot be used: injected") as caught:
        async with engine.database.transaction() as connection:
            await connection.execute(_RAISE.format(code).encode())
    assert "flowforge db status" in (caught.value.hint or "")


async def test_a_plan_that_is_out_of_date_is_made_anew(make_engine, sql: Sql):
    """A migration changed a column's type under a worker that had prepared its statements: one of them fails, once."""
    engine = await make_engine(connections=1)
    sql.do("CREATE TABLE changing (n int)")
    query = "SELECT n FROM changing"
    async with engine.database.connection() as connection:
        await connection.execute(query)
    sql.do("ALTER TABLE changing ALTER n TYPE text")
    with pytest.raises(DatabaseUnavailable):
        async with engine.database.connection() as connection:
            await connection.execute(query)
    async with engine.database.connection() as connection:
        await connection.execute(query)


async def test_a_killed_backend_is_unavailable_once_and_then_replaced(engine: Engine, sql: Sql):
    """The pool gives a broken connection to nobody."""
    with pytest.raises(DatabaseUnavailable):
        await killed(engine, sql)
    async with engine.database.connection() as connection:
        row = await (await connection.execute("SELECT 1")).fetchone()
    assert row == (1,)


async def test_killed_backends_leak_no_connections(make_engine, sql: Sql):
    """More broken transactions than the pool is large, then the pool still serves as many at once."""
    engine = await make_engine(connections=2)
    for _ in range(6):
        with pytest.raises(DatabaseUnavailable):
            await killed(engine, sql)

    async def one() -> None:
        async with engine.database.connection() as connection:
            await connection.execute("SELECT pg_sleep(0.01)")

    await asyncio.gather(*(one() for _ in range(4)))


async def test_a_server_that_is_not_there_is_named_in_one_line_with_a_hint():
    """What an operator reads first."""
    with pytest.raises(DatabaseUnavailable, match="Postgres cannot be reached") as caught:
        await connect("postgresql://nobody@127.0.0.1:1/nothing")
    assert "\n" not in caught.value.message
    assert "FLOWFORGE_DATABASE_URL" in (caught.value.hint or "")


async def test_a_pool_without_a_server_says_why():
    """The pool's own time-out says nothing; the reason behind it does."""
    database = Database("postgresql://nobody@127.0.0.1:1/nothing")
    await database.open()

    async def refused() -> bool:
        """Say whether the reason is known; a busy machine has not even tried to connect in so short a time."""
        with pytest.raises(DatabaseUnavailable) as caught:
            async with database.connection(timeout=0.2):
                pass
        return "refused" in caught.value.message

    try:
        await eventually(refused)
    finally:
        await database.close()


async def test_a_rolled_back_transaction_leaves_nothing(engine: Engine, sql: Sql):
    """An error inside the block undoes all of it."""

    async def broken() -> None:
        async with engine.database.transaction() as connection:
            await connection.execute("INSERT INTO workflows (name) VALUES ('gone')")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await broken()
    assert sql.counts("workflows") == 0


async def test_a_client_that_stalls_inside_a_transaction_does_not_keep_its_locks_for_ever(engine: Engine):
    """A worker that is stopped by a signal must not block the others: the server ends its transaction."""
    async with engine.database.connection() as connection:
        rows = await (await connection.execute("SHOW idle_in_transaction_session_timeout")).fetchone()
        assert rows == ("15s",)
        rows = await (await connection.execute("SHOW statement_timeout")).fetchone()
        assert rows == ("1min",)
        rows = await (await connection.execute("SHOW lock_timeout")).fetchone()
        assert rows == ("30s",)
