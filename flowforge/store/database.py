"""Connections to Postgres, set up the same way everywhere, and the boundary where driver errors become ours.

Every connection works in the schema `flowforge`, with time-outs that end a transaction whose client is gone.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Self, TypeAlias, TypeVar
from weakref import WeakKeyDictionary

import psycopg
from psycopg import AsyncConnection
from psycopg import errors as pg
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from flowforge.errors import DatabaseUnavailable

if TYPE_CHECKING:
    from psycopg.abc import PQGen
    from psycopg.rows import TupleRow

RV = TypeVar("RV")

# The driver warns about every failed try and every pipeline that ends with its connection; what matters of it is
# raised to whoever asked, who says it once.
logging.getLogger("psycopg").setLevel(logging.ERROR)
logging.getLogger("psycopg.pool").setLevel(logging.ERROR)

SCHEMA = "flowforge"
#: What Postgres says when only the timing was wrong: the whole transaction may be tried again at once.
TIMING = (pg.DeadlockDetected, pg.SerializationFailure, pg.LockNotAvailable, pg.InFailedSqlTransaction)
#: What Postgres says when it ended the session for a transaction that was idle, or took, too long.
ENDED = (pg.IdleInTransactionSessionTimeout, pg.TransactionTimeout)
#: What Postgres says about one row or statement, in the same class as errors of the server itself.
ROW_FAULTS = (pg.ProgramLimitExceeded, pg.StatementTooComplex, pg.TooManyColumns, pg.TooManyArguments)
#: What Postgres says when it cannot serve us as it is: a standby that takes no writes; and, as classes, missing
#: tables, columns, functions or privileges, and a missing schema. No row is to blame, and waiting may help.
READ_ONLY, UNUSABLE = "25006", ("42", "3F")
#: What it says of a statement that was prepared before a table changed; it is prepared anew over another connection.
OLD_PLAN = "cached plan must not change result type"
#: Seconds a pooled connection may lie unused before it is checked; the server may have been restarted meanwhile.
CHECK_AFTER = 2.0
Connection: TypeAlias = "AsyncConnection[TupleRow]"

#: Server-side limits: a lost client must not hold locks, and no statement of ours takes longer than this. Plans are
#: made once, maybe for tables that are still empty: they go by keys, row by row, whatever statistics say on that day.
SESSION = (
    f"-c search_path={SCHEMA} -c statement_timeout=60s -c idle_in_transaction_session_timeout=15s "
    "-c lock_timeout=30s -c timezone=UTC -c plan_cache_mode=force_generic_plan -c jit=off "
    "-c enable_seqscan=off -c enable_hashjoin=off -c enable_mergejoin=off"
)
#: Client-side limits, so that a server that froze or vanished is noticed.
PARAMETERS: dict[str, Any] = {
    "options": SESSION,
    "connect_timeout": 5,
    "tcp_user_timeout": 15_000,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    # Statements are few and repeated: each is prepared when it is first used.
    "prepare_threshold": 0,
    "application_name": "flowforge",
}


#: Seconds that the driver waits for any answer: a little longer than the server lets a statement take. A server that
#: hangs, or a network that swallows everything and acknowledges it, ends no other way.
ANSWER = 65.0


class Patient(AsyncConnection["TupleRow"]):
    """A connection that is given up when its server does not answer at all."""

    async def wait(self, gen: PQGen[RV], interval: float = 0.1, timeout: float | None = None) -> RV:
        """Wait for the server, but not for ever."""
        began = time.monotonic()
        try:
            return await super().wait(gen, interval, ANSWER if timeout is None else timeout)
        except psycopg.OperationalError:
            if time.monotonic() - began >= ANSWER:
                self.pgconn.finish()
            raise


class Impatient(psycopg.Connection["TupleRow"]):
    """A synchronous connection in autocommit mode whose server has to answer soon, or is asked over another one."""

    patience: float = ANSWER

    @classmethod
    def to(cls, url: str, patience: float) -> Self:
        """Connect; no answer may take longer than *patience* seconds."""
        options = f"{PARAMETERS['options']} -c statement_timeout={math.ceil(patience * 1000)}"
        parameters = PARAMETERS | {"options": options, "connect_timeout": math.ceil(patience)}
        connection = cls.connect(url, autocommit=True, **parameters)
        connection.patience = patience
        return connection

    def wait(self, gen: PQGen[RV], interval: float = 0.1, timeout: float | None = None) -> RV:
        """Wait for the server as long as its patience lasts."""
        return super().wait(gen, interval, self.patience if timeout is None else timeout)


async def connect(url: str, **parameters: Any) -> Connection:
    """Open one connection outside any pool; raise DatabaseUnavailable."""
    try:
        return await Patient.connect(url, autocommit=True, **(PARAMETERS | parameters))
    except psycopg.Error as error:
        raise unavailable(error) from error


@asynccontextmanager
async def lent(url: str) -> AsyncIterator[Connection]:
    """Lend one connection outside any pool; raise DatabaseUnavailable, also when its server goes away meanwhile."""
    connection = await connect(url)
    try:
        yield connection
    except (*TIMING, *ROW_FAULTS):
        raise
    except (psycopg.OperationalError, psycopg.InterfaceError, *ENDED) as error:
        raise unavailable(error) from error
    finally:
        await connection.close()


def unavailable(error: Exception) -> DatabaseUnavailable:
    """Say in one line why Postgres cannot be used."""
    reason = str(error).strip().splitlines()
    text = reason[0] if reason else type(error).__name__
    hint = "is it running, and is FLOWFORGE_DATABASE_URL right? without it, the embedded server is used"
    return DatabaseUnavailable(f"Postgres cannot be reached: {text}", hint=hint)


def unusable(error: psycopg.Error) -> DatabaseUnavailable | None:
    """Say in one line why Postgres cannot be used although it answers; None for an error that is about a row."""
    state = error.sqlstate or ""
    if state != READ_ONLY and not state.startswith(UNUSABLE) and OLD_PLAN not in str(error):
        return None
    hint = "is it the primary, with the schema of this release and the right to write? flowforge db status"
    return DatabaseUnavailable(f"Postgres cannot be used: {str(error).strip().splitlines()[0]}", hint=hint)


class Database:
    """A pool of connections to one database.

    Commits of one that is *volatile* are not flushed to disk before they are answered: for those that only say what
    was published, and are made again after a crash of the server.
    """

    def __init__(self, url: str, *, max_size: int = 8, volatile: bool = False) -> None:
        self.url = url
        options = SESSION + " -c synchronous_commit=off" if volatile else SESSION
        self._pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
            url,
            connection_class=Patient,
            kwargs={**PARAMETERS, "options": options, "autocommit": True},
            min_size=0,
            max_size=max_size,
            max_idle=60,
            open=False,
            check=self._check,
            # Give up soon: the next request tries again at once, while the pool would double its pauses.
            reconnect_timeout=0.5,
        )
        self._used: WeakKeyDictionary[Connection, float] = WeakKeyDictionary()

    async def open(self) -> None:
        """Open the pool; connections are made when they are first needed."""
        await self._pool.open()

    async def close(self) -> None:
        """Close every connection."""
        await self._pool.close()

    @asynccontextmanager
    async def connection(self, timeout: float = 2) -> AsyncIterator[Connection]:
        """Lend a connection in autocommit mode; a broken one is not given back to anybody."""
        try:
            async with self._pool.connection(timeout=timeout) as connection:
                try:
                    yield connection
                except pg.FeatureNotSupported as error:
                    if OLD_PLAN in str(error):
                        await connection.close()
                    raise
                finally:
                    self._used[connection] = time.monotonic()
        except PoolTimeout as error:
            raise await self._why(error) from error
        except (*TIMING, *ROW_FAULTS):
            raise
        except (psycopg.OperationalError, psycopg.InterfaceError, *ENDED) as error:
            raise unavailable(error) from error
        except psycopg.Error as error:
            reason = unusable(error)
            if reason is None:
                raise
            raise reason from error

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """Lend a connection inside a transaction that commits at the end."""
        async with self.connection() as connection, connection.transaction():
            yield connection

    async def _check(self, connection: Connection) -> None:
        """Make sure that a connection which was not used lately still works; a busy one is not asked."""
        if time.monotonic() - self._used.get(connection, 0.0) > CHECK_AFTER:
            await AsyncConnectionPool.check_connection(connection)

    async def _why(self, error: Exception) -> DatabaseUnavailable:
        """Return the reason behind a pool that could not connect in time."""
        try:
            connection = await connect(self.url)
        except DatabaseUnavailable as reason:
            return reason
        await connection.close()
        return unavailable(error)
