"""An explanation as lines of text. Pure: its clock is the explanation's own.

The first cause is told in full, with its chain, its holders and what moves it; the others in a line or two each.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from flowforge_cli.text import Span, moment, one_line, state

if TYPE_CHECKING:
    from flowforge.model.explanation import Cause, Explanation, Holder
    from flowforge.model.pausing import Held

Lines = list[list[Span]]

_STYLES = {"held": "bad", "blocked": "bad", "waits": "warn", "works": "active", "notes": "dim"}
#: Causes, links of a chain and attempts that are shown.
MOST_CAUSES, MOST_LINKS, MOST_ATTEMPTS = 20, 12, 10


def explanation(found: Explanation, *, unicode: bool) -> Lines:
    """Return why a run stands where it stands, or what is stuck."""
    lines = [] if found.run is None else [*_headline(found, unicode=unicode), []]
    shown = [cause for cause in found.causes if cause.kind != "sibling"]
    for no, cause in enumerate(shown[:MOST_CAUSES]):
        lines += _cause(found, cause, first=no == 0, unicode=unicode)
    if len(shown) > MOST_CAUSES:
        lines.append([Span(f"  and {len(shown) - MOST_CAUSES} more causes; --json has them all", "dim")])
    behind = [cause for cause in found.causes if cause.kind == "sibling"]
    if behind and not shown:
        return [*lines, *(line for cause in behind for line in _cause(found, cause, first=True, unicode=unicode))]
    if behind:
        lines += [[], [Span("  behind that", "dim")], *([Span(f"    {one_line(one.text, 300)}")] for one in behind)]
    return lines


def _headline(found: Explanation, *, unicode: bool) -> Lines:
    status = state(found.status or "", unicode=unicode)
    lines = [[status, Span("  "), Span(f"{found.workflow}@{found.version}", "strong"), Span(f"  {found.run}")]]
    if found.foreign:
        told = f"as it stood at {moment(found.at)}, when it was exported; commands are for where it ran"
        lines.append([Span(f"  {told}", "dim")])
    return lines


def _cause(found: Explanation, cause: Cause, *, first: bool, unicode: bool) -> Lines:
    arrow = "↳" if unicode else "->"
    lines: Lines = []
    for depth, one in enumerate(_links(cause)):
        mark = "  " if depth == 0 else f"  {'  ' * depth}{arrow} "
        words = one_line(one.sentence(found.at), 600)
        lines.append([Span(mark), Span(words, _STYLES[one.weight] if depth == 0 else "")])
        indent = "  " * (depth + 2)
        lines += [[Span(f"{indent}{text}", "dim")] for text in _details(found, one, full=first)]
    if (command := _command(cause)) is not None:
        lines.append([Span("    try: ", "dim"), Span(one_line(command, 400), "strong")])
    return lines


def _links(cause: Cause) -> list[Cause]:
    """Return a cause and the chain behind it."""
    return list(cause.chain())[:MOST_LINKS]


def _command(cause: Cause) -> str | None:
    """Return what would move it: the command that is nearest to the root."""
    commands = [one.command for one in _links(cause) if one.command is not None]
    return commands[-1] if commands else None


def _details(found: Explanation, cause: Cause, *, full: bool) -> Iterator[str]:
    """Yield what is worth a line of its own."""
    attempts = cause.data.get("attempts") or ()
    if len(attempts) > 1:  # a single one is what the cause itself says
        yield from (_attempt(one) for one in attempts[:MOST_ATTEMPTS])
    if cause.data.get("hint"):
        yield one_line(f"hint: {cause.data['hint']}", 300)
    if full:
        yield from (_holder(found, one) for one in cause.holders if one.kind != "person")
    if full and cause.behind:
        yield f"{cause.behind} {'step waits' if cause.behind == 1 else 'steps wait'} behind it"
    others = len(cause.because) - 1
    if others > 0:
        yield f"and {others} more such {'cause' if others == 1 else 'causes'}; --json has them all"


def _attempt(one: Mapping[str, Any]) -> str:
    at = f"{str(one['at'])[:19].replace('T', ' ')}Z"
    return one_line(f"attempt {one['attempt']} at {at}: {one['code']}: {one['message']}", 300)


def _holder(found: Explanation, one: Holder) -> str:
    from flowforge.model.explanation import rough

    doing = f" {one.doing}" if one.doing else ""
    since = "" if one.since is None else f" for {rough(found.at - one.since)}"
    return one_line(f"{one.kind} {one.name}{doing}{since}", 300)


def pause(held: Held, *, done: str, was: str) -> str:
    """Return what a request to hold or let go came to, on a line."""
    name = f"{held.kind} {held.name}"
    if not held.changed:
        return f"{name} {was}"
    reason = f": {held.pause.reason}" if held.paused and held.pause is not None and held.pause.reason else ""
    return one_line(f"{name} {done}{reason}", 300)
