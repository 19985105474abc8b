"""How a run looks on one line of the list. Pure: the time is an argument."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from flowforge.model.overview import RunSummary
from flowforge.model.status import StepStatus
from flowforge.model.text import Span, duration, one_line, short_id, state
from flowforge_tui.widgets.columns import Column

COLUMNS = (
    Column("state", "STATE", 12),
    Column("run", "RUN", 8),
    Column("flow", "FLOW", 15, grows=4),
    Column("steps", "STEPS", 5, yields=1),
    Column("at", "NOW AT", 14, grows=3),
    Column("attempts", "ATT", 4, yields=2),
    Column("wait", "WAIT", 6, yields=6, right=True),
    Column("exec", "EXEC", 6, yields=1, right=True),
    Column("started", "STARTED", 8, yields=4),
    Column("trigger", "TRIGGER", 8, yields=7),
    Column("next", "NEXT", 12, yields=5, grows=1),
    Column("labels", "LABELS", 16, yields=9, grows=2),
)


def cells(run: RunSummary, now: datetime) -> tuple[Span, ...]:
    """Return a cell for every column."""
    at, ran = run.at, run.run_time(now)
    attempts = "-" if at is None or at.attempt == 0 else f"{at.attempt}/{at.max_attempts}"
    tired = at is not None and at.attempt > 1
    return (
        state(run.look),
        Span(short_id(run.id), "strong"),
        Span(one_line(run.workflow, 80)),
        Span(f"{run.done}/{run.steps}"),
        Span(one_line(place(run), 80), "" if at else "dim"),
        Span(attempts, "warn" if tired and not run.status.final else ""),
        Span(brief(run.queue_time(now))),
        Span("-" if ran is None else brief(ran)),
        Span(started(run, now), "dim"),
        Span(one_line(run.trigger, 20), "dim"),
        coming(run, now),
        Span(one_line(" ".join(f"{key}={value}" for key, value in run.labels.items()), 80), "dim"),
    )


def place(run: RunSummary) -> str:
    """Return where a run is: a step, the signal or the approval that it waits for."""
    at = run.at
    if at is None:
        return "gate" if run.status.value == "pending" else "-"
    if at.listens:
        return f"signal:{at.signal or at.id}"
    return f"approval:{at.id}" if at.asks else at.id


def coming(run: RunSummary, now: datetime) -> Span:
    """Return what happens next by itself, and when."""
    at = run.at
    if at is None or run.status.final or at.due_at is None or run.status.value == "paused":
        return Span("")
    left = at.due_at - now
    if at.status is StepStatus.WAITING:
        if at.failed_before:
            return Span(f"next in {brief(left)}", "warn") if left > timedelta() else Span("next now", "warn")
        if at.asks or at.listens:
            return Span(f"left {brief(max(left, timedelta()))}", "dim")
        return Span(f"on in {brief(left)}" if left > timedelta() else "on now", "dim")
    if at.status is StepStatus.RUNNING and left < timedelta():
        return Span(f"lease over {brief(-left)}", "bad")
    return Span("")


def started(run: RunSummary, now: datetime) -> str:
    """Return when it was started: the time of day, or the date where that was another day."""
    moment = run.created_at.astimezone(UTC)
    return moment.strftime("%H:%M:%S" if now - moment < timedelta(hours=20) else "%d %b")


def brief(value: timedelta) -> str:
    """Return a duration in six cells: `0.2s`, `41.0s`, `1m12s`, `2h10m`."""
    text = duration(value)
    if text.endswith("ms"):
        return f"{max(0.0, value.total_seconds()):.1f}s"
    return text
