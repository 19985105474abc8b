"""A diagnosis as lines of text: what was looked at, what was found, what it means, what cures it. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowforge.model.health import INVARIANTS
from flowforge_cli.text import Span, one_line

if TYPE_CHECKING:
    from flowforge.model.health import Diagnosis, Finding

Lines = list[list[Span]]
#: Details and runs of one finding that are shown.
SHOWN = 3


def lines(found: Diagnosis, *, unicode: bool) -> Lines:
    """Return the whole diagnosis."""
    good, bad, warn, off = ("✓", "✗", "!", "·") if unicode else ("+", "x", "!", "-")
    said: Lines = []
    for check in found.checks:
        look = Span(good, "ok") if check.state == "ok" else Span(off, "dim")
        said.append([look, Span(f" {check.name:<21}"), Span(one_line(check.said), "dim")])
    if found.runs or found.whole:
        said += _invariants(found, good, bad)
    for finding in found.findings:
        mark = Span(warn, "warn") if finding.about.warning else Span(bad, "bad")
        said += [[], *_finding(finding, mark)]
    if found.repaired:
        said += [[], [Span("repaired", "strong")], *([Span(f"  {one_line(one, 300)}")] for one in found.repaired)]
    return [*said, [], _summary(found)]


def _invariants(found: Diagnosis, good: str, bad: str) -> Lines:
    broken = {finding.about.invariant for finding in found.findings} - {None}
    which = "all" if found.whole else "the newest"
    if not broken:
        return [[Span(good, "ok"), Span(f" {'invariants':<21}"), Span(f"all 12 hold, in {found.runs:,} runs", "dim")]]
    said: Lines = [
        [
            Span(bad, "bad"),
            Span(f" {'invariants':<21}{len(broken)} of 12 broken; {which} {found.runs:,} runs were read"),
        ]
    ]
    return said


def _finding(finding: Finding, mark: Span) -> Lines:
    kind = finding.about
    said: Lines = [[mark, Span(f" {kind.title} ({finding.count:,})", "strong"), Span(f"  {finding.kind}", "dim")]]
    if kind.invariant is not None:
        said.append([Span("    breaks  ", "dim"), Span(f"{kind.invariant}: {INVARIANTS[kind.invariant]}")])
    said += [[Span("    found   ", "dim"), Span(one_line(detail, 300))] for detail in finding.details[:SHOWN]]
    if len(finding.details) > SHOWN:
        said.append([Span(f"            and more; --json names {len(finding.details)}", "dim")])
    if finding.runs:
        more = f" and {finding.count - len(finding.runs):,} more" if finding.count > len(finding.runs) else ""
        said.append([Span("    runs    ", "dim"), Span(" ".join(str(run) for run in finding.runs) + more)])
    said.append([Span("    means   ", "dim"), Span(kind.means)])
    how = "--fix   " if kind.fixable else "cure    "
    said.append([Span(f"    {how}", "dim"), Span(kind.repair)])
    said += [[Span("    next    ", "dim"), Span(one_line(typed, 300))] for typed in finding.commands[:SHOWN]]
    return said


def _summary(found: Diagnosis) -> list[Span]:
    if found.healthy:
        return [Span("healthy", "ok")]
    curable = sum(1 for finding in found.findings if finding.about.fixable)
    count = len(found.findings)
    return [Span(f"{count} finding{'' if count == 1 else 's'}", "bad"), Span(f", {curable} can be repaired by machine")]
