"""Runs for screens, made by real decisions and without servers, and a client that knows nothing but them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import SimpleNamespace
from typing import Any
from uuid import UUID

from flowforge.errors import DatabaseUnavailable, NotFound
from flowforge.model.capsule import Capsule
from flowforge.model.comparing import Difference, compare
from flowforge.model.documents import Run, RunEvent, RunFilter
from flowforge.model.load import canonical, check
from flowforge.store import views
from tests.unit.decisions.bench import RUN, Bench


class Watched:
    """A run on a bench, as the client tells of it."""

    def __init__(self, definition: dict[str, Any], *, run_id: UUID = RUN, given: Any = None) -> None:
        loaded = check(definition)
        self.definition = canonical(loaded.workflow)
        self.bench = Bench(loaded.plan)
        self.run_id, self.input = run_id, given
        self.outputs: dict[str, Any] = {}
        self.logs: list[tuple[str, int, str]] = []

    def run(self) -> Run:
        """Return the run document."""
        state, plan = self.bench.run, self.bench.plan
        bare = Run(
            self.run_id,
            plan.name,
            1,
            state.status,
            self.input,
            None,
            state.error,
            "test",
            state.created_at or self.bench.now,
            started_at=next((one.at for one in self.bench.events if one.type == "workflow.started"), None),
            finished_at=state.finished_at,
            seq=len(self.bench.events),
        )
        return views._with_steps(bare, plan, self._rows())

    def _rows(self) -> dict[int, Any]:
        return {
            no: (
                *(step.status.value, step.attempt, step.crashes, step.worker),
                *(self.outputs.get(self.bench.plan.steps[no].id), step.error, None),
                *(step.queued_at, step.started_at, step.finished_at, step.due_at),
                *(step.label, step.open_dependencies, step.skipped_dependencies),
            )
            for no, step in self.bench.run.steps.items()
        }

    def capsule(self) -> Capsule:
        """Return everything that is known of it."""
        return Capsule(self.run(), tuple(self.events()), self.definition, self.bench.now, compiled=self.bench.plan)

    def events(self) -> list[RunEvent]:
        """Return its history."""
        return [
            RunEvent(self.run_id, seq, one.type.value, one.at, one.step, one.attempt, one.data or {})
            for seq, one in enumerate(self.bench.events, start=1)
        ]


@dataclass
class FakeClient:
    """The client's answers about some runs; counts the questions, and can be cut off."""

    watched: Sequence[Watched]
    explanation: Mapping[str, Any] | None = None
    down: bool = False
    asked: list[str] = field(default_factory=list)

    async def get(self, run_id: UUID) -> Run:
        return self._found("get", run_id).run()

    async def events(self, run_id: UUID, after: int = 0) -> list[RunEvent]:
        return self._found("events", run_id).events()[after:]

    async def logs(self, run_id: UUID) -> list[tuple[str, int, str]]:
        return self._found("logs", run_id).logs

    async def runs(self, wanted: RunFilter) -> list[Run]:
        runs = [one.run() for one in self.watched]
        return [run for run in runs if run.workflow == wanted.workflow and run.status in wanted.statuses]

    async def versions(self, name: str) -> list[Any]:
        return [SimpleNamespace(version=1, name=name)]

    async def definition(self, version: Any) -> dict[str, Any]:
        return next(one.definition for one in self.watched if one.bench.plan.name == version.name)

    async def diff(self, before: UUID, after: UUID) -> Difference:
        return compare(self._found("diff", before).capsule(), self._found("diff", after).capsule())

    async def explain(self, run_id: UUID) -> Any:
        self._found("explain", run_id)
        return SimpleNamespace(document=lambda: self.explanation)

    def _found(self, question: str, run_id: UUID) -> Watched:
        self.asked.append(question)
        if self.down:
            raise DatabaseUnavailable
        for one in self.watched:
            if one.run_id == run_id:
                return one
        raise NotFound(f"there is no run {run_id}")


def clock_of(watched: Watched) -> Any:
    """Return a clock that stands where the bench's stands."""

    def now() -> datetime:
        return watched.bench.now

    return now
