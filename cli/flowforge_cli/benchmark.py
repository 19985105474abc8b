"""Measuring an installation: many runs of steps that do nothing, with worker processes of its own.

The runs go through a queue that nobody else serves. What is reported about time comes from the rows in Postgres; the
command only counts what is left.
"""

from __future__ import annotations

import asyncio
import platform
import resource
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from flowforge_cli import supervising

if TYPE_CHECKING:
    from flowforge.client import AsyncClient
    from flowforge.engine.plans import PlannedVersion
    from flowforge.model.documents import Run

QUEUE = "bench"
DEFAULT_RUNS = {"linear": 10_000, "fanout": 1}
#: Seconds between two looks at what is left.
LOOK = 0.1
#: Steps of a run of the shape `serial`.
SERIAL_STEPS = 3

Show = Callable[[int, int, float], None]


@dataclass(frozen=True)
class Plan:
    """What to measure."""

    kind: str
    size: int
    runs: int
    workers: int
    gate: int | None
    batch: int
    in_flight: int

    @classmethod
    def parse(cls, shape: str, *, runs: int | None, workers: int, gate: int | None, batch: int, in_flight: int) -> Plan:
        """Read a shape such as linear:3."""
        from flowforge.errors import UsageError

        kind, _, size = shape.partition(":")
        if kind not in ("linear", "fanout", "serial") or not size.isdecimal() or int(size) < 1:
            raise UsageError(f"'{shape}' is not a shape", hint="linear:3, fanout:100 or serial:500")
        count = int(size) if kind == "serial" else runs or DEFAULT_RUNS[kind]
        return cls(kind, int(size), count, workers, gate, batch, in_flight)

    @property
    def shape(self) -> str:
        """The shape as written."""
        return f"{self.kind}:{self.size}"

    def definition(self) -> dict[str, Any]:
        """Return the workflow of the shape."""
        steps = SERIAL_STEPS if self.kind == "serial" else self.size
        name = f"bench-{'linear' if self.kind == 'serial' else self.kind}-{steps}"
        nothing = {"type": "transform", "config": {"expression": "input.n"}}
        if self.kind == "fanout":
            children = [{"id": f"child{no}", **nothing} for no in range(self.size)]
            listed: list[dict[str, Any]] = [
                {"id": "fan", "type": "parallel", "config": {"steps": children}},
                {"id": "join", "depends_on": "fan", **nothing},
            ]
        else:
            listed = [{"id": f"step{no}", **nothing} for no in range(steps)]
            for no in range(1, steps):
                listed[no]["depends_on"] = f"step{no - 1}"
        gate = f"-gate-{self.gate}" if self.gate else ""
        return {"name": name + gate, "queue": QUEUE, "concurrency": {"limit": self.gate}, "steps": listed}


