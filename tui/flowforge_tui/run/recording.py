"""A run that is only looked at: out of a capsule, from a file or another installation. Nothing of it moves any more.

It answers a run's screen as Source does, from memory; no server is asked about it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from uuid import UUID

from flowforge.model.documents import Run, RunFilter
from flowforge.model.status import RunStatus
from flowforge_tui.run.definition import Definition
from flowforge_tui.run.source import Seen

if TYPE_CHECKING:
    from flowforge.client import AsyncClient
    from flowforge.model.capsule import Capsule


class Recording:
    """Gives what a capsule holds."""

    def __init__(self, client: AsyncClient, capsule: Capsule, reference: str | UUID) -> None:
        self.client, self.capsule = client, capsule
        #: What the command line calls it.
        self.reference = reference
        self._definition: Definition | None = None

    async def turn(self) -> Seen:
        """Return the run; it is new only once."""
        first = self._definition is None
        if self._definition is None:
            self._definition = await asyncio.to_thread(Definition.read, self.capsule.definition)
        return Seen(self.capsule.run, self._definition, self.capsule.events, first)

    async def logs(self) -> list[tuple[str, int, str]]:
        """Return what attempts wrote."""
        return [(log.step, log.attempt, log.text) for log in self.capsule.logs]

    async def last_good(self) -> Run | None:
        """Return the newest run of the same workflow that completed in this installation."""
        wanted = RunFilter(statuses=(RunStatus.COMPLETED,), workflow=self.capsule.run.workflow, limit=1)
        return next(iter(await self.client.runs(wanted)), None)
