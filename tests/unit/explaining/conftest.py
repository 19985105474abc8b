"""Facts of runs that never were, one change at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from flowforge.model.circumstances import LaneFacts, RunFacts, Surroundings, WorkerFacts
from flowforge.model.state import StepState
from flowforge.model.status import RunStatus, StepStatus
from tests import factories

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
RUN = UUID(int=7)
WORKER = WorkerFacts(
    "w", "active", ("default",), frozenset({"transform", "python", "wait_signal"}), 4, NOW, timedelta(seconds=30)
)


@pytest.fixture
def make() -> Callable[..., RunFacts]:
    """A factory of facts: plan, steps by id, and what is around."""

    def facts(
        plan: Any = None,
        *,
        workers: Any = (WORKER,),
        around: dict[str, Any] | None = None,
        steps: Any = None,
        **more: Any,
    ) -> RunFacts:
        plan = plan or factories.chain(3)
        known = {}
        for name, (status, changes) in (steps or {}).items():
            no = plan.find(name)
            state = StepState(no, StepStatus(status), queued_at=NOW - timedelta(minutes=1))
            known[no] = state._replace(**changes)
        surroundings = replace(
            Surroundings(NOW, workers, lanes={"default": LaneFacts(0, None, 0, 1)}), **(around or {})
        )
        status = more.pop("status", RunStatus.RUNNING)
        return RunFacts(RUN, "w", 1, plan, status, NOW - timedelta(hours=1), surroundings, steps=known, **more)

    return facts
