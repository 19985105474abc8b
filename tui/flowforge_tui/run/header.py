"""The head of the screen: which run, how it stands, where its time went. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from flowforge_tui.run.picture import Picture
from flowforge_tui.run.text import Line, Span, duration, one_line, short_id, state
from flowforge_tui.run.wrapping import cells, fitted

#: Cells in which the beginning of an error says something.
TELLING = 24


@dataclass(frozen=True, slots=True)
class Standing:
    """How fresh what is shown is."""

    #: What went wrong with looking, empty when nothing did.
    trouble: str = ""
    paused: bool = False
    #: Whether it comes out of a capsule, and can only be looked at; whether that is so of everything.
    recorded: bool = False
    read_only: bool = False


def lines(picture: Picture, standing: Standing, width: int, *, unicode: bool = True) -> list[Line]:
    """Return the head: one line where that is wide enough, two where it is not."""
    run = picture.run
    first = [
        Span(" Runs > ", "dim"),
        Span(short_id(run.id), "strong"),
        Span(f" {one_line(run.workflow, 60)}@{run.version}  "),
        state(run.status.value, unicode=unicode),
        Span(f"  {duration(picture.end - run.created_at)}", "strong"),
        *_badges(picture, standing),
    ]
    parts, error = _parts(picture, unicode=unicode), _error(picture)
    if cells(first) + cells(parts) + cells(error) < width:
        return [[*first, Span(" "), *parts, *error]]
    roomy = width - cells(parts) >= TELLING
    return [fitted(first, width), fitted([Span(" "), *parts, *(error if roomy else [])], width)]


def _error(picture: Picture) -> Line:
    error = picture.run.error
    text = "" if not error else one_line(f"{error.get('code')}: {error.get('message')}", 120)
    return [Span("  "), Span(text, "bad")] if text else []


def _badges(picture: Picture, standing: Standing) -> Line:
    badges: Line = []
    if picture.past:
        badges += [Span("  "), Span(" PAST ", "here")]
    if standing.recorded:
        badges += [Span("  "), Span(" RECORDING ", "here")]
    if standing.paused:
        badges += [Span("  "), Span(" PAUSED ", "here")]
    if standing.read_only:
        badges.append(Span("  READ ONLY", "warn"))
    return [*badges, *_trouble(standing)]


def _trouble(standing: Standing) -> Line:
    if not standing.trouble:
        return []
    return [Span("  "), Span(f"! {one_line(standing.trouble, 50).rstrip('.')}; trying again", "bad")]


def _parts(picture: Picture, *, unicode: bool) -> Line:
    dot = " · " if unicode else ", "
    found = {} if picture.ledger is None else picture.ledger.parts
    longest = sorted(found.items(), key=lambda part: part[1], reverse=True)
    text = dot.join(f"{kind} {duration(length)}" for kind, length in longest if round(length.total_seconds(), 3))
    line = [Span(f"({text})" if text else "", "dim")]
    critical = len(picture.critical)
    if critical > 1:
        line.append(Span(f"  critical path: {critical} steps *", "dim"))
    return line


def unknown(run_id: UUID, standing: Standing) -> list[Line]:
    """Return the head of a run that could not be read yet."""
    reading = [] if standing.trouble else [Span("  reading", "dim")]
    return [[Span(" Runs > ", "dim"), Span(short_id(run_id), "strong"), *reading, *_trouble(standing)]]
