"""What an installation has, whole or in portions: workflows, their versions, workers, incidents, imported runs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from flowforge.client import publishing
from flowforge.client.portions import portions
from flowforge.engine.engine import Engine
from flowforge.errors import NotFound
from flowforge.store import imported, incidents, workers, workflows

if TYPE_CHECKING:
    from flowforge.model.documents import Incident
    from flowforge.store.imported import Imported
    from flowforge.store.workers import WorkerRow
    from flowforge.store.workflows import Version, WorkflowSummary

#: Versions that are named to whoever asks for one that is not there.
MOST_NAMED = 10


class Lists(ABC):
    """The lists of an installation; a part of the client."""

    @property
    @abstractmethod
    def engine(self) -> Engine:
        """What it works with."""

    # -- workflows -----------------------------------------------------------------------------------------

    async def workflows(self) -> list[WorkflowSummary]:
        """Return every workflow, by name."""
        return [one async for part in self.workflow_parts() for one in part]

    async def workflow_parts(self) -> AsyncIterator[list[WorkflowSummary]]:
        """Yield every workflow, by name, some hundred at a time."""
        async with self.engine.database.connection() as connection:
            ids = await workflows.ids(connection)
        async for part in portions(self.engine.database, ids, workflows.summaries):
            yield part

    async def workflow_names(self) -> list[str]:
        """Return the names of all workflows."""
        async with self.engine.database.connection() as connection:
            return await workflows.names(connection)

    async def versions(self, name: str) -> list[Version]:
        """Return the versions of a workflow, newest first."""
        return [one async for part in self.version_parts(name) for one in part]

    async def version_parts(self, name: str) -> AsyncIterator[list[Version]]:
        """Yield the versions of a workflow, newest first, some hundred at a time; NotFound for none."""
        async with self.engine.database.connection() as connection:
            ids = await workflows.version_ids(connection, name)
            if not ids:
                publishing.unknown(name, await workflows.names(connection))
        async for part in portions(self.engine.database, ids, workflows.by_ids):
            yield part

    async def version(self, name: str, number: int | None = None) -> Version:
        """Return a version of a workflow: by number, else the newest published one, else the newest."""
        async with self.engine.database.connection() as connection:
            finding = (
                workflows.newest(connection, name) if number is None else workflows.numbered(connection, name, number)
            )
            found = await finding
            if found is not None:
                return found
            have = await workflows.version_numbers(connection, name, MOST_NAMED)
            if not have:
                publishing.unknown(name, await workflows.names(connection))
        hint = f"it has: {', '.join(map(str, have))}"
        raise NotFound(f"workflow '{name}' has no version {number}", hint=hint)

    # -- workers, incidents, imported runs -----------------------------------------------------------------

    async def workers(self) -> list[WorkerRow]:
        """Return every known worker, oldest first."""
        async with self.engine.database.connection() as connection:
            return await workers.all_workers(connection)

    async def worker_parts(self) -> AsyncIterator[list[WorkerRow]]:
        """Yield every known worker, oldest first, some hundred at a time."""
        async with self.engine.database.connection() as connection:
            ids = await workers.ids(connection)
        async for part in portions(self.engine.database, ids, workers.by_ids):
            yield part

    async def incidents(
        self, *, resolved: bool = False, workflow: str | None = None, kind: str | None = None, limit: int = 50
    ) -> list[Incident]:
        """Return incidents, open ones first, the latest first; resolved ones if asked for."""
        parts = self.incident_parts(resolved=resolved, workflow=workflow, kind=kind, limit=limit)
        return [one async for part in parts for one in part]

    async def incident_parts(
        self, *, resolved: bool = False, workflow: str | None = None, kind: str | None = None, limit: int = 50
    ) -> AsyncIterator[list[Incident]]:
        """Yield what `incidents` returns, some hundred at a time."""
        async with self.engine.database.connection() as connection:
            ids = await incidents.ids(connection, resolved=resolved, workflow=workflow, kind=kind, limit=limit)
        async for part in portions(self.engine.database, ids, incidents.by_ids):
            yield part

    async def imported(self, limit: int | None = 100) -> list[Imported]:
        """Return the runs that were imported, the latest first; all of them without a limit."""
        return [one async for part in self.imported_parts(limit) for one in part]

    async def imported_parts(self, limit: int | None = None) -> AsyncIterator[list[Imported]]:
        """Yield what `imported` returns, some hundred at a time."""
        async with self.engine.database.connection() as connection:
            ids = await imported.ids(connection, limit)
        async for part in portions(self.engine.database, ids, imported.by_ids):
            yield part
