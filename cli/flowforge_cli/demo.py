"""The demo as a play: an order is fulfilled although the worker that charges the card is killed while it does.

Nothing is staged: real servers, real worker processes, a real SIGKILL at the moment the service has the call. What
is claimed at the end is read from the history and counted by the service.
"""

from __future__ import annotations

import asyncio
import signal
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import resources
from typing import TYPE_CHECKING, Any

from flowforge_cli import supervising
from flowforge_cli.demo_service import Service
from flowforge_cli.text import duration, short_id

if TYPE_CHECKING:
    from uuid import UUID

    from flowforge.client import AsyncClient
    from flowforge.model.documents import Run, RunEvent

QUEUE, VICTIM = "demo", "charge"
#: How long a silent worker keeps its steps; production uses 30 s.
LEASE = 2.0
#: Seconds after which something is wrong with this machine.
PATIENCE = 60.0

FIRST: dict[str, Any] = {
    "name": "demo-hello",
    "queue": QUEUE,
    "steps": [{"id": "hello", "type": "transform", "config": {"expression": "'hello, ' + input.name"}}],
}

Say = Callable[[str], None]


@dataclass
class Story:
    """What happened, in seconds since the command began."""

    first_run: float = 0.0
    killed_worker: str = ""
    killed_pid: int = 0
    killed_at: float = 0.0
    taken_over_at: float = 0.0
    taken_over_by: str = ""
    seconds: float = 0.0
    run: Run | None = None
    events: list[RunEvent] = field(default_factory=list)
    effects: list[dict[str, Any]] = field(default_factory=list)

    @property
    def checks(self) -> dict[str, bool]:
        """What must be true, and whether it is."""
        counts = {one["step"]: one for one in self.effects}
        charge = counts.get(VICTIM, {"calls": 0, "keys": 0, "effects": 0})
        others = [one for step, one in counts.items() if step != VICTIM]
        return {
            "the run completed": self.run is not None and self.run.status.value == "completed",
            "another worker took over": bool(self.taken_over_by) and self.taken_over_by != self.killed_worker,
            "no finished step ran again": len(others) == 4 and all(one["calls"] == 1 for one in others),  # noqa: PLR2004
            "the interrupted step repeated its idempotency key": charge["calls"] > 1 and charge["keys"] == 1,
            "the card was charged once": charge["effects"] == 1,
        }

    def document(self) -> dict[str, Any]:
        """Return it as data."""
        assert self.run is not None, "the play is not over"
        return {
            "schema": "flowforge/demo/v1",
            "ok": all(self.checks.values()),
            "seconds": round(self.seconds, 3),
            "first_run_seconds": round(self.first_run, 3),
            "lease_seconds": LEASE,
            "killed": {"worker": self.killed_worker, "pid": self.killed_pid, "step": VICTIM, "signal": "SIGKILL"},
            "taken_over": {"worker": self.taken_over_by, "seconds": round(self.taken_over_at - self.killed_at, 3)},
            "effects": self.effects,
            "events": dict(Counter(event.type for event in self.events)),
            "checks": self.checks,
            "run": self.run.document(),
            "next": next_commands(self.run),
        }


def next_commands(run: Run) -> list[str]:
    """Return what to try now."""
    return [f"flowforge show {short_id(run.id)}", f"flowforge events {short_id(run.id)}", "flowforge init"]


