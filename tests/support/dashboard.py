"""A dashboard without servers: a client that answers from memory and remembers what was asked; its screen as text."""

from __future__ import annotations

import asyncio
import io
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from math import inf
from pathlib import Path
from typing import Any
from uuid import UUID

from rich.console import Console
from textual.pilot import Pilot

from flowforge.errors import Conflict, DatabaseUnavailable, NotFound
from flowforge.model.capsule import Capsule
from flowforge.model.documents import Incident, Run, RunEvent, RunFilter, Step
from flowforge.model.overview import Glance, Held, Pulse, QueueStanding, RunSummary, Transport, WorkerStanding
from flowforge.model.pausing import Held as HeldStill
from flowforge.model.pausing import Pause
from flowforge.model.status import RunStatus, StepStatus
from flowforge.store.imported import Imported
from flowforge_streams.errors import StreamUnavailable
from flowforge_tui.app import TopApp
from flowforge_tui.modals.confirm import Confirm
from flowforge_tui.options import Options
from tests.support.eventually import eventually

NOW = datetime(2026, 3, 1, 12, 5, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def run_id(number: int) -> UUID:
    """Return an id whose last digits are a number; greater is newer."""
    return UUID(int=(0x0199 << 112) + (7 << 76) + (8 << 60) + number)


def summary(number: int, workflow: str = "orders.fulfil", status: str = "running", **more: Any) -> RunSummary:
    """Return a run that started *number* seconds after noon."""
    begun = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC) + number % 300 * SECOND
    ended = begun + 30 * SECOND if RunStatus(status).final else None
    what: dict[str, Any] = {
        "trigger": "api",
        "created_at": begun,
        "started_at": begun + 0.2 * SECOND,
        "finished_at": ended,
    }
    what |= {"seq": 1, "done": 1, "steps": 4, "version": 1} | more
    return RunSummary(id=run_id(number), workflow=workflow, status=RunStatus(status), **what)


def error(step: str = "charge_card", message: str = "503 from payments.example") -> dict[str, Any]:
    """Return the error of a run."""
    return {"code": "HTTP_503", "message": message, "step": step, "attempt": 4, "hint": "look at the provider"}


def several() -> list[RunSummary]:
    """Return a run in every state that matters."""
    waiting = Glance("approve", "approval", StepStatus.WAITING, 1, 3, NOW + timedelta(hours=20))
    retrying = Glance("charge_card", "http", StepStatus.WAITING, 2, 4, NOW + 6 * SECOND, failed_before=True)
    listening = Glance("go", "wait_signal", StepStatus.WAITING, 1, 3, NOW + timedelta(hours=3), signal="start")
    failed = Glance("charge_card", "http", StepStatus.FAILED, 4, 4)
    running = Glance("transform[7]", "python", StepStatus.RUNNING, 1, 3, NOW + 20 * SECOND, worker="w-1")
    return [
        summary(10, status="completed", done=4),
        summary(20, "agent.research", at=listening),
        summary(30, "etl.nightly", at=running, steps=40, done=12, trigger="cron", labels={"region": "eu"}),
        summary(40, status="failed", at=failed, error=error(), done=2),
        summary(50, at=retrying, done=2),
        summary(60, "invoice.approve", at=waiting, steps=3),
        summary(70, status="paused"),
        summary(80, status="pending", started_at=None, done=0),
        summary(90, status="cancelled"),
    ]


def document(one: RunSummary) -> Run:
    """Return a run with steps, as far as a summary says."""
    steps = [Step("validate", "Validate", "transform", StepStatus.COMPLETED, 1)]
    if one.at is not None:
        waits = {"approval": {"prompt": "Pay it?", "approvers": ["finance"]}, "missing": 1} if one.at.asks else None
        waits = {"signal": one.at.signal} if one.at.listens else waits
        steps.append(Step(one.at.id, one.at.id, one.at.type, one.at.status, one.at.attempt, waits_for=waits))
    when = (one.created_at, one.labels)
    return Run(
        one.id, one.workflow, one.version, one.status, {"n": 1}, None, one.error, one.trigger, *when, steps=tuple(steps)
    )


def transport(added: int = 100, seconds: int = 0) -> Transport:
    """Return two queues and two workers, one of them lost."""
    at = NOW + seconds * SECOND
    busy = Held(run_id(30), "etl.nightly", "transform[7]", NOW - 3 * SECOND, NOW + 20 * SECOND)
    left = Held(run_id(40), "orders.fulfil", "charge_card", NOW - 60 * SECOND, NOW - 11 * SECOND)
    alive = WorkerStanding("w-1", "vm", 811, "active", ("default",), 4, NOW - 90 * SECOND, NOW - 0.3 * SECOND, (busy,))
    lost = WorkerStanding("w-2", "vm", 812, "lost", ("agents",), 4, NOW - 90 * SECOND, NOW - 41 * SECOND, (left,))
    queues = (
        QueueStanding("agents", 0, 3, 2, 9 * SECOND, added, added - 3, 1, 7.7 * SECOND, 2),
        QueueStanding("default", 1, 12, 4, 1.9 * SECOND, 8 * added, 8 * added - 12, 0, 0.4 * SECOND),
    )
    return Transport(at, queues, (alive, lost), 2, NOW - 8 * SECOND, 1)


