"""Plans and what came of them, as lines of text. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from flowforge_cli.text import Row, Span, one_line, short_id, state, table

if TYPE_CHECKING:
    from flowforge.model.bulk import Outcome, Plan

Lines = list[list[Span]]

#: Runs that are named one by one, groups of them, and refusals that are spelled out.
NAMED, MOST_GROUPS, MOST_TOLD = 20, 30, 10


def runs(number: int) -> str:
    """Return a number of runs in words."""
    return "1 run" if number == 1 else f"{number:,} runs"


def effects(plan: Plan, *, unicode: bool) -> Lines:
    """Return what a plan would change, by workflow and status, and what it would not."""
    from flowforge.model.bulk import refusal

    verb = plan.verb.value
    rows: list[Row] = []
    groups = plan.groups()
    for workflow, version, status, number in groups[:MOST_GROUPS]:
        why = refusal(plan.verb, status)
        what = verb if why is None else Span(f"refused: {why}", "warn")
        rows.append([f"{workflow}@{version}", state(status.value, unicode=unicode), f"{number:,}", what])
    lines: Lines = [[Span(f"{verb} {len(plan.able):,} of {runs(len(plan.targets))}", "strong")]]
    lines += table(("WORKFLOW", "STATE", "RUNS", "WHAT"), rows, indent="  ")
    if len(groups) > MOST_GROUPS:
        lines.append([Span(f"  and {len(groups) - MOST_GROUPS:,} more kinds of runs; --json shows them", "dim")])
    return [*lines, *_besides(plan)]


def _besides(plan: Plan) -> Lines:
    lines: Lines = []
    steps, undone = plan.compensations
    if steps:
        lines.append([Span(f"  {steps:,} compensations will be executed, in {runs(undone)}", "warn")])
    if plan.slots:
        lines.append([Span(f"  {plan.slots:,} slots of gates become free for runs that wait there")])
    return lines


def each(plan: Plan) -> Lines:
    """Return a line for each run of a small plan."""
    from flowforge.model.bulk import refusal

    lines: Lines = []
    for one in plan.targets:
        why = refusal(plan.verb, one.status)
        would = f"would {plan.verb}" if why is None else f"cannot {plan.verb}"
        name = f"{would} {short_id(one.id)} {one.workflow}@{one.version}, which is {one.status.value}"
        lines.append([Span(one_line(name if why is None else f"{name}: {why}"))])
    return lines


def outcome(verb: str, outcomes: Sequence[Outcome], *, total: int) -> Lines:
    """Return what came of it: how many, and the first of those that were left as they are."""
    from flowforge.model.bulk import Result, tally

    counts = tally(outcomes)
    parts = [f"{verb}: {counts['done']:,} of {runs(total)}"]
    words = {"earlier": "done earlier", "refused": "refused", "changed": "left alone because they have changed"}
    parts += [f"{counts[result]:,} {word}" for result, word in words.items() if counts[result]]
    untouched = total - len(outcomes)
    parts += [f"{untouched:,} not reached"] if untouched else []
    told = [one for one in outcomes if one.result in (Result.REFUSED, Result.CHANGED)]
    lines: Lines = [
        [Span(f"  {short_id(one.run)} ", "strong"), Span(one_line(one.message or one.result.value), "warn")]
        for one in told[:MOST_TOLD]
    ]
    if len(told) > MOST_TOLD:
        lines.append([Span(f"  and {len(told) - MOST_TOLD:,} more; --json names them all", "dim")])
    return [*lines, [Span(", ".join(parts))]]
