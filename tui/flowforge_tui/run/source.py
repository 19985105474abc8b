"""Where a run's screen gets its data: one door, asked in turns, that remembers what it has seen.

Events are only read from the last one seen on; the run itself only when something happened, or after a while, because
leases and progress change without an event.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING
from uuid import UUID

from flowforge.model.documents import Run, RunEvent, RunFilter
from flowforge.model.status import RunStatus
from flowforge_tui.run.definition import Definition
from flowforge_tui.run.picture import Picture, live

if TYPE_CHECKING:
    from flowforge.client import AsyncClient

#: Turns after which the run is read although nothing happened.
PATIENCE = 8


@dataclass(frozen=True, slots=True)
class Seen:
    """What a turn has brought: the run as it is, and whether anything is new."""

    run: Run
    definition: Definition
    events: Sequence[RunEvent]
    changed: bool

    def picture(self, now: datetime) -> Picture:
        """Return the run as it is *now*."""
        return live(self.run, self.definition, self.events, now)


class Source:
    """Reads one run, again and again."""

    def __init__(self, client: AsyncClient, run_id: UUID) -> None:
        self.client = client
        self.run_id = run_id
        #: What the command line calls it.
        self.reference: str | UUID = run_id
        self._run: Run | None = None
        self._events: list[RunEvent] = []
        self._definitions: dict[int, Definition] = {}
        self._patience = 0

    async def turn(self) -> Seen:
        """Look at the run once."""
        after = self._events[-1].seq if self._events else 0
        found = await self.client.events(self.run_id, after)
        self._events = [*self._events, *found] if found else self._events
        self._patience -= 1
        changed = self._run is None or bool(found) or self._patience <= 0
        if changed:
            self._run = await self.client.get(self.run_id)
            self._patience = PATIENCE
        assert self._run is not None
        return Seen(self._run, await self._definition(self._run), self._events, changed)

    async def logs(self) -> list[tuple[str, int, str]]:
        """Return what attempts wrote."""
        return await self.client.logs(self.run_id)

    async def last_good(self) -> Run | None:
        """Return the newest run of the same workflow that completed, other than this one."""
        if self._run is None:
            return None
        wanted = RunFilter(statuses=(RunStatus.COMPLETED,), workflow=self._run.workflow, limit=2)
        return next((run for run in await self.client.runs(wanted) if run.id != self.run_id), None)

    async def _definition(self, run: Run) -> Definition:
        if run.version not in self._definitions:
            self._definitions[run.version] = await definition_of(self.client, run)
        return self._definitions[run.version]


async def definition_of(client: AsyncClient, run: Run) -> Definition:
    """Return the definition that a run follows."""
    for version in await client.versions(run.workflow):
        if version.version == run.version:
            return await asyncio.to_thread(Definition.read, await client.definition(version))
    return Definition({}, None)