def incident(number: int = 7, **more: Any) -> Incident:
    """Return an open incident."""
    seen = (NOW - timedelta(hours=2), NOW - timedelta(minutes=5))
    made = Incident(number, "irrecoverable_error", "orders.fulfil", run_id(40), "charge_card", error(), 3, *seen)
    return replace(made, **more)


def _imported(one: Capsule) -> Imported:
    run, ago = one.run, NOW - timedelta(hours=1)
    times = (run.created_at, run.finished_at, one.exported_at, ago)
    return Imported(run.id, run.workflow, run.version, run.status.value, *times, "alice")


class FakeClient:
    """Answers from memory; `asked` is what was done to runs."""

    def __init__(self, runs: Sequence[RunSummary] = ()) -> None:
        self.known = {run.id: run for run in runs}
        self.asked: list[tuple[Any, ...]] = []
        self.open_incidents: list[Incident] = []
        self.transports = [transport()]
        self.coming: asyncio.Queue[RunEvent] = asyncio.Queue()
        self.wanted: list[RunFilter] = []
        self.postgres_away = self.streams_away = False
        self.refuses: set[UUID] = set()
        #: What the database finds by parts of a filter that a line does not say; and what it says to a filter.
        self.answers: dict[str, list[UUID]] = {}
        self.refuses_filter: Exception | None = None
        #: Queues and workflows that are paused; capsules by what they are called.
        self.held: list[tuple[str, str]] = []
        self.capsules: dict[str, Capsule] = {}
        self.closed = False

    def _answer(self) -> None:
        if self.postgres_away:
            raise DatabaseUnavailable

    async def open(self) -> None:
        self._answer()

    async def close(self) -> None:
        self.closed = True

    async def pulse(self) -> Pulse:
        self._answer()
        active = sum(not run.status.final for run in self.known.values())
        failed = sum(run.status is RunStatus.FAILED for run in self.known.values())
        streams = None if self.streams_away else "redis 9.1.2"
        return Pulse(NOW, "18.4", streams, active, failed, len(self.open_incidents), 1)

    async def summaries(self, wanted: RunFilter | Sequence[UUID]) -> list[RunSummary]:
        self._answer()
        if not isinstance(wanted, RunFilter):
            return [self.known[one] for one in wanted if one in self.known]
        self.wanted.append(wanted)
        if self.refuses_filter is not None and not wanted.empty and not wanted.statuses:
            raise self.refuses_filter
        found = [run for run in self.known.values() if not wanted.statuses or run.status in wanted.statuses]
        for part, ids in self.answers.items():
            if getattr(wanted, part):
                found = [run for run in found if run.id in ids]
        return sorted(found, key=lambda run: run.id, reverse=True)[: wanted.limit]

    async def feed(self) -> AsyncIterator[RunEvent]:
        while not self.streams_away:
            try:
                yield await asyncio.wait_for(self.coming.get(), 0.01)
            except TimeoutError:
                continue
        raise StreamUnavailable("connection refused")

    def happens(self, run: RunSummary, kind: str = "step.started") -> None:
        """Let something happen to a run."""
        self.known[run.id] = run
        self.coming.put_nowait(RunEvent(run.id, run.seq, kind, NOW))

    async def events(self, reference: UUID, after: int = 0) -> list[RunEvent]:
        return []

    async def logs(self, reference: UUID) -> list[tuple[str, int, str]]:
        return []

    async def versions(self, name: str) -> list[Any]:
        return []

    async def get(self, reference: UUID) -> Run:
        self._answer()
        return document(self.known[reference])

    async def explain(self, reference: UUID) -> Any:
        raise NotFound(f"nothing is known of {reference}")

    async def diff(self, before: UUID, after: UUID) -> Any:
        raise NotFound(f"nothing is known of {before} and {after}")

    async def incidents(self, *, resolved: bool = False, limit: int = 50) -> list[Incident]:
        self._answer()
        return [one for one in self.open_incidents if resolved or one.resolved_at is None][:limit]

    async def resolve_incident(self, number: int, *, resolution: str | None = None) -> Incident:
        self.asked.append(("resolve_incident", number, resolution))
        return self.open_incidents.pop(0)

    async def transport(self) -> Transport:
        self._answer()
        return self.transports[0] if len(self.transports) == 1 else self.transports.pop(0)

    async def pauses(self) -> list[Pause]:
        return [
            Pause(kind, name, NOW - timedelta(hours=2), "alice", "the provider is down") for kind, name in self.held
        ]

    async def pause_queue(self, name: str, *, reason: str | None = None) -> HeldStill:
        return self._hold("queue", name, reason, paused=True)

    async def resume_queue(self, name: str, *, reason: str | None = None) -> HeldStill:
        return self._hold("queue", name, reason, paused=False)

    async def pause_workflow(self, name: str, *, reason: str | None = None) -> HeldStill:
        return self._hold("workflow", name, reason, paused=True)

    async def resume_workflow(self, name: str, *, reason: str | None = None) -> HeldStill:
        return self._hold("workflow", name, reason, paused=False)

    def _hold(self, kind: str, name: str, reason: str | None, *, paused: bool) -> HeldStill:
        self.asked.append(("pause" if paused else "resume", kind, name, reason))
        self.held = [*self.held, (kind, name)] if paused else [one for one in self.held if one != (kind, name)]
        return HeldStill(kind, name, paused, changed=True, pause=None)

    async def imported(self, limit: int = 100) -> list[Imported]:
        return [_imported(one) for one in self.capsules.values()][:limit]

    async def foreign(self, reference: str) -> Capsule | None:
        return self.capsules.get(reference)

    async def resolve(self, reference: str) -> UUID:
        found = [one for one in self.known if one.hex.endswith(reference.replace("-", ""))]
        if not found:
            raise NotFound(f"there is no run '{reference}'", hint="flowforge ps lists runs")
        return found[0]

    async def forget(self, reference: str) -> UUID:
        self.asked.append(("forget", reference))
        return self.capsules.pop(reference).run.id

    async def dead_letters(self, queue: str) -> list[Any]:
        self.asked.append(("dead_letters", queue))
        return []

    async def drain(self, ids: Sequence[str]) -> list[str]:
        self.asked.append(("drain", *ids))
        return list(ids)

    def _do(self, name: str, reference: UUID, *more: Any) -> Any:
        if reference in self.refuses:
            raise Conflict("it was changed meanwhile", hint="look again")
        self.asked.append((name, reference, *more))

    async def cancel(self, reference: UUID, *, reason: str | None = None) -> None:
        self._do("cancel", reference, reason)

    async def retry(self, reference: UUID, *, reason: str | None = None) -> None:
        self._do("retry", reference, reason)

    async def pause(self, reference: UUID, *, reason: str | None = None) -> None:
        self._do("pause", reference, reason)

    async def resume(self, reference: UUID, *, reason: str | None = None) -> None:
        self._do("resume", reference, reason)

    async def skip(self, reference: UUID, step: str, *, reason: str | None = None) -> None:
        self._do("skip", reference, step, reason)

    async def signal(self, reference: UUID, name: str, payload: object = None) -> None:
        self._do("signal", reference, name, payload)

    async def decide(self, reference: UUID, step: str, *, approved: bool, comment: str | None = None) -> None:
        self._do("decide", reference, step, approved, comment)

    async def replay(self, reference: UUID, *, from_step: str | None = None, changes: Any = None) -> None:
        self._do("replay", reference, from_step, changes)


