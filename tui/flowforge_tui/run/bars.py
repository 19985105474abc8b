"""Time as cells: the window that is looked at, its axis, and a step's bar. Pure.

A cell stands for a piece of time and shows the most telling thing that happened in it, so that a short attempt is
seen beside an hour of waiting.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from flowforge.model.phase import Kind
from flowforge_tui.run.intervals import Interval
from flowforge_tui.run.text import Line, Span, duration

#: Mark, its ASCII stand-in, style, and how telling it is, least first.
MARKS: dict[Kind, tuple[str, str, str]] = {
    Kind.OUTBOX: ("░", ".", "queued"),
    Kind.QUEUE: ("░", ".", "queued"),
    Kind.PAUSED: ("‖", ":", "warn"),
    Kind.BLOCKED: ("┄", ":", "children"),
    Kind.CHILD: ("┄", ":", "children"),
    Kind.TIMER: ("─", "-", "timer"),
    Kind.SIGNAL: ("═", "?", "signal"),
    Kind.BACKOFF: ("▒", "~", "backoff"),
    Kind.COMPENSATION: ("█", "=", "warn"),
    Kind.EXECUTION: ("█", "=", "exec"),
    Kind.INFRASTRUCTURE: ("▚", "!", "bad"),
}
_WEIGHT = {kind: weight for weight, kind in enumerate(MARKS, start=1)}
#: Stronger than any kind.
_FAILED = len(MARKS) + 1
#: Cells between two marks of the axis, at least.
_TICK_CELLS = 9
_STEPS = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800]
_STEPS += [3600 * hours for hours in (1, 2, 3, 6, 12)] + [86400 * days for days in (1, 2, 5, 10, 20, 50, 100, 200, 400)]
_SHORTEST = timedelta(milliseconds=5)


@dataclass(frozen=True, slots=True)
class Window:
    """The piece of time that is looked at."""

    start: datetime
    end: datetime

    @property
    def length(self) -> timedelta:
        """How long it is; never nothing."""
        return max(self.end - self.start, _SHORTEST)

    def zoomed(self, factor: float, around: datetime) -> Window:
        """Return a window that is *factor* as long, in which a moment stays where it was."""
        around = min(max(around, self.start), self.end)
        length = max(self.length * factor, _SHORTEST)
        start = around - length * ((around - self.start) / self.length)
        return Window(start, start + length)

    def moved(self, share: float) -> Window:
        """Return the window, moved by a share of its length."""
        return replace(self, start=self.start + self.length * share, end=self.end + self.length * share)

    def within(self, whole: Window) -> Window:
        """Return the window, moved and cut so that it shows nothing outside of *whole*."""
        if self.length >= whole.length:
            return whole
        if self.start < whole.start:
            return Window(whole.start, whole.start + self.length)
        return self if self.end <= whole.end else Window(whole.end - self.length, whole.end)

    def cell(self, moment: datetime, width: int) -> int:
        """Return the cell in which a moment lies; it may lie outside."""
        return int((moment - self.start) / self.length * width // 1)


def bar(intervals: Iterable[Interval], window: Window, width: int, *, now: datetime, unicode: bool = True) -> Line:
    """Return the bar of a step as *width* cells; what is open ends *now*."""
    weights = [0] * width
    for one in intervals:
        end = max(now, one.start) if one.open else one.end
        if end < window.start or one.start > window.end:
            continue
        first, last = _cells(one.start, end, window, width)
        weight = _WEIGHT[one.kind]
        for at in range(max(first, 0), min(last, width - 1) + 1):
            weights[at] = max(weights[at], weight)
        if one.failed and 0 <= last < width:
            weights[last] = _FAILED
    return _runs(weights, unicode=unicode)


def _cells(start: datetime, end: datetime, window: Window, width: int) -> tuple[int, int]:
    """The first and last cell of an interval: at least one, and not the next one when it ends where that begins."""
    first = window.cell(start, width)
    last = window.cell(end, width)
    if last > first and window.start + window.length * (last / width) >= end:
        last -= 1
    return (min(first, width - 1) if start <= window.end else first), last


def _runs(weights: list[int], *, unicode: bool) -> Line:
    """Join cells that look the same."""
    marks = [(" ", " ", ""), *MARKS.values(), ("x", "x", "bad")]
    line: Line = []
    start = 0
    for at in range(1, len(weights) + 1):
        if at == len(weights) or weights[at] != weights[start]:
            glyph, plain, style = marks[weights[start]]
            line.append(Span((glyph if unicode else plain) * (at - start), style))
            start = at
    return line


def axis(window: Window, origin: datetime, width: int) -> str:
    """Return the marks of the time axis, counted from *origin*, as a text of *width* cells."""
    length = window.length.total_seconds()
    wanted = length * _TICK_CELLS / max(width, 1)
    step = next((one for one in _STEPS if one >= wanted), _STEPS[-1])
    cells = [" "] * width
    first = (window.start - origin).total_seconds()
    number = int(-(-first // step))
    while (at := window.cell(origin + timedelta(seconds=number * step), width)) < width:
        label = _label(number * step)
        if at >= 0 and at + len(label) <= width and (at == 0 or cells[at - 1] == " "):
            cells[at : at + len(label)] = label
        number += 1
    return "".join(cells)


def _label(seconds: float) -> str:
    if seconds == 0:
        return "0s"
    text = duration(seconds)
    return text.replace(".0s", "s").replace("m00s", "m").replace("h00m", "h").replace("d00h", "d")


def legend(*, unicode: bool = True) -> Line:
    """Return what the marks mean."""
    words = {Kind.EXECUTION: "execution", Kind.QUEUE: "queue", Kind.BACKOFF: "back-off", Kind.TIMER: "timer"}
    words |= {Kind.SIGNAL: "signal", Kind.BLOCKED: "inside", Kind.INFRASTRUCTURE: "worker lost"}
    line: Line = [Span("  ")]
    for kind, word in words.items():
        glyph, plain, style = MARKS[kind]
        line += [Span(glyph if unicode else plain, style), Span(f" {word}  ", "dim")]
    line += [Span("x", "bad"), Span(" failed  ", "dim"), Span("*", "active"), Span(" critical path", "dim")]
    return line
