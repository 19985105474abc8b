"""Postgres in a simulation: sessions over a network that may lose any message, and a server that may crash.

A statement that has arrived is executed whether or not anybody waits for its answer, as on a real server; so is a
commit. Whoever loses the connection in between does not know which.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from contextvars import Context
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakKeyDictionary

import psycopg

from flowforge.store.database import Database
from tests.simulation.network import Lost, Owner
from tests.simulation.tables import Locks, Stored, Tables, Transaction

if TYPE_CHECKING:
    from psycopg_pool import AsyncConnectionPool

T = TypeVar("T")

BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)


class Server:
    """The one server; *committed* is told of every run that a commit changed, before and after."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, committed: Callable[[str, Stored | None, Stored], None]
    ) -> None:
        self._loop = loop
        self._committed = committed
        self._began = loop.time()
        self.tables, self.locks = Tables(), Locks()
        #: Grows with every crash: sessions of before are over.
        self.generation = 0
        self.down_until = 0.0
        self._working: dict[asyncio.Task[Any], Transaction] = {}
        self.open: set[Transaction] = set()

    def now(self) -> datetime:
        """Return the only clock that counts."""
        return BEGINNING + timedelta(seconds=self._loop.time() - self._began)

    @property
    def up(self) -> bool:
        """Whether it answers."""
        return self._loop.time() >= self.down_until

    def crash(self, seconds: float) -> None:
        """Lose every session and all that is not committed; be away for a time."""
        self.generation += 1
        self.down_until = max(self.down_until, self._loop.time() + seconds)
        for task in list(self._working):
            task.cancel()
        for one in list(self.open):
            self.roll_back(one)

    def begin(self, who: str) -> Transaction:
        """Begin a transaction."""
        one = Transaction(self.tables, self.locks, who)
        self.open.add(one)
        return one

    def execute(
        self, one: Transaction, operation: Callable[[Transaction], Awaitable[T]], *, alone: bool
    ) -> asyncio.Task[T]:
        """Execute a statement, whoever waits for it."""
        task = self._loop.create_task(self._execute(one, operation, alone=alone), context=Context())
        self._working[task] = one
        task.add_done_callback(self._finished)
        return task

    def _finished(self, task: asyncio.Task[Any]) -> None:
        self._working.pop(task, None)
        if not task.cancelled():
            # Maybe nobody waits for it any more.
            task.exception()

    async def _execute(self, one: Transaction, operation: Callable[[Transaction], Awaitable[T]], *, alone: bool) -> T:
        try:
            answer = await operation(one)
        except BaseException:
            self.roll_back(one)
            raise
        if alone:
            self.commit(one)
        return answer

    def commit(self, one: Transaction) -> None:
        """Commit, and say what changed."""
        self.open.discard(one)
        for before, after in one.commit():
            self._committed(one.who, before, after)

    def roll_back(self, one: Transaction) -> None:
        """Forget a transaction."""
        self.open.discard(one)
        if not one.over:
            one.end()


class Session:
    """One connection, as the store's functions get it."""

    def __init__(self, server: Server, owner: Owner) -> None:
        self._server, self._owner = server, owner
        self._generation = server.generation
        self._transaction: Transaction | None = None
        self._broken = False

    async def run(self, operation: Callable[[Transaction], Awaitable[T]]) -> T:
        """Execute an operation of the store on the server."""
        await self._travel()
        alone = self._transaction is None
        one = self._transaction or self._server.begin(self._owner.name)
        if one.over:
            raise psycopg.errors.InFailedSqlTransaction("the transaction is aborted")
        try:
            answer = await asyncio.shield(self._server.execute(one, operation, alone=alone))
        except asyncio.CancelledError:
            self._broken = True
            if self._generation != self._server.generation and not self._owner.dead and not _cancelled():
                raise psycopg.OperationalError("the server has crashed") from None
            raise
        await self._travel()
        return answer

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        """Make what is run inside one transaction."""
        assert self._transaction is None
        await self._travel()
        one = self._transaction = self._server.begin(self._owner.name)
        try:
            yield
            await self._travel()
            if one.over:
                raise psycopg.errors.InFailedSqlTransaction("the transaction is aborted")
            self._server.commit(one)
            await self._travel()
        finally:
            self._transaction = None
            self._server.roll_back(one)

    def close(self) -> None:
        """Let the server notice that nobody is there."""
        if self._transaction is not None:
            self._server.roll_back(self._transaction)

    async def _travel(self) -> None:
        if not self._broken:
            try:
                await self._owner.travel("postgres")
            except Lost:
                self._broken = True
        if not self._server.up or self._generation != self._server.generation:
            self._broken = True
        if self._broken:
            self.close()
            raise psycopg.OperationalError("the connection is lost")


def _cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


class _Pool:
    """Lends sessions, each new."""

    def __init__(self, server: Server, owner: Owner) -> None:
        self._server, self._owner = server, owner

    @asynccontextmanager
    async def connection(self, timeout: float = 2) -> AsyncIterator[Session]:
        with suppress(Lost):
            await self._owner.reach("postgres", timeout)
        if not self._server.up or not self._owner.reaches("postgres"):
            raise psycopg.OperationalError("the server cannot be reached")
        session = Session(self._server, self._owner)
        try:
            yield session
        finally:
            session.close()


class SimulatedDatabase(Database):
    """The store's database, with everything of it but the pool."""

    def __init__(self, server: Server, owner: Owner) -> None:
        self.url = "simulated"
        self._pool: AsyncConnectionPool[Any] = _Pool(server, owner)  # type: ignore[assignment]
        self._used = WeakKeyDictionary()
