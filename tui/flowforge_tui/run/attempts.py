"""The attempts of one step, read off its events: when each was queued, began and ended, where, and how."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from flowforge.model.documents import RunEvent
from flowforge_tui.run.text import Line, Span, clock, duration, one_line


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt; a step that was woken is executed again in the same one."""

    no: int
    queued_at: datetime | None
    started_at: datetime
    worker: str | None
    ended_at: datetime | None = None
    #: running, waiting, retrying, completed, failed, cancelled, skipped or released.
    outcome: str = "running"
    error: dict[str, Any] | None = None
    retry_at: datetime | None = None


_ENDS = frozenset({"waiting", "retrying", "completed", "failed", "cancelled", "skipped", "released"})


def of_step(events: Iterable[RunEvent], step: str) -> list[Attempt]:
    """Return the attempts of a step, in order."""
    found: list[Attempt] = []
    queued: datetime | None = None
    for event in events:
        if event.step != step:
            continue
        kind = event.type.removeprefix("step.")
        if kind == "queued":
            queued = event.at
        elif kind == "started":
            found.append(Attempt(event.attempt or 0, queued, event.at, event.data.get("worker")))
        elif kind in _ENDS and found and found[-1].ended_at is None:
            found[-1] = _ended(found[-1], kind, event)
    return found


def _ended(attempt: Attempt, outcome: str, event: RunEvent) -> Attempt:
    retry = event.data.get("retry_at")
    return replace(
        attempt,
        ended_at=event.at,
        outcome=outcome,
        error=event.data.get("error"),
        retry_at=None if retry is None else datetime.fromisoformat(retry),
    )


_STYLES = {"completed": "ok", "failed": "bad", "retrying": "bad", "running": "active", "waiting": "warn"}


def lines(found: list[Attempt], most: int | None, now: datetime) -> list[Line]:
    """Return the attempts as a table."""
    made: list[Line] = [[Span(f"{'#':<4}{'STARTED':<14}{'QUEUED':>8}{'RAN':>9}  {'OUTCOME':<10} WORKER", "dim")]]
    for one in found:
        waited = None if one.queued_at is None else one.started_at - one.queued_at
        ran = (one.ended_at or now) - one.started_at
        number = f"{one.no}/{most}" if most else str(one.no)
        times = f"{number:<4}{clock(one.started_at):<14}{duration(waited):>8}{duration(ran):>9}  "
        outcome = Span(f"{one.outcome:<10}", _STYLES.get(one.outcome, ""))
        made.append([Span(times), outcome, Span(f" {one_line(one.worker or '-', 60)}", "dim")])
        if one.error:
            text = f"{one.error.get('code', 'ERROR')}: {one.error.get('message', '')}"
            made.append([Span("    "), Span(one_line(text), "bad")])
        if one.retry_at is not None and one.ended_at is not None:
            made.append([Span(f"    next attempt after {duration(one.retry_at - one.ended_at)}", "dim")])
    return made if found else [[Span("not attempted", "dim")]]
