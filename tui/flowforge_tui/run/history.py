"""Events and captured logs as lines."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from flowforge.model.documents import RunEvent
from flowforge_tui.run.text import Line, Span, clock, compact, duration, one_line, safe
from flowforge_tui.run.wrapping import Hung

#: The newest lines that are kept of events and logs; what is older is counted.
MOST_LINES = 5_000
#: Cells of an event's time: what is said of it goes on below behind them.
HANG = 13

_STYLES = {"failed": "bad", "completed": "ok", "retrying": "warn", "cancelled": "dim", "skipped": "dim"}


class EventLines:
    """The newest events of a run, one a line; a line is made once."""

    def __init__(self) -> None:
        self._made: dict[int, Line] = {}

    def of(self, events: Sequence[RunEvent]) -> list[Line]:
        """Return the lines of these events; those before them of the same run are the same lines."""
        newest = events[-MOST_LINES:]
        for event in newest:
            if event.seq not in self._made:
                self._made[event.seq] = event_line(event)
        lines = [self._made[event.seq] for event in newest]
        return _newest(lines, len(events))


def event_line(event: RunEvent) -> Line:
    """Return one event: time, type, step and attempt, what else it says."""
    where = "" if event.step is None else one_line(event.step, 60) + (f" #{event.attempt}" if event.attempt else "")
    kind = event.type.removeprefix("workflow.")
    line = [
        Span(clock(event.at), "dim"),
        Span(
            f" {kind if event.type.startswith('step.') else 'run.' + kind:<17} ", _STYLES.get(kind.split(".")[-1], "")
        ),
        Span(f"{where} " if where else "", "strong"),
        Span(note(event)),
    ]
    return Hung(line, HANG)


def note(event: RunEvent) -> str:
    """Return what an event says beyond its type."""
    data = dict(event.data)
    error = data.pop("error", None)
    parts = []
    if isinstance(error, dict):
        parts.append(f"{error.get('code', '')}: {error.get('message', '')}")
    for name, words in (("retry_at", "next attempt in"), ("due_at", "for at most")):
        if due := data.pop(name, None):
            parts.append(f"{words} {duration(datetime.fromisoformat(due) - event.at)}")
    for name, value in data.items():
        if value is not None:
            parts.append(f"{name}={value if isinstance(value, str) else compact(value)}")
    return one_line("  ".join(parts), 300)


def log_lines(logs: Iterable[tuple[str, int, str]], step: str | None = None) -> list[Line]:
    """Return what attempts wrote, of one step or of all; the newest lines of it."""
    made: list[Line] = []
    for name, attempt, text in logs:
        if step is not None and name != step:
            continue
        made.append([Span(f"-- {one_line(name)} #{attempt}", "strong")])
        made += [[Span(line)] for line in safe(text).rstrip("\n").split("\n")]
    return _newest(made[-MOST_LINES:], len(made))


def _newest(lines: list[Line], total: int) -> list[Line]:
    missing = total - len(lines)
    return [[Span(f"… {missing:,} older lines are not shown", "dim")], *lines] if missing else lines
