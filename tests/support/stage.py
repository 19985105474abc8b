"""A client for the whole dashboard: runs that have a line, runs that have a history, and recordings; no servers."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from types import SimpleNamespace
from typing import Any
from uuid import UUID

from flowforge.model.capsule import Capsule, Log
from flowforge.model.comparing import compare
from flowforge.model.documents import Run, RunEvent, RunFilter
from flowforge.model.explanation import Explanation
from flowforge.model.overview import Glance, Pulse, RunSummary, Transport
from flowforge.model.status import StepStatus
from tests.support import orders
from tests.support.fake_client import FakeClient
from tests.support.overviews import NOW, several, transport
from tests.support.watched import Watched

FOREIGN = UUID("01990000-0000-7000-8000-0000000000fe")


class StageClient(FakeClient):
    """Answers about some runs, a few of which have a history; a clock stands where the first of these stands."""

    def __init__(self, runs: Sequence[RunSummary] = (), *watched: Watched) -> None:
        super().__init__([*runs, *(glimpse(one) for one in watched)])
        self.watched = {one.run_id: one for one in watched}
        self.explanation: Explanation | None = None
        self.letters: list[Any] = []
        #: How often workers were looked at while they are at work, each time two seconds later.
        self.looks: int | None = None
        #: Postgres takes for ever to answer.
        self.hangs = False

    @property
    def now(self) -> datetime:
        """The only moment there is."""
        return next((one.bench.now for one in self.watched.values()), NOW)

    async def open(self) -> None:
        if self.hangs:
            await asyncio.Event().wait()
        await super().open()

    async def pulse(self) -> Pulse:
        return replace(await super().pulse(), at=self.now)

    async def get(self, reference: UUID) -> Run:
        one = self.watched.get(reference)
        self._answer()
        return await super().get(reference) if one is None else one.run()

    async def events(self, reference: UUID, after: int = 0) -> list[RunEvent]:
        self._answer()
        one = self.watched.get(reference)
        return [] if one is None else one.events()[after:]

    async def logs(self, reference: UUID) -> list[tuple[str, int, str]]:
        one = self.watched.get(reference)
        return [] if one is None else one.logs

    async def runs(self, wanted: RunFilter) -> list[Run]:
        found = [one.run() for one in self.watched.values()]
        return [run for run in found if run.workflow == wanted.workflow and run.status in wanted.statuses]

    async def versions(self, name: str) -> list[Any]:
        return [SimpleNamespace(version=1, name=name)]

    async def definition(self, version: Any) -> dict[str, Any]:
        made = [one.definition for one in self.watched.values() if one.bench.plan.name == version.name]
        return made[0] if made else {}

    async def diff(self, before: UUID, after: UUID) -> Any:
        left, right = self.watched.get(before), self.watched.get(after)
        if left is None or right is None:
            return await super().diff(before, after)
        return compare(left.capsule(), right.capsule())

    async def explain(self, reference: str | UUID) -> Any:
        return self.explanation or await super().explain(reference)

    async def transport(self) -> Transport:
        if self.looks is None:
            return await super().transport()
        self._answer()
        self.looks += 1
        return transport(100 + 10 * self.looks, 2 * self.looks)

    async def dead_letters(self, queue: str) -> list[Any]:
        await super().dead_letters(queue)
        return self.letters


def glimpse(order: Watched) -> RunSummary:
    """Return the line of a run in the list."""
    run = order.run()
    steps = run.steps or ()
    trouble = [one for one in steps if one.status in (StepStatus.FAILED, StepStatus.RUNNING, StepStatus.WAITING)]
    at = None
    if trouble and not run.status.final:
        first = trouble[0]
        at = Glance(first.id, first.type, first.status, first.attempts, 4, None, failed_before=first.attempts > 1)
    return RunSummary(
        id=run.id,
        workflow=run.workflow,
        version=run.version,
        status=run.status,
        trigger=run.trigger,
        created_at=run.created_at,
        started_at=run.started_at,
        finished_at=run.finished_at,
        seq=run.seq,
        error=run.error,
        at=at,
        done=sum(one.status is StepStatus.COMPLETED for one in steps),
        steps=len(steps),
    )


def capsule(order: Watched | None = None) -> Capsule:
    """Return a run of another installation."""
    order = order or orders.failed()
    made = order.capsule()
    logs = (Log("validate", 1, "checked 3 items"),)
    return replace(made, run=replace(made.run, id=FOREIGN), logs=logs, exported_at=order.bench.now)


def having(*found: Capsule) -> StageClient:
    """Return a client with imported runs."""
    client = StageClient(several())
    client.capsules = {str(one.run.id): one for one in found}
    return client
