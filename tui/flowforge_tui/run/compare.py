"""Two runs side by side, step by step: how each ended, in how many attempts, how long it took. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from flowforge.model.documents import Step
from flowforge_tui.run.intervals import EXECUTING
from flowforge_tui.run.picture import Picture
from flowforge_tui.run.text import Line, Span, clock, compact, duration, look, one_line, short_id
from flowforge_tui.run.wrapping import fitted


@dataclass(frozen=True, slots=True)
class Side:
    """What one run says about a step."""

    step: Step
    #: Time from being queued to its end, and how much of that it was executed.
    took: timedelta | None
    ran: timedelta


@dataclass(frozen=True, slots=True)
class Pair:
    """A step in both runs; None where one does not have it."""

    id: str
    left: Side | None
    right: Side | None
    #: What is different, in words: status, attempts, output, error; times do not count.
    differs: tuple[str, ...]
    #: It is the first that went another way.
    first: bool = False

    @property
    def delta(self) -> timedelta | None:
        """How much longer it took in the right one."""
        if self.left is None or self.right is None or self.left.took is None or self.right.took is None:
            return None
        return self.right.took - self.left.took


def pairs(left: Picture, right: Picture) -> list[Pair]:
    """Return the steps of both runs, in the right one's order, then those that only the left one has."""
    ids = dict.fromkeys([*right.steps, *left.steps])
    found = [_pair(step, _side(left, step), _side(right, step)) for step in ids]
    different = [pair for pair in found if pair.differs]
    first = min(different, key=lambda pair: _began(pair, right), default=None)
    return [Pair(pair.id, pair.left, pair.right, pair.differs, first=pair is first) for pair in found]


def _began(pair: Pair, right: Picture) -> datetime:
    """When a step began, in either run's time since its own beginning; one that never did comes last."""
    sides = [side for side in (pair.right, pair.left) if side is not None and side.step.queued_at is not None]
    return (sides[0].step.queued_at if sides else None) or right.end


def _side(picture: Picture, step_id: str) -> Side | None:
    step = picture.steps.get(step_id)
    if step is None:
        return None
    row = picture.intervals.get(step_id, [])
    took = row[-1].end - row[0].start if row else None
    return Side(step, took, sum((one.end - one.start for one in row if one.kind in EXECUTING), timedelta()))


def _pair(step_id: str, left: Side | None, right: Side | None) -> Pair:
    if left is None or right is None:
        return Pair(step_id, left, right, ("only in one",))
    seen: dict[str, tuple[Any, Any]] = {
        "status": (left.step.status, right.step.status),
        "attempts": (left.step.attempts, right.step.attempts),
        "error": (_code(left.step), _code(right.step)),
        "output": (left.step.output, right.step.output),
    }
    return Pair(step_id, left, right, tuple(name for name, (one, other) in seen.items() if one != other))


def _code(step: Step) -> Any:
    return None if step.error is None else step.error.get("code")


def head(left: Picture, right: Picture, *, unicode: bool = True) -> list[Line]:
    """Return which runs are compared."""
    made: list[Line] = []
    for name, side in (("A", left), ("B", right)):
        found = look(side.run.status.value)
        made.append(
            [
                Span(f" {name} ", "here"),
                Span(f" {short_id(side.run.id)} {one_line(side.run.workflow, 40)}@{side.run.version}  ", "strong"),
                Span(f"{found.glyph if unicode else found.ascii} {found.word}", found.style),
                Span(f"  {duration(side.end - side.run.created_at)}  started {clock(side.run.created_at)}"),
            ]
        )
    if left.run.input != right.run.input:
        made.append([Span(" input differs  ", "warn"), Span(compact(left.run.input, 40), "dim"), Span(" / ", "dim")])
        made[-1].append(Span(compact(right.run.input, 40), "dim"))
    return made


_STATE, _SIDE = 13, 25


def heading(width: int) -> Line:
    """Return the line above the steps."""
    name = _name(width)
    side = f"{'STATE':<{_STATE}}{'ATT':<4}{'TOOK':>7} "
    return [Span(f" {fitted('STEP', name)}{'A ' + side}{'B ' + side}{'B - A':>9}  DIFFERS", "dim")]


def rows(found: Sequence[Pair], width: int, *, unicode: bool = True) -> list[Line]:
    """Return a line for each pair."""
    return [_row(pair, _name(width), unicode=unicode) for pair in found]


def _name(width: int) -> int:
    return max(10, min(40, width - 2 * (_SIDE + 2) - 24))


def _row(pair: Pair, name: int, *, unicode: bool) -> Line:
    mark = ("◆" if unicode else "*") if pair.first else " "
    line = [Span(mark, "bad"), Span(fitted(one_line(pair.id), name), "strong" if pair.differs else "")]
    for side in (pair.left, pair.right):
        line += _columns(side, unicode=unicode)
    delta = pair.delta
    style = "" if delta is None or not delta else "bad" if delta > timedelta() else "ok"
    line.append(Span(f"{_signed(delta):>9}  ", style))
    words = ", ".join(pair.differs) + (" (first divergence)" if pair.first else "")
    return [*line, Span(words, "warn")]


def _columns(side: Side | None, *, unicode: bool) -> Line:
    if side is None:
        return [Span("  " + fitted("-", _SIDE), "dim")]
    found = look(side.step.status.value)
    return [
        Span("  "),
        Span(fitted(f"{found.glyph if unicode else found.ascii} {found.word}", _STATE), found.style),
        Span(f"{side.step.attempts or '-':<4}{duration(side.took):>7} "),
    ]


def _signed(delta: timedelta | None) -> str:
    if delta is None:
        return "-"
    milliseconds = round(delta.total_seconds() * 1000)
    return f"{milliseconds:+,}ms" if abs(milliseconds) < 100_000 else f"{milliseconds // 1000:+,}s"  # noqa: PLR2004
