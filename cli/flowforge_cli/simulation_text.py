"""A simulation as lines of text: where it ends, each step on a time line, the events. Pure."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from flowforge.model.documents import RunEvent
from flowforge_cli import run_text
from flowforge_cli.text import Row, Span, compact, duration, one_line, state, table

if TYPE_CHECKING:
    from uuid import UUID

    from flowforge.model.simulation import SimulatedStep, Simulation

#: Cells of the time line where there is room for it, and steps and events that are shown at most.
WIDTH, MOST = 40, 500

Lines = list[list[Span]]


def outcome(done: Simulation, *, unicode: bool) -> Lines:
    """Return how the run ends, or what it waits for."""
    name = done.workflow if done.version is None else f"{done.workflow}@{done.version}"
    look = state(done.status.value if done.status.final else "waiting", unicode=unicode)
    lines = [[look, Span(f"  {name}", "strong"), Span(f"  after {duration(done.took)} on a virtual clock")]]
    if done.error:
        lines.append([Span("  error   ", "dim"), Span(run_text.error_text(done.error), "bad")])
    if done.output is not None:
        lines.append([Span("  output  ", "dim"), Span(compact(done.output))])
    lines += [[Span("  waits   ", "dim"), Span(f"{step} for {what}", "warn")] for step, what in done.waits_for.items()]
    return lines


def steps(done: Simulation, *, unicode: bool, room: int | None = None) -> Lines:
    """Return a line for each step, with its attempts on a time line and what is to be known about it."""
    cells = WIDTH if room is None else min(WIDTH, room // 3)
    shown = done.steps[:MOST]
    rows: list[Row] = [_row(step, done.took, cells, unicode=unicode) for step in shown]
    lines = table(("STEP", "STATE", "ATT", "FROM", f"0s .. {duration(done.took)}", "NOTE"), rows, indent="  ")
    if len(done.steps) > MOST:
        lines.append([Span(f"  and {len(done.steps) - MOST:,} more; --json shows them all", "dim")])
    return lines


def _row(step: SimulatedStep, took: timedelta, cells: int, *, unicode: bool) -> Row:
    error = "" if not step.error else f"{step.error.get('code', '')}: {step.error.get('message', '')}"
    attempts = max((one.number for one in step.attempts), default=0)
    return [
        step.id,
        state(step.status.value, unicode=unicode),
        str(attempts or "-"),
        step.source or "-",
        _bar(step, took, cells, unicode=unicode),
        one_line("  ".join((error, *step.notes)).strip(), 200),
    ]


def _bar(step: SimulatedStep, took: timedelta, room: int, *, unicode: bool) -> str:
    """Draw the attempts of a step, and the waits between them."""
    empty, busy, waits = ("·", "█", "▒") if unicode else (".", "#", "~")
    cells = [empty] * room
    if step.attempts:
        first, last = step.attempts[0], step.attempts[-1]
        for at in range(_cell(first.started_after, took, room), _cell(last.finished_after, took, room) + 1):
            cells[at] = waits
        for one in step.attempts:
            for at in range(_cell(one.started_after, took, room), _cell(one.finished_after, took, room) + 1):
                cells[at] = busy
    return "".join(cells)


def _cell(moment: timedelta, took: timedelta, room: int) -> int:
    return 0 if not took else min(room - 1, int(moment / took * room))


def events(done: Simulation, run: UUID) -> Lines:
    """Return the history that the run would have."""
    lines = [
        run_text.event_line(
            RunEvent(run, no, event.type.value, event.at, event.step, event.attempt, event.data or {}),
            done.started_at,
        )
        for no, event in enumerate(done.events[:MOST], 1)
    ]
    if len(done.events) > MOST:
        lines.append([Span(f"and {len(done.events) - MOST:,} more; --json shows them all", "dim")])
    return lines
