"""Measuring an installation: many runs of steps that do nothing, with worker processes of its own.

The runs go through a queue that nobody else serves. What is reported about time comes from the rows in Postgres; the
command only counts what is left. Processor time is that of the measured stretch alone: between the last run of the
warm-up and the end of the last run.
"""

from __future__ import annotations

import asyncio
import platform
import resource
import subprocess
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from uuid import UUID

from flowforge_cli import accounting, session, supervising
from flowforge_cli.benchmark_plan import QUEUE, Plan

if TYPE_CHECKING:
    from flowforge.client import AsyncClient
    from flowforge.engine.plans import PlannedVersion
    from flowforge.engine.starting import Start
    from flowforge.model.documents import Run

#: Seconds between two looks at what is left: the longer, the more runs are under way.
LOOK, SHORTEST_LOOK, MANY = 0.1, 0.02, 100
#: Samples of the workers' memory in the result, at most.
SAMPLES = 60

Show = Callable[[int, int, float], None]


class Benchmark:
    """One measurement."""

    def __init__(self, client: AsyncClient, plan: Plan, show: Show) -> None:
        self._client, self._plan, self._show = client, plan, show
        self._workers = supervising.Children(
            supervising.command("worker", "start", "--queue", QUEUE), {"FLOWFORGE_LOG_LEVEL": "warning"}
        )
        self._pids: list[int] = []
        self._submitted = 0
        #: The first run that is measured; the ids of one process grow.
        self._first: UUID | None = None
        #: Megabytes of the largest worker, at every look.
        self._memory: list[float] = []
        #: Milliseconds from asking for a run to knowing that it has ended.
        self._waited: list[float] = []

    async def measure(self) -> dict[str, Any]:
        """Start the workers, run everything, and return the result."""
        try:
            version = await self._client.planned(self._plan.definition())
            await self._start_workers(version)
            meter = self._meter()
            before, cpu = meter.read() if meter else {}, time.process_time()
            await (self._one_by_one(version) if self._plan.kind == "serial" else self._all_at_once(version))
            client = time.process_time() - cpu
            after = meter.read() if meter else {}
        finally:
            await asyncio.to_thread(self._workers.stop, 15)
        seconds = {role: round(after[role] - before[role], 3) for role in after}
        return self._result(version, await self._rows(version)) | {
            "cpu_seconds": {"workers": None, "postgres": None, "streams": None}
            | seconds
            | {"client": round(client, 3)},
            **self._memory_used(),
            "versions": self._versions(),
        }

    def _meter(self) -> accounting.Meter | None:
        """Return what reads the processor time of the workers, and of the servers that are ours."""
        if not accounting.available():
            return None
        from flowforge import local

        settings = self._client.settings
        found = local.status(session.home(settings))
        servers = {
            "postgres": found.postgres.pid if settings.database_url is None else None,
            "streams": found.valkey.pid if settings.redis_url is None else None,
        }
        return accounting.Meter({"workers": tuple(self._pids)} | {r: (pid,) for r, pid in servers.items() if pid})

    async def _start_workers(self, version: PlannedVersion) -> None:
        """Start the workers and let each do something, so that nothing is measured that happens once."""
        children = [self._workers.start(out=subprocess.DEVNULL) for _ in range(self._plan.workers)]
        self._pids = [child.pid for child in children]
        async with asyncio.timeout(30):
            while not set(self._pids) <= {row.pid for row in await self._client.workers() if row.status == "active"}:
                self._all_alive(children)
                await asyncio.sleep(0.05)
        warm = [self._client.prepare(version, {"n": no}) for no in range(self._plan.warm_up)]
        for run in await self._client.start_many(warm):
            await self._client.wait(run.id, timeout=60)

    @staticmethod
    def _all_alive(children: list[subprocess.Popen[bytes]]) -> None:
        from flowforge.errors import FlowforgeError

        for child in children:
            if child.poll() is not None:
                raise FlowforgeError(
                    f"a worker of the bench ended with {child.returncode}", hint="flowforge worker start"
                )

    async def _one_by_one(self, version: PlannedVersion) -> None:
        began = time.monotonic()
        for no in range(self._plan.runs):
            asked = time.perf_counter()
            (run,) = await self._client.start_many([self._prepare(version, no)])
            await self._client.wait(run.id)
            self._waited.append((time.perf_counter() - asked) * 1000)
            if no % 10 == 0:
                self._look(no + 1, began)

    async def _all_at_once(self, version: PlannedVersion) -> None:
        """Start runs as long as few enough are under way; wait until none is."""
        room = asyncio.Semaphore(0)
        submitting = asyncio.create_task(self._submit(version, room))
        began, granted = time.monotonic(), 0
        pause = max(SHORTEST_LOOK, LOOK * min(1, self._plan.in_flight / MANY))
        try:
            while True:
                left = await self._left(version)
                done = max(0, self._submitted - left)
                self._look(done, began)
                if submitting.done():
                    await submitting
                    if left == 0:
                        return
                wanted = min(self._plan.runs, done + self._plan.in_flight)
                while granted + self._plan.batch <= wanted or granted < wanted == self._plan.runs:
                    granted += self._plan.batch
                    room.release()
                await asyncio.sleep(pause)
        except asyncio.CancelledError:
            submitting.cancel()
            await self._finish(version)
            raise

    def _prepare(self, version: PlannedVersion, no: int) -> Start:
        start = self._client.prepare(version, {"n": no})
        self._first = self._first or start.run_id
        return start

    def _look(self, done: int, began: float) -> None:
        self._show(done, self._plan.runs, done / (time.monotonic() - began))
        if accounting.available():
            self._memory.append(max(accounting.resident_mb(self._pids), default=0.0))

    async def _submit(self, version: PlannedVersion, room: asyncio.Semaphore) -> None:
        while self._submitted < self._plan.runs:
            await room.acquire()
            count = min(self._plan.batch, self._plan.runs - self._submitted)
            starts = [self._prepare(version, self._submitted + no) for no in range(count)]
            # Counted before it is known: what is left is then never more than what was submitted.
            self._submitted += count
            await self._client.start_many(starts)

    async def _finish(self, version: PlannedVersion) -> None:
        """Let what was started end, for a moment."""
        deadline = time.monotonic() + 5
        while await self._left(version) and time.monotonic() < deadline:  # noqa: ASYNC110 - in other processes
            await asyncio.sleep(LOOK)

    async def _left(self, version: PlannedVersion) -> int:
        found = await self._client.workflows()
        return next(one.active_runs for one in found if one.name == version.plan.name)

    async def _rows(self, version: PlannedVersion) -> list[Run]:
        """Return the measured runs: the newest, down to the first; times cannot tell, two clocks have part in them."""
        from flowforge.model.documents import RunFilter

        found = await self._client.runs(RunFilter(workflow=version.plan.name, limit=self._plan.runs))
        return [run for run in found if self._first is not None and run.id >= self._first]

    def _result(self, version: PlannedVersion, rows: list[Run]) -> dict[str, Any]:
        from flowforge.errors import FlowforgeError

        plan = self._plan
        wrong = [run for run in rows if run.status.value != "completed"]
        if wrong or len(rows) != plan.runs:
            raise FlowforgeError(f"{len(wrong)} runs failed, {len(rows)} of {plan.runs} were found")
        ends = [run.finished_at for run in rows if run.finished_at is not None]
        seconds = (max(ends) - min(run.created_at for run in rows)).total_seconds()
        taken = [(end - run.created_at).total_seconds() * 1000 for run, end in zip(rows, ends, strict=True)]
        waited = {"waited_ms": _percentiles(self._waited)} if self._waited else {}
        steps = len(version.plan.steps)
        return {
            "schema": "flowforge/bench/v1",
            "shape": plan.shape,
            "runs": plan.runs,
            "steps": steps,
            "seconds": round(seconds, 3),
            "runs_per_s": round(plan.runs / seconds, 1),
            "steps_per_s": round(plan.runs * steps / seconds, 1),
            "latency_ms": _percentiles(taken),
            **waited,
            "workers": plan.workers,
            "settings": {
                "gate": plan.gate,
                "batch": plan.batch,
                "in_flight": plan.in_flight,
                "warm_up": plan.warm_up,
            },
        }

    def _memory_used(self) -> dict[str, Any]:
        """Return the most that a worker ever held, and how that came about."""
        if not self._memory:
            # In KiB on Linux, in bytes on macOS, the only other place that this is for.
            most = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
            return {"worker_peak_mb": round(most / (1e6 if platform.system() == "Darwin" else 1e3), 1)}
        every = -(-len(self._memory) // SAMPLES)
        return {
            "worker_peak_mb": round(max(self._memory), 1),
            "worker_memory_mb": [round(one, 1) for one in self._memory[::every]],
        }

    def _versions(self) -> dict[str, Any]:
        from flowforge.version import __version__

        return {"flowforge": __version__, "python": platform.python_version(), "machine": platform.platform()}


PERCENTILES = {"p50": 0.50, "p95": 0.95, "p99": 0.99, "max": 1.0}


def _percentiles(values: list[float]) -> dict[str, float]:
    ordered = sorted(values)
    return {name: round(percentile(ordered, share), 2) for name, share in PERCENTILES.items()}


def percentile(ordered: list[float], share: float) -> float:
    """Return the value below which a share of the ordered values lies (nearest rank)."""
    rank = max(1, -(-len(ordered) * share // 1))
    return ordered[int(rank) - 1]