class Play:
    """The demo, act by act."""

    def __init__(self, client: AsyncClient, service: Service, address: str, began: float, say: Say) -> None:
        self._client, self._service, self._address, self._say = client, service, address, say
        self._began = began
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed at the end of the play
        self._workers = supervising.Children(
            supervising.command("worker", "start", "--queue", QUEUE, "--grace", "1s"),
            {"FLOWFORGE_LEASE": f"{LEASE:g}s", "FLOWFORGE_ALLOW_LOOPBACK": "true"},
        )
        self.story = Story()

    async def perform(self) -> Story:
        """Play it all."""
        try:
            async with asyncio.timeout(PATIENCE):
                worker = self._start_worker()
                await self._first_run(worker)
                run_id = await self._order(worker)
                await self._end(run_id)
        finally:
            self._workers.stop(patience=5)
            self._log.close()
        self.story.effects = [one.document(step) for step, one in self._service.effects.items()]
        self.story.seconds = self._now()
        return self.story

    def _now(self) -> float:
        return time.monotonic() - self._began

    def _start_worker(self) -> subprocess.Popen[bytes]:
        return self._workers.start(out=subprocess.DEVNULL, err=self._log.fileno())

    async def _first_run(self, worker: subprocess.Popen[bytes]) -> None:
        """Run something small, to see that everything is there."""
        started = await self._client.run(FIRST, {"name": "world"}, trigger="demo")
        run = await self._while_alive(worker, self._client.wait(started.id))
        self.story.first_run = self._now()
        self._say(f"worker {worker.pid} is there; first run finished: {run.output and run.output['hello']['result']}")

    async def _order(self, worker: subprocess.Popen[bytes]) -> UUID:
        """Start the order, and kill the worker when the service has the call that charges the card."""
        text = resources.files("flowforge_cli").joinpath("templates", "demo.yaml").read_text(encoding="utf-8")
        definition = await asyncio.to_thread(_parse, text)
        order = {"order": "A-1001", "amount": 50, "service": self._address}
        run = await self._client.run(definition, order, labels={"demo": "true"}, trigger="demo")
        self._say(f"an order of six steps starts: {run.workflow}@{run.version} {short_id(run.id)}")
        called = asyncio.to_thread(self._service.arrived(VICTIM).wait, PATIENCE)
        await self._while_alive(worker, called)
        for step in [step for step in (await self._client.get(run.id)).steps or () if step.status.value == "completed"]:
            self._say(f"  {step.id} is done")
        self._say(f"  {VICTIM} is being executed: the service has the call, the answer is on its way")
        worker.send_signal(signal.SIGKILL)
        await asyncio.to_thread(worker.wait)
        self.story.killed_pid, self.story.killed_at = worker.pid, self._now()
        replacement = self._start_worker()
        self._say(f"kill -9 {worker.pid}: the worker is dead, in the middle of {VICTIM}")
        self._say(f"worker {replacement.pid} starts; it cannot have the step before the dead worker's lease ends")
        return run.id

    async def _end(self, run_id: UUID) -> None:
        """Tell how the order goes on without the worker it began with."""
        dead = self._now()
        killed = next(step for step in (await self._client.get(run_id)).steps or () if step.id == VICTIM)
        self.story.killed_worker = killed.worker or ""
        finished: set[str] = {"check", "reserve"}
        async for event in self._client.follow(run_id):
            self.story.events.append(event)
            if event.step == VICTIM and event.type == "step.started" and (event.attempt or 0) > 1:
                self.story.taken_over_at = self._now()
                self.story.taken_over_by = str(event.data.get("worker", ""))
                waited = duration(self.story.taken_over_at - dead)
                self._say(f"the lease ran out after {waited}: {VICTIM} is taken over, attempt {event.attempt}")
            elif event.type == "step.completed" and event.step not in finished:
                finished.add(event.step or "")
                self._say(f"  {event.step} is done")
        self.story.run = await self._client.get(run_id)

    async def _while_alive(self, worker: subprocess.Popen[bytes], work: Any) -> Any:
        """Wait for something that a worker does; if the worker ends, there is nothing to wait for."""
        task = asyncio.ensure_future(work)
        try:
            while not task.done():
                await asyncio.wait({task}, timeout=0.1)
                if worker.poll() is not None and not task.done():
                    raise self._broken(worker)
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        return task.result()

    def _broken(self, worker: subprocess.Popen[bytes]) -> Exception:
        from flowforge.errors import FlowforgeError

        self._log.seek(0)
        said = self._log.read().decode(errors="replace").strip().splitlines()
        return FlowforgeError(
            f"the demo's worker ended with {worker.returncode}: {said[-1] if said else 'it said nothing'}",
            hint="flowforge worker start shows the same trouble by itself",
        )


def _parse(text: str) -> dict[str, Any]:
    from flowforge.model.load import canonical, load

    return canonical(load(text, filename="demo.yaml").workflow)
