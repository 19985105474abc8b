"""Compiled workflow versions, kept by the id of the version they came from.

A published version never changes, so a plan is compiled once per process and never looked at again for change.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass

from flowforge.model.plan import Plan
from flowforge.store import workflows
from flowforge.store.database import Connection

#: Plans kept; one of ten thousand steps takes a few megabytes.
KEPT = 128


@dataclass(frozen=True, slots=True)
class PlannedVersion:
    """A version with its plan."""

    id: int
    workflow_id: int
    version: int
    plan: Plan


class Plans:
    """The cache of one process."""

    def __init__(self) -> None:
        self._kept: OrderedDict[int, PlannedVersion] = OrderedDict()

    def known(self, version_id: int) -> PlannedVersion | None:
        """Return a version that is already here."""
        found = self._kept.get(version_id)
        if found is not None:
            self._kept.move_to_end(version_id)
        return found

    async def get(self, connection: Connection, version_id: int) -> PlannedVersion:
        """Return a version, reading and compiling it if needed."""
        found = self.known(version_id)
        if found is None:
            version = await workflows.by_id(connection, version_id)
            definition = await workflows.definition(connection, version_id)
            if version is None:
                raise LookupError(version_id)
            # Compiling ten thousand steps takes a second: not in the loop that answers everybody else.
            plan = await asyncio.to_thread(_compile, definition)
            found = PlannedVersion(version_id, version.workflow_id, version.version, plan)
            self.keep(found)
        return found

    def keep(self, version: PlannedVersion) -> None:
        """Remember a version."""
        self._kept[version.id] = version
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)


def _compile(definition: dict[str, object]) -> Plan:
    from flowforge.model.load import from_data

    return from_data(definition).plan
