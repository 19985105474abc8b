"""What dashboards ask: runs on one line each, the pulse, queues and workers. A part of the client."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from flowforge.engine.engine import Engine
from flowforge.engine.names import GROUP
from flowforge.model.documents import RunFilter
from flowforge.model.overview import Glance, Held, Pulse, QueueStanding, RunSummary, Transport, WorkerStanding
from flowforge.model.plan import Plan
from flowforge.model.status import RunStatus, StepStatus
from flowforge.store import overview, search, workers
from flowforge.store.database import Connection
from flowforge.store.workers import WorkerRow
from flowforge_streams.errors import StreamError

if TYPE_CHECKING:
    from flowforge_streams.redis_group import RedisGroup

#: A queue's second stream, for steps that need a child process.
PYTHON = ".python"


class Overview(ABC):
    """The questions of dashboards; a part of the client."""

    @property
    @abstractmethod
    def engine(self) -> Engine:
        """What it works with."""

    @abstractmethod
    async def _resolved(self, wanted: RunFilter) -> RunFilter:
        """Turn references to runs into their ids."""

    # -- runs ----------------------------------------------------------------------------------------------

    async def summaries(self, wanted: RunFilter | Sequence[UUID]) -> list[RunSummary]:
        """Return runs on one line each, newest first: those that a filter matches, or those with some ids."""
        if isinstance(wanted, RunFilter):
            wanted = await self._resolved(wanted)
        async with self.engine.database.connection() as connection:
            found = (await search.search(connection, wanted)).ids if isinstance(wanted, RunFilter) else wanted
            ids = list(found)
            rows = await overview.runs(connection, ids)
            plans = {row[-1]: (await self.engine.plans.get(connection, row[-1])).plan for row in rows}
            sizes = [len(plans[row[-1]].steps) for row in rows]
            found = await overview.steps(connection, [row[0] for row in rows], sizes)
        by_run = {row[0]: row[1:] for row in found}
        return [_summary(row, plans[row[-1]], by_run[row[0]]) for row in rows]

    async def pulse(self) -> Pulse:
        """Return what a header shows; Postgres has to answer, the stream server need not."""
        async with self.engine.database.connection() as connection:
            at, postgres, *counts = await overview.pulse(connection)
        try:
            streams: str | None = await self.engine.streams.version()
        except StreamError:
            streams = None
        return Pulse(at, postgres.split()[0], streams, *counts)

    # -- how work travels ----------------------------------------------------------------------------------

    async def transport(self) -> Transport:
        """Return queues, workers and what lies between; while the stream server is away, what Postgres knows."""
        async with self.engine.database.connection() as connection:
            at = (await overview.pulse(connection))[0]
            known = await workers.all_workers(connection)
            held = await overview.held(connection)
            lanes, since = await overview.unpublished(connection)
            waits = await self._waits(connection)
            having = await self._held(connection, held)
        alive = [worker for worker in known if worker.status in ("active", "draining")]
        names = {name for worker in known for name in worker.queues} | {lane.removesuffix(PYTHON) for lane in lanes}
        standings, error = [], None
        for name in sorted(names | {"default"}):
            served = sum(name in worker.queues for worker in alive)
            waiting = lanes.get(name, 0) + lanes.get(name + PYTHON, 0)
            depth, error = await self._depth(name, error)
            standings.append(
                QueueStanding(name, served, **depth, wait_p95=_p95(waits.get(name, [])), unpublished=waiting)
            )
        return Transport(
            at,
            tuple(standings),
            tuple(_standing(worker, having.get(worker.id, ())) for worker in known),
            sum(lanes.values()),
            since,
            sum(1 for row in held if row[-1]),
            error,
        )

    def _groups(self, queue: str) -> list[RedisGroup]:
        names, streams = self.engine.names, self.engine.streams
        return [streams.group(names.lane(lane), GROUP) for lane in (queue, queue + PYTHON)]

    async def _depth(self, queue: str, error: str | None) -> tuple[dict[str, Any], str | None]:
        """Return what lies in a queue's streams; nothing, and why, where they cannot be asked."""
        if error is not None:
            return {}, error
        try:
            depths, dead = [], 0
            for group in self._groups(queue):
                depths.append(await group.depth())
                dead += len(await group.dead())
                await group.close()
        except StreamError as problem:
            return {}, str(problem)
        idle = [depth.oldest_idle for depth in depths if depth.oldest_idle is not None]
        return {
            "backlog": sum(depth.waiting for depth in depths),
            "pending": sum(depth.pending for depth in depths),
            "oldest": max(idle, default=None),
            "added": _sum([depth.added for depth in depths]),
            "delivered": _sum([depth.delivered for depth in depths]),
            "dead": dead,
        }, None

    async def _waits(self, connection: Connection) -> Mapping[str, list[timedelta]]:
        """Return how long steps of the newest runs waited, by queue."""
        found: dict[str, list[timedelta]] = defaultdict(list)
        for version, no, waited in await overview.waits(connection):
            plan = (await self.engine.plans.get(connection, version)).plan
            if plan.has(no):
                found[plan.steps[no].queue].append(waited)
        return found

    async def _held(self, connection: Connection, rows: Sequence[Any]) -> Mapping[str, list[Held]]:
        """Return what workers have, by worker."""
        found: dict[str, list[Held]] = defaultdict(list)
        for worker, run, version, workflow, no, started_at, due_at, _ in rows:
            plan = (await self.engine.plans.get(connection, version)).plan
            step = plan.steps[no].id if plan.has(no) else f"#{no}"
            found[worker].append(Held(run, workflow, step, started_at, due_at))
        return found


def _summary(row: Any, plan: Plan, steps: Any) -> RunSummary:
    done, waited, queued_at, *glance = steps
    return RunSummary(
        id=row[0],
        workflow=row[1],
        version=row[2],
        status=RunStatus(row[3]),
        trigger=row[4],
        created_at=row[5],
        started_at=row[6],
        finished_at=row[7],
        labels=row[8] or {},
        error=row[9],
        seq=row[10],
        done=done,
        steps=len(plan.steps),
        at=None if row[3] in ("completed", "cancelled") else _glance(plan, glance),
        waited=waited or timedelta(),
        queued_at=queued_at,
    )


def _glance(plan: Plan, row: Sequence[Any]) -> Glance | None:
    no, status, attempt, due_at, label, worker, failed = row
    if no is None or not plan.has(no):
        return None
    step = plan.steps[no]
    signal = label if step.type == "wait_signal" else None
    most = step.retry.max_attempts
    return Glance(step.id, step.type, StepStatus(status), attempt, most, due_at, failed, signal, worker)


def _standing(worker: WorkerRow, held: Sequence[Held]) -> WorkerStanding:
    return WorkerStanding(
        worker.id,
        worker.host,
        worker.pid,
        worker.status,
        worker.queues,
        worker.concurrency,
        worker.started_at,
        worker.seen_at,
        tuple(held),
    )


def _sum(counts: Sequence[int | None]) -> int | None:
    """Return a sum of what is known; None where nothing is."""
    known = [count for count in counts if count is not None]
    return sum(known) if known else None


def _p95(waits: Sequence[timedelta]) -> timedelta | None:
    return sorted(waits)[max(0, -(-len(waits) * 95 // 100) - 1)] if waits else None
