"""The composition root: one installation's database, streams, plans and ledger, opened together."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Self

from flowforge.engine import tracing
from flowforge.engine.ledger import Ledger
from flowforge.engine.names import Names
from flowforge.engine.plans import Plans
from flowforge.engine.starting import Starter
from flowforge.model.turn import Terms
from flowforge.settings import Settings
from flowforge.store import installation, schema
from flowforge.store.database import Database
from flowforge_streams.connecting import connect

if TYPE_CHECKING:
    from flowforge_streams.redis_log import RedisLog


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where the two servers are."""

    database_url: str
    redis_url: str


class Engine:
    """Everything that works on one installation; open it before use."""

    def __init__(self, endpoints: Endpoints, settings: Settings, *, connections: int = 8) -> None:
        self.endpoints = endpoints
        self.settings = settings
        self.terms = Terms(
            redispatch_after=settings.redispatch_after,
            max_crashes=settings.max_crashes,
            max_run_bytes=settings.max_run_bytes,
        )
        self.database = Database(endpoints.database_url, max_size=connections)
        #: For what is published again if its commit is lost.
        self.volatile = Database(endpoints.database_url, max_size=2, volatile=True)
        self.plans = Plans()
        self.tracer = tracing.make(settings.traces)
        self.ledger = Ledger(self.database, self.plans, self.terms, self.tracer)
        self.starter = Starter(
            self.database, self.ledger, self.terms, self.tracer, key_window=settings.idempotency_window
        )
        self._streams: RedisLog | None = None
        self._names: Names | None = None

    @property
    def names(self) -> Names:
        """The installation's names in Redis."""
        assert self._names is not None, "the engine is not open"
        return self._names

    @property
    def streams(self) -> RedisLog:
        """The installation's streams; their driver is loaded by whoever asks first."""
        if self._streams is None:
            self._streams = connect(self.endpoints.redis_url, epoch_key=self.names.epoch, client_name="flowforge")
        return self._streams

    async def open(self) -> Self:
        """Connect, and make sure that the schema is the one this code works with."""
        await self.database.open()
        await self.volatile.open()
        try:
            async with self.database.connection() as connection:
                await schema.require(connection)
                self._names = Names(await installation.short_id(connection))
        except BaseException:
            await self.volatile.close()
            await self.database.close()
            raise
        return self

    async def close(self) -> None:
        """Close every connection."""
        if self._streams is not None:
            await self._streams.close()
        await self.volatile.close()
        await self.database.close()
        if self.tracer.on:
            await asyncio.to_thread(self.tracer.close)

    async def __aenter__(self) -> Self:
        return await self.open()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()
