"""How queues, workers and what lies between look. Pure: the time is an argument."""

from __future__ import annotations

from datetime import datetime, timedelta

from flowforge.model.overview import QueueStanding, Transport, WorkerStanding
from flowforge.model.text import LOOKS, Span, duration, one_line, state
from flowforge_tui.runs.columns import brief
from flowforge_tui.widgets.columns import Column

QUEUES = (
    Column("queue", "QUEUE", 12, grows=1),
    Column("state", "STATE", 8),
    Column("backlog", "BACKLOG", 7, right=True),
    Column("pending", "PENDING", 7, right=True),
    Column("oldest", "OLDEST", 6, yields=3, right=True),
    Column("in", "IN/s", 6, yields=1, right=True),
    Column("out", "OUT/s", 6, yields=1, right=True),
    Column("p95", "p95 WAIT", 8, yields=2, right=True),
    Column("workers", "WORKERS", 7, right=True),
)
WORKERS = (
    Column("worker", "WORKER", 18, grows=1),
    Column("state", "STATE", 10),
    Column("slots", "SLOTS", 7),
    Column("step", "STEP", 14, grows=2),
    Column("seen", "SEEN", 6, right=True),
    Column("pid", "PID", 7, yields=3, right=True),
    Column("host", "HOST", 10, yields=4),
    Column("queues", "QUEUES", 10, yields=2, grows=1),
)

#: Longer than workers are silent while they are well.
SILENT = timedelta(seconds=15)

Rates = tuple[float | None, float | None]


def rates(now: Transport, before: Transport | None, name: str) -> Rates:
    """Return dispatches a second that came into a queue, and that were delivered; None while nobody can say."""
    old = None if before is None else next((queue for queue in before.queues if queue.name == name), None)
    new = next((queue for queue in now.queues if queue.name == name), None)
    if old is None or new is None or before is None:
        return None, None
    seconds = (now.at - before.at).total_seconds()
    return _rate(old.added, new.added, seconds), _rate(old.delivered, new.delivered, seconds)


def _rate(old: int | None, new: int | None, seconds: float) -> float | None:
    if old is None or new is None or seconds <= 0 or new < old:
        return None
    return (new - old) / seconds


def queue_cells(queue: QueueStanding, rate: Rates, *, held: bool = False) -> tuple[Span, ...]:
    """Return a cell for every column of queues."""
    waiting = queue.unpublished + (queue.backlog or 0)
    backlog = Span("?" if queue.backlog is None else str(waiting), "warn" if waiting else "")
    unserved = queue.workers == 0
    return (
        Span(one_line(queue.name, 60), "strong"),
        state("paused" if held else "open"),
        backlog,
        Span(_count(queue.pending)),
        Span("-" if queue.oldest is None else brief(queue.oldest)),
        *(Span("-" if one is None else f"{one:.1f}") for one in rate),
        Span("-" if queue.wait_p95 is None else brief(queue.wait_p95)),
        Span("none" if unserved else str(queue.workers), "bad" if unserved else ""),
    )


def worker_cells(worker: WorkerStanding, now: datetime) -> tuple[Span, ...]:
    """Return a cell for every column of workers."""
    there = worker.status in ("active", "draining")
    busy = len(worker.held)
    step = f"{worker.held[0].step}{f' +{busy - 1}' if busy > 1 else ''}" if busy else ""
    if not there and busy:
        step = f"({busy} lease{'s' if busy > 1 else ''} held)"
    return (
        Span(one_line(worker.id, 40), "strong"),
        _worker_state(worker, now),
        Span(f"{busy}/{worker.concurrency}" if there else "-"),
        Span(one_line(step, 120) or "-", "warn" if not there and busy else "" if step else "dim"),
        Span(brief(now - worker.seen_at), _freshness(worker, now)),
        Span(str(worker.pid), "dim"),
        Span(one_line(worker.host, 40), "dim"),
        Span(one_line(",".join(worker.queues), 80), "dim"),
    )


def _freshness(worker: WorkerStanding, now: datetime) -> str:
    if worker.status == "lost":
        return "bad"
    return "warn" if _silent(worker, now) else ""


def _silent(worker: WorkerStanding, now: datetime) -> bool:
    return worker.status in ("active", "draining") and now - worker.seen_at > SILENT


def _worker_state(worker: WorkerStanding, now: datetime) -> Span:
    if _silent(worker, now):
        return Span("◌ SILENT", "warn")
    if worker.status != "active":
        return state(worker.status)
    look = LOOKS["active"]
    return Span(f"{look.glyph} BUSY", "active") if worker.held else Span(f"{look.glyph} IDLE", "ok")


def health(transport: Transport, now: datetime) -> list[list[Span]]:
    """Return how the way between Postgres and the workers is."""
    since = transport.unpublished_since
    oldest = "-" if since is None else duration(now - since)
    late = since is not None and now - since > timedelta(seconds=5)
    lines = [
        [
            Span(" outbox unpublished: ", "dim"),
            Span(f"{transport.unpublished} (oldest {oldest})", "bad" if late else ""),
            Span("   leases over, not taken over yet: ", "dim"),
            Span(str(transport.leases_over), "warn" if transport.leases_over else ""),
        ],
        [Span(" dead-lettered: ", "dim"), Span(_count(transport.dead), "bad" if transport.dead else "")],
    ]
    if not transport.queues:
        lines.append([Span(" no queues yet: the first worker, or the first step, brings its own", "dim")])
    if not transport.workers:
        lines.append([Span(" no workers: ", "warn"), Span("flowforge worker start")])
    if transport.streams_error is not None:
        error = one_line(transport.streams_error, 200)
        lines.append([Span(f" the stream server cannot be asked: {error}; work goes on from Postgres", "bad")])
    elif unserved := [one.name for one in transport.queues if one.workers == 0 and (one.backlog or one.unpublished)]:
        names = one_line(", ".join(unserved), 60)
        start = f"flowforge worker start --queue {one_line(unserved[0], 60)}"
        lines.append([Span(f" nobody serves {names}: ", "bad"), Span(start)])
    return lines


def worker_details(worker: WorkerStanding, now: datetime) -> list[list[Span]]:
    """Return what a worker has."""
    there = worker.status in ("active", "draining")
    since = f"up {duration(now - worker.started_at)}" if there else f"last seen {duration(now - worker.seen_at)} ago"
    about = f"  pid {worker.pid} on {one_line(worker.host, 40)}, {since}"
    lines = [[Span(f" {one_line(worker.id, 60)}", "strong"), Span(about, "dim")]]
    for held in worker.held[:4]:
        ran = "-" if held.started_at is None else duration(now - held.started_at)
        left = timedelta() if held.due_at is None else held.due_at - now
        lease = f"lease ends in {duration(left)}" if left > timedelta() else f"lease ended {duration(-left)} ago"
        lines.append(
            [
                Span(f"   {one_line(held.workflow, 40)} {held.step}  {ran}  "),
                Span(lease, "dim" if left > timedelta() else "bad"),
            ]
        )
    return lines


def _count(value: int | None) -> str:
    return "?" if value is None else str(value)