class Benchmark:
    """One measurement."""

    def __init__(self, client: AsyncClient, plan: Plan, show: Show) -> None:
        self._client, self._plan, self._show = client, plan, show
        self._workers = supervising.Children(
            supervising.command("worker", "start", "--queue", QUEUE), {"FLOWFORGE_LOG_LEVEL": "warning"}
        )
        self._submitted = 0

    async def measure(self) -> dict[str, Any]:
        """Start the workers, run everything, and return the result."""
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = time.process_time()
        try:
            version = await self._client.planned(self._plan.definition())
            await self._start_workers(version)
            began = datetime.now(UTC)
            await (self._one_by_one(version) if self._plan.kind == "serial" else self._all_at_once(version))
            client_cpu = time.process_time() - cpu
        finally:
            await asyncio.to_thread(self._workers.stop, 15)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        workers_cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return self._result(version, await self._rows(version, began)) | {
            "cpu_seconds": {"workers": round(workers_cpu, 2), "client": round(client_cpu, 2)},
            "worker_peak_mb": round(after.ru_maxrss / 1024, 1),
            "versions": self._versions(),
        }

    async def _start_workers(self, version: PlannedVersion) -> None:
        """Start the workers and let each do something, so that nothing is measured that happens once."""
        children = [self._workers.start(out=subprocess.DEVNULL) for _ in range(self._plan.workers)]
        wanted = {child.pid for child in children}
        async with asyncio.timeout(30):
            while not wanted <= {row.pid for row in await self._client.workers() if row.status == "active"}:
                self._all_alive(children)
                await asyncio.sleep(0.05)
        warm = [self._client.prepare(version, {"n": no}) for no in range(1 if self._plan.kind == "fanout" else 50)]
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
            (run,) = await self._client.start_many([self._client.prepare(version, {"n": no})])
            await self._client.wait(run.id)
            if no % 10 == 0:
                self._show(no + 1, self._plan.runs, (no + 1) / (time.monotonic() - began))

    async def _all_at_once(self, version: PlannedVersion) -> None:
        """Start runs as long as few enough are under way; wait until none is."""
        room = asyncio.Semaphore(0)
        submitting = asyncio.create_task(self._submit(version, room))
        began, granted = time.monotonic(), 0
        try:
            while True:
                left = await self._left(version)
                done = max(0, self._submitted - left)
                self._show(done, self._plan.runs, done / (time.monotonic() - began))
                if submitting.done():
                    await submitting
                    if left == 0:
                        return
                wanted = min(self._plan.runs, done + self._plan.in_flight)
                while granted + self._plan.batch <= wanted or granted < wanted == self._plan.runs:
                    granted += self._plan.batch
                    room.release()
                await asyncio.sleep(LOOK)
        except asyncio.CancelledError:
            submitting.cancel()
            await self._finish(version)
            raise

    async def _submit(self, version: PlannedVersion, room: asyncio.Semaphore) -> None:
        while self._submitted < self._plan.runs:
            await room.acquire()
            count = min(self._plan.batch, self._plan.runs - self._submitted)
            starts = [self._client.prepare(version, {"n": self._submitted + no}) for no in range(count)]
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

    async def _rows(self, version: PlannedVersion, began: datetime) -> list[Run]:
        from flowforge.model.documents import RunFilter

        return await self._client.runs(RunFilter(workflow=version.plan.name, since=began, limit=self._plan.runs))

    def _result(self, version: PlannedVersion, rows: list[Run]) -> dict[str, Any]:
        from flowforge.errors import FlowforgeError

        wrong = [run for run in rows if run.status.value != "completed"]
        if wrong or len(rows) != self._plan.runs:
            raise FlowforgeError(f"{len(wrong)} runs failed, {len(rows)} of {self._plan.runs} were found")
        ends = [run.finished_at for run in rows if run.finished_at is not None]
        seconds = (max(ends) - min(run.created_at for run in rows)).total_seconds()
        taken = sorted((end - run.created_at).total_seconds() * 1000 for run, end in zip(rows, ends, strict=True))
        steps = self._plan.runs * len(version.plan.steps)
        return {
            "schema": "flowforge/bench/v1",
            "shape": self._plan.shape,
            "runs": self._plan.runs,
            "seconds": round(seconds, 3),
            "runs_per_s": round(self._plan.runs / seconds, 1),
            "steps_per_s": round(steps / seconds, 1),
            "latency_ms": {name: round(percentile(taken, share), 2) for name, share in PERCENTILES.items()},
            "workers": self._plan.workers,
            "settings": {"gate": self._plan.gate, "batch": self._plan.batch, "in_flight": self._plan.in_flight},
        }

    def _versions(self) -> dict[str, Any]:
        from flowforge.version import __version__

        return {"flowforge": __version__, "python": platform.python_version(), "machine": platform.platform()}


PERCENTILES = {"p50": 0.50, "p95": 0.95, "p99": 0.99, "max": 1.0}


def percentile(ordered: list[float], share: float) -> float:
    """Return the value below which a share of the ordered values lies (nearest rank)."""
    rank = max(1, -(-len(ordered) * share // 1))
    return ordered[int(rank) - 1]
