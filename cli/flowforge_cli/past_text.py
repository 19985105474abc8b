"""Where the time of a run went, as lines of text. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING

from flowforge_cli.text import Row, Span, duration, moment, one_line, table

if TYPE_CHECKING:
    from flowforge.model.capsule import Capsule
    from flowforge.model.phase import Kind, Phases

Lines = list[list[Span]]

#: Steps of the critical path, and of the ledger, that are shown.
MOST_OF_PATH, MOST_STEPS = 12, 200


def ledger_lines(found: Phases) -> Lines:
    """Return what the run's time went into, and the steps that its end waited for."""
    if not found.parts:
        return []
    lines = [[Span("  went to  ", "dim"), Span(parts_text(found.parts))]]
    path = list(dict.fromkeys(stretch.step for stretch in found.critical))
    if len(path) > 1:
        more = f" and {len(path) - MOST_OF_PATH} more" if len(path) > MOST_OF_PATH else ""
        lines.append(
            [Span("  path     ", "dim"), Span(one_line(" > ".join(path[:MOST_OF_PATH]), 400)), Span(more, "dim")]
        )
    return lines


def parts_text(parts: Mapping[Kind, timedelta], *, separator: str = " · ") -> str:
    """Return parts on one line: `gate 0.1s · queue 1.1s · execution 9.0s`."""
    return separator.join(f"{kind.value} {duration(took)}" for kind, took in parts.items())


def ledger_table(found: Phases) -> Lines:
    """Return what the time of each step went into; an asterisk marks those on the critical path."""
    from flowforge.model.phase import Kind, totals

    by_step = {step: totals(phases) for step, phases in found.steps.items()}
    kinds = [kind for kind in Kind if kind in found.parts or any(kind in parts for parts in by_step.values())]
    critical = {stretch.step for stretch in found.critical}
    rows: list[Row] = []
    for step, parts in by_step.items():
        marked = f"{step} *" if step in critical else step
        cells = [_cell(parts.get(kind)) for kind in kinds]
        rows.append(
            [Span(marked, "strong" if step in critical else ""), *cells, _cell(sum(parts.values(), timedelta()))]
        )
    head = ("STEP", *(kind.value.upper() for kind in kinds), "ALL")
    whole: Row = ["(run)", *(_cell(found.parts.get(kind)) for kind in kinds), _cell(found.wall)]
    lines = table(head, [*rows[:MOST_STEPS], whole], indent="  ")
    if len(rows) > MOST_STEPS:
        lines.append([Span(f"  and {len(rows) - MOST_STEPS} more steps; --json shows them all", "dim")])
    lines.append([Span("  * on the critical path: what the end, or the present, waited for", "dim")])
    return lines


def _cell(took: timedelta | None) -> str:
    return duration(took) if took else "-"


def standing(capsule: Capsule, *, foreign: bool, then: bool) -> Lines:
    """Return from when it is what is shown, where that is not now."""
    if then:
        seq = capsule.events[-1].seq if capsule.events else 0
        what = f"  as it was at {_precise(capsule)}, after event {seq}"
    elif foreign:
        what = f"  from a capsule: as it was known at {moment(capsule.exported_at)}"
    else:
        return []
    return [[Span(what, "warn")]]


def _precise(capsule: Capsule) -> str:
    return capsule.exported_at.strftime("%Y-%m-%d %H:%M:%S.%f")[:-3] + "Z"
