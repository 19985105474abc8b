"""Two runs side by side as lines: how each step ended, in how many attempts, how long it took. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from rich.cells import cell_len

from flowforge.model.changes import Change
from flowforge.model.comparing import Difference, Parts, StepDifference
from flowforge.model.documents import Run, Step
from flowforge.model.phase import Kind, Phases
from flowforge_tui.painting import fit
from flowforge_tui.run.text import Line, Span, clock, compact, duration, look, one_line, short_id
from flowforge_tui.run.wrapping import fitted

#: Cells of a state, of attempts, and of a time, which each run's side has where there is room for it.
STATE, ATTEMPTS, TOOK, ROOMY = 12, 4, 8, 100
#: Cells of a difference in time, and of the words behind it, at least.
DIFFERS = 30
#: Changes of inputs that are told in the head.
FEW = 3
#: From here on a difference is told in seconds.
_LONG = timedelta(seconds=100)


def head(found: Difference, *, unicode: bool = True) -> list[Line]:
    """Return which runs are compared, and in what they differ as a whole."""
    before, after = found.ledgers
    made = [_of_run("A", found.before, before, unicode=unicode), _of_run("B", found.after, after, unicode=unicode)]
    differing = sum(1 for step in found.steps if not step.same)
    count = f" {differing} of {len(found.steps)} steps differ" if differing else " every step came to the same"
    words = f"; the runs differ in {', '.join(found.differs)}" if found.differs else "; only times differ"
    made.append([Span(count, "strong"), Span(words, "warn" if found.differs else "ok")])
    return [*made, *(_change("input", one) for one in found.input[:FEW])]


def _of_run(name: str, run: Run, ledger: Phases, *, unicode: bool) -> Line:
    state = look(run.status.value)
    return [
        Span(f" {name} ", "here"),
        Span(f" {short_id(run.id)} {one_line(run.workflow, 40)}@{run.version}  ", "strong"),
        Span(f"{state.glyph if unicode else state.ascii} {state.word}", state.style),
        Span(f"  {duration(ledger.wall)}  started {clock(run.created_at)}"),
    ]


def _change(what: str, change: Change) -> Line:
    values = f"{compact(change.before, 40)} -> {compact(change.after, 40)}"
    return [Span(f" {what}.{one_line(change.path, 60)}  ", "dim"), Span(values, "warn")]


def heading(found: Difference, width: int) -> Line:
    """Return the line above the steps, as wide as they are."""
    side = f"{'STATE':<{STATE}}{'ATT':<{ATTEMPTS}}" + (f"{'TOOK':>{TOOK - 1}} " if width >= ROOMY else "")
    return [Span(f"  {fit('STEP', _name(found, width))}A {side}B {side}{'B - A':>9}  DIFFERS", "dim")]


def rows(found: Difference, width: int, *, different: bool = False, unicode: bool = True) -> list[Line]:
    """Return a line for each step, or for each that differs; where the runs part is marked."""
    steps: Sequence[StepDifference] = [step for step in found.steps if not (different and step.same)]
    name = _name(found, width)
    roomy = width >= ROOMY
    return [fitted(_row(step, name, roomy, first=step is found.first, unicode=unicode), width) for step in steps]


def _name(found: Difference, width: int) -> int:
    """Cells of the names: what they need, as long as there is room for what differs."""
    needed = max((cell_len(one_line(step.id)) for step in found.steps), default=0) + 1
    return max(10, min(needed, 60, width - 2 * (_side_of(width >= ROOMY) + 2) - DIFFERS))


def _side_of(roomy: bool) -> int:  # noqa: FBT001 - it is what it is about
    """Cells of one run's side."""
    return STATE + ATTEMPTS + (TOOK if roomy else 0)


def _row(step: StepDifference, name: int, roomy: bool, *, first: bool, unicode: bool) -> Line:  # noqa: FBT001
    mark = ("◆" if unicode else "*") if first else " "
    line = [Span(mark, "bad"), Span(fit(one_line(step.id), name), "" if step.same else "strong")]
    took = [_took(parts) for parts in step.times]
    for side, of_side in zip((step.before, step.after), took, strict=True):
        line += _side(side, of_side if roomy else None, unicode=unicode)
    delta = took[1] - took[0] if step.before is not None and step.after is not None else None
    style = "" if not delta else "bad" if delta > timedelta() else "ok"
    words = ", ".join(step.differs) + (" (they part here)" if first else "")
    shown = _signed(delta) if any(took) else "-"
    return [*line, Span(f"{shown:>9}  ", style), Span(words, "warn")]


def _side(step: Step | None, took: timedelta | None, *, unicode: bool) -> Line:
    """Return one run's side of a step, with the time that it took where that is wanted."""
    if step is None:
        return [Span("  " + fit("-", _side_of(took is not None)), "dim")]
    state = look(step.status.value)
    times = f"{step.attempts or '-':<{ATTEMPTS}}"
    if took is not None:
        times += f"{duration(took) if took else '-':>{TOOK - 1}} "
    return [
        Span("  "),
        Span(fit(f"{state.glyph if unicode else state.ascii} {state.word}", STATE), state.style),
        Span(times),
    ]


def _took(parts: Parts) -> timedelta:
    """How long a step was at it itself: not while it waited for others, or for the run to be let in."""
    return sum((took for kind, took in parts.items() if kind not in (Kind.BLOCKED, Kind.GATE)), timedelta())


def _signed(delta: timedelta | None) -> str:
    if delta is None:
        return "-"
    milliseconds = round(delta.total_seconds() * 1000)
    return f"{milliseconds:+,}ms" if abs(delta) < _LONG else f"{milliseconds // 1000:+,}s"
