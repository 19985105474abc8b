"""Finding runs: pages of what a filter matches, how many there are, and all of them one page after the other."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from flowforge.client.portions import portions
from flowforge.engine.engine import Engine
from flowforge.model.documents import Run, RunFilter
from flowforge.model.status import RunStatus
from flowforge.store import search, views
from flowforge.store.database import Connection

#: Runs of one page where all are wanted.
TOGETHER = 1_000


@dataclass(frozen=True, slots=True)
class Found:
    """Some of the runs that a filter matches, in order."""

    runs: list[Run]
    #: Of how many runs they were chosen, where there may be more; None when all there are were looked at.
    looked_at: int | None = None
    #: Where to go on: `after` of the next page; None at the end.
    after: UUID | None = None
    #: Versions (`name@2`) that do not declare a field which others do; their runs are not found by it.
    undeclared: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Listing:
    """Which runs a filter matches, in order, before any of them is read; the rest is as in `Found`."""

    ids: tuple[UUID, ...]
    looked_at: int | None = None
    after: UUID | None = None
    undeclared: tuple[str, ...] = ()


class Searching(ABC):
    """How a client finds runs; a part of it."""

    @property
    @abstractmethod
    def engine(self) -> Engine:
        """What it works with."""

    @abstractmethod
    async def resolve(self, reference: str | UUID) -> UUID:
        """Return the id of the run that a reference means."""

    @abstractmethod
    async def _with_steps(self, connection: Connection, found: Sequence[tuple[Run, int]]) -> list[Run]:
        """Return runs with their steps."""

    async def runs(self, wanted: RunFilter | None = None, *, steps: bool = False) -> list[Run]:
        """Return the runs that a filter matches, newest first, with their steps if asked for."""
        return (await self.find(wanted, steps=steps)).runs

    async def find(self, wanted: RunFilter | None = None, *, steps: bool = False) -> Found:
        """Return a page of the runs that a filter matches, and what was looked at for it."""
        listed = await self.listing(wanted)
        runs = [run async for part in self.parts(listed.ids, steps=steps) for run in part]
        return Found(runs, listed.looked_at, listed.after, listed.undeclared)

    async def listing(self, wanted: RunFilter | None = None) -> Listing:
        """Return which runs a filter matches, of a page that may be too long to be read at once: see `parts`."""
        wanted = await self._resolved(wanted or RunFilter())
        async with self.engine.database.connection() as connection:
            page = await search.search(connection, wanted)
        after = page.reached if wanted.sort == "created" else None
        if len(page.ids) == wanted.limit:
            after = page.ids[-1]
        return Listing(page.ids, page.looked_at, after, page.undeclared)

    async def parts(self, ids: Sequence[UUID], *, steps: bool = False) -> AsyncIterator[list[Run]]:
        """Yield runs, in the order of their ids, some hundreds at a time; the first ones soon."""

        async def read(connection: Connection, some: Sequence[UUID]) -> dict[UUID, Run]:
            rows = await views.runs(connection, some)
            found = await self._with_steps(connection, rows) if steps else [run for run, _ in rows]
            return {run.id: run for run in found}

        async for part in portions(self.engine.database, ids, read):
            yield part

    async def count(self, wanted: RunFilter | None = None) -> dict[RunStatus, tuple[int, bool]]:
        """Return how many runs of each status a filter matches; False beside a number that is only a lower bound."""
        wanted = await self._resolved(wanted or RunFilter())
        async with self.engine.database.connection() as connection:
            return await search.count(connection, wanted)

    async def every(self, wanted: RunFilter) -> AsyncIterator[tuple[UUID, ...]]:
        """Yield the ids of all runs that a filter matches, newest first, in pages; there is no bound."""
        wanted = replace(await self._resolved(wanted), sort="created", limit=TOGETHER)
        while True:
            async with self.engine.database.connection() as connection:
                page = await search.search(connection, wanted)
            if page.ids:
                yield page.ids
            after = page.ids[-1] if len(page.ids) == wanted.limit else page.reached
            if after is None:
                return
            wanted = replace(wanted, after=after)

    async def _resolved(self, wanted: RunFilter) -> RunFilter:
        """Turn references to runs into their ids."""
        if wanted.replay_of is not None:
            wanted = replace(wanted, replay_of=await self.resolve(wanted.replay_of))
        if wanted.parent is not None:
            wanted = replace(wanted, parent=await self.resolve(wanted.parent))
        return wanted
