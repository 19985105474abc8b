"""Differences as lines of text. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from flowforge_cli.past_text import parts_text
from flowforge_cli.run_text import error_text
from flowforge_cli.text import Row, Span, compact, duration, one_line, short_id, state, table

if TYPE_CHECKING:
    from flowforge.model.changes import Change
    from flowforge.model.comparing import Difference, StepDifference
    from flowforge.model.documents import Run
    from flowforge.model.phase import Kind, Phases

Lines = list[list[Span]]

#: Changes of one value, and steps, that are shown.
MOST_CHANGES, MOST_STEPS = 20, 50


def lines(found: Difference, *, unicode: bool) -> Lines:
    """Return two runs beside each other: what is common in short, what differs in full."""
    shown: Lines = [
        _side("-", found.before, found.ledgers[0], unicode=unicode),
        _side("+", found.after, found.ledgers[1], unicode=unicode),
        [],
    ]
    if found.same:
        shown.append([Span("they came to the same in the same way", "ok")])
    elif found.first is not None:
        differs = ", ".join(found.first.differs)
        shown.append([Span("they part at  ", "dim"), Span(found.first.id, "strong"), Span(f"  ({differs})")])
    else:
        shown.append([Span(f"every step is the same; they differ in {', '.join(found.differs)}", "strong")])
    shown += _value("definition", found.definition) + _value("input", found.input)
    shown += _steps(found.steps)
    shown += _value("output", found.output)
    if "error" in found.differs:
        shown += [[], [Span("error", "strong")], *_errors(found.before.error, found.after.error)]
    return shown


def _side(sign: str, run: Run, ledger: Phases, *, unicode: bool) -> list[Span]:
    return [
        Span(f"{sign} ", "bad" if sign == "-" else "ok"),
        state(run.status.value, unicode=unicode),
        Span(f"  {run.workflow}@{run.version}", "strong"),
        Span(f"  {short_id(run.id)}  {duration(ledger.wall)}"),
        Span(f"  {parts_text(ledger.parts)}", "dim"),
    ]


def _value(name: str, changes: Sequence[Change]) -> Lines:
    return [[], [Span(name, "strong")], *changed(changes)] if changes else []


def changed(changes: Sequence[Change], *, indent: str = "  ") -> Lines:
    """Return changes, two lines for what was replaced and one for what came or went."""
    shown: Lines = []
    for one in changes[:MOST_CHANGES]:
        path = f"{indent}{one_line(one.path, 120)}: " if one.path else indent
        if one.kind != "added":
            shown.append([Span("-", "bad"), Span(path), Span(compact(one.before, 160), "bad")])
        if one.kind != "removed":
            shown.append([Span("+", "ok"), Span(path), Span(compact(one.after, 160), "ok")])
    if len(changes) > MOST_CHANGES:
        shown.append([Span(f"{indent} and {len(changes) - MOST_CHANGES} more; --json shows them all", "dim")])
    return shown


def _steps(steps: Sequence[StepDifference]) -> Lines:
    """Return a table of all steps that differ or took any time, and below it what differs in each."""
    telling = [step for step in steps if not step.same or any(step.times)]
    rows: list[Row] = [
        [
            Span(step.id, "" if step.same else "strong"),
            _both(step.before and step.before.status.value, step.after and step.after.status.value),
            _both(step.before and step.before.attempts, step.after and step.after.attempts),
            _both(*(duration(sum(own(parts).values(), timedelta())) for parts in step.times)),
            _delta(step),
            Span(", ".join(step.differs), "warn"),
        ]
        for step in telling[:MOST_STEPS]
    ]
    if not rows:
        return []
    shown: Lines = [[], *table(("STEP", "STATE", "ATT", "TOOK", "MOSTLY", "DIFFERS"), rows, indent="  ")]
    if len(telling) > MOST_STEPS:
        shown.append([Span(f"  and {len(telling) - MOST_STEPS} more steps; --json shows them all", "dim")])
    for step in [step for step in telling if not step.same][:MOST_STEPS]:
        shown += _details(step)
    return shown


def _details(step: StepDifference) -> Lines:
    shown: Lines = []
    if "branch" in step.differs:
        shown += _pair("branch ", *step.branches)
    shown += changed(step.outputs)
    if "error" in step.differs:
        before, after = (None if one is None else one.error for one in (step.before, step.after))
        shown += _errors(before, after)
    return [[], [Span(step.id, "strong")], *shown] if shown else []


def _errors(before: dict[str, Any] | None, after: dict[str, Any] | None) -> Lines:
    return _pair("", error_text(before) or None, error_text(after) or None)


def _pair(what: str, before: str | None, after: str | None) -> Lines:
    found = (("-", "bad", before), ("+", "ok", after))
    return [[Span(sign, style), Span(f"  {what}{'-' if text is None else text}")] for sign, style, text in found]


def _both(before: object, after: object) -> str:
    one, two = ("-" if value is None else str(value) for value in (before, after))
    return one if one == two else f"{one} -> {two}"


def own(parts: Mapping[Kind, timedelta]) -> dict[Kind, timedelta]:
    """Return a step's parts without the waits for what is another's: the gate, and other steps."""
    return {kind: took for kind, took in parts.items() if kind.value not in ("gate", "blocked")}


def _delta(step: StepDifference) -> str:
    """Return by how much the kind changed that changed most."""
    one, two = own(step.times[0]), own(step.times[1])
    deltas = {kind: two.get(kind, timedelta()) - one.get(kind, timedelta()) for kind in (*one, *two)}
    most = max(deltas, key=lambda kind: abs(deltas[kind]), default=None)
    if most is None or not deltas[most]:
        return ""
    sign = "+" if deltas[most] > timedelta() else "-"
    return f"{most.value} {sign}{duration(abs(deltas[most]))}"
