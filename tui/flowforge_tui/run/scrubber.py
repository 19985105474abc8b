"""The line that says which moment of a run is looked at, while it is not the present. Pure."""

from __future__ import annotations

from flowforge_tui.run.history import note
from flowforge_tui.run.picture import Picture
from flowforge_tui.run.text import Line, Span, clock, duration, one_line
from flowforge_tui.run.wrapping import cells, fitted

#: Cells of the line that shows how far into the history it is.
_CELLS = 20
_HINT = "  , . step  < first  esc live"


def line(picture: Picture, width: int, *, unicode: bool = True) -> Line:
    """Return the line: the moment's number, time, and event, and how to get back where there is room for that."""
    position = len(picture.events)
    done = round(_CELLS * position / max(picture.total, 1))
    full, rest = ("━", "┄") if unicode else ("=", ".")
    made = [Span(" PAST ", "here"), Span(" "), Span(full * done, "active"), Span(rest * (_CELLS - done), "dim")]
    made.append(Span(f" event {position} of {picture.total}  ", "strong"))
    if picture.events:
        last = picture.events[-1]
        where = (
            "" if last.step is None else f" {one_line(last.step, 40)}" + (f" #{last.attempt}" if last.attempt else "")
        )
        made.append(Span(f"{clock(last.at)} +{duration(last.at - picture.run.created_at)}  {last.type}{where}  "))
        made.append(Span(one_line(note(last), 60), "dim"))
    if cells(made) + len(_HINT) <= width:
        made.append(Span(_HINT, "dim"))
    return fitted(made, width)


def moved(position: int | None, by: int, total: int) -> int | None:
    """Return the position after a step back or forth; None is the present, which is behind the last event."""
    at = total if position is None else position
    at = min(max(at + by, 1), total)
    return None if at >= total else at
