"""The columns of the table of steps, and a row as spans. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from flowforge.model.phase import Kind
from flowforge_tui.painting import fit
from flowforge_tui.run.bars import Window, axis, bar
from flowforge_tui.run.intervals import EXECUTING, QUEUED
from flowforge_tui.run.rows import Row
from flowforge_tui.run.text import Line, Span, duration, look, one_line
from flowforge_tui.run.wrapping import cells, fitted

#: Cells of the state and of the attempts; of a duration.
STATE, ATTEMPTS, TIME = 13, 5, 7
#: Cells that the name takes at least and at most, and from which on there is room for durations.
SHORTEST, LONGEST, WIDE = 12, 60, 110


@dataclass(frozen=True, slots=True)
class Columns:
    """How wide the columns are."""

    name: int
    times: bool
    bar: int

    @classmethod
    def of(cls, rows: Sequence[Row], width: int, least: int = 0) -> Columns:
        """Share a width among the columns: the name gets what it needs, the bar the rest, and no less than half."""
        times = width >= WIDE
        fixed = 1 + STATE + ATTEMPTS + (2 * TIME if times else 0) + 1
        needed = max(max((cells(label(row)) for row in rows), default=SHORTEST) + 1, least)
        name = max(SHORTEST, min(needed, LONGEST, (width - fixed) // 2))
        return cls(name, times, max(width - fixed - name, 1))


def label(row: Row, *, unicode: bool = True) -> Line:
    """Return rails and name of a row, and what is folded into it."""
    inside = "  " * (row.depth - 1) + ("◦ " if unicode else "+ ") if row.depth else ""
    line = [Span(f"{row.rail} {inside}", "dim"), Span(one_line(row.name), "strong")]
    if row.critical:
        line.append(Span("*", "active"))
    if row.inside:
        arrow = ("▾" if row.open else "▸") if unicode else ("-" if row.open else "+")
        line.append(Span(f" {arrow} {row.over}/{row.inside}", "dim"))
        if row.failed:
            line.append(Span(f" {'✗' if unicode else 'x'}{row.failed}", "bad"))
    return line


def heading(
    columns: Columns, window: Window, origin: datetime, *, zoom: str = "", here: datetime | None = None
) -> Line:
    """Return the line above the rows; *here* is the moment that is looked at, where that is not the end."""
    name = f"STEP{'  zoom: ' + zoom if zoom else ''}"
    times = f"{'QUEUED':>{TIME - 1}} {'RAN':>{TIME - 1}} " if columns.times else ""
    marks = axis(window, origin, columns.bar)
    line = [Span(f" {fit(name, columns.name)}{'STATE':<{STATE}}{'ATT':<{ATTEMPTS}}{times} ", "dim")]
    at = -1 if here is None else min(window.cell(here, columns.bar), columns.bar - 1)
    if at < 0:
        return [*line, Span(marks, "dim")]
    return [*line, Span(marks[:at], "dim"), Span("|", "here"), Span(marks[at + 1 :], "dim")]


def drawn(row: Row, columns: Columns, window: Window, now: datetime, *, unicode: bool = True) -> Line:
    """Return a row without the mark of the cursor."""
    found = look(row.status)
    glyph = found.glyph if unicode else found.ascii
    most = "" if row.most is None else f"/{row.most}"
    attempts = f"{row.step.attempts}{most}" if row.step.attempts else "-"
    line = [
        *fitted(label(row, unicode=unicode), columns.name),
        Span(fit(f"{glyph} {found.word}", STATE), found.style),
        Span(fit(attempts, ATTEMPTS), "bad" if row.status in ("failed", "retrying") and most else ""),
    ]
    if columns.times:
        line.append(Span(f"{_sum(row, now, QUEUED):>{TIME - 1}} {_sum(row, now, EXECUTING):>{TIME - 1}} "))
    line.append(Span(" "))
    if not row.intervals and row.note:
        return [*line, Span(fit(f"({row.note})", columns.bar), "dim")]
    return line + bar(row.intervals, window, columns.bar, now=now, unicode=unicode)


def _sum(row: Row, now: datetime, kinds: Collection[Kind]) -> str:
    lengths = [(now if one.open else one.end) - one.start for one in row.intervals if one.kind in kinds]
    return duration(sum(lengths, timedelta())) if lengths else "-"