#: Fast, and by a clock that stands still.
QUICK = Options(interval=0.1, resync=0.2, clock=lambda: NOW)


@asynccontextmanager
async def opened(
    client: Any, size: tuple[int, int] = (120, 40), options: Options = QUICK, *, ready: bool = True
) -> AsyncIterator[tuple[Any, Pilot[None]]]:
    """Open a dashboard; when it is *ready*, it has read what there is and shows it."""
    app: Any = TopApp(client, options)
    async with app.run_test(size=size) as pilot:
        _patient(pilot)
        if ready and not getattr(client, "postgres_away", False):
            await eventually(lambda: app.live.ready.is_set() and app.screen.book.known == len(client.known))
        await settled(pilot)
        yield app, pilot


def _patient(pilot: Pilot[None]) -> None:
    """Let a key be handled before the next is pressed, also where one waits for another, or for a screen."""
    app: Any = pilot.app
    press = pilot.press

    async def pressed(*keys: str) -> None:
        for key in keys:
            await press(key)
            await eventually(lambda: not (app.typeahead.busy and app.is_running))
            await pilot.pause()

    pilot.press = pressed  # type: ignore[method-assign]


async def settled(pilot: Pilot[None]) -> None:
    """Wait until what was asked for is on the screen."""
    await pilot.pause()
    pilot.app.screen.beat() if hasattr(pilot.app.screen, "beat") else None
    await pilot.pause()


async def question(app: Any) -> Any:
    """Wait until a question is asked and can be read; return it."""
    return await eventually(lambda: isinstance(app.screen, Confirm) and app.screen.readable_at < inf and app.screen)


def screen_text(app: TopApp) -> str:
    """Return what is on the screen, line by line."""
    width, height = app.size
    console = Console(width=width, height=height, file=io.StringIO(), record=True, legacy_windows=False)
    console.print(app.screen._compositor.render_update(full=True, screen_stack=app._background_screens))
    lines = console.export_text(styles=False).split("\n")[:height]
    return "\n".join(line.rstrip() for line in lines) + "\n"


SNAPSHOTS = Path(__file__).parent.parent / "unit" / "tui" / "snapshots"


def matches(name: str, text: str) -> None:
    """Compare a screen with the one that is kept; SNAPSHOTS=write keeps it."""
    file = SNAPSHOTS / f"{name}.txt"
    if os.environ.get("SNAPSHOTS") == "write":
        file.write_text(text, encoding="utf-8")
    assert text == file.read_text(encoding="utf-8"), f"{name}: look at it, then SNAPSHOTS=write keeps it"
