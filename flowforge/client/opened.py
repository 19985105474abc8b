"""What a client has once it is open: the engine, and what callers at the same time share round trips by."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from flowforge.client.starts import Starts
from flowforge.engine.engine import Engine
from flowforge.engine.gathering import Gathering
from flowforge.engine.plans import PlannedVersion
from flowforge.model.documents import Run
from flowforge.model.status import RunStatus


@dataclass(frozen=True, slots=True)
class Opened:
    """What an open client works with; what is asked for at the same time shares round trips."""

    engine: Engine
    starts: Starts
    #: Versions by name or name@version.
    names: Gathering[str, PlannedVersion]
    #: Runs with their steps, None for one that does not exist; and where they stand.
    runs: Gathering[UUID, Run | None]
    statuses: Gathering[UUID, RunStatus | None]
