"""Tables of text on a terminal, and the words of flowforge.model.text for every command. Pure; nothing here writes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from flowforge.model.text import (
    CAP,
    LOOKS,
    SHORT,
    Look,
    Span,
    age,
    clock,
    compact,
    duration,
    json_text,
    moment,
    one_line,
    safe_text,
    short_id,
    short_ids,
    state,
    width,
)

__all__ = [
    "CAP",
    "LOOKS",
    "SHORT",
    "Look",
    "Row",
    "Span",
    "age",
    "clock",
    "compact",
    "duration",
    "json_text",
    "moment",
    "one_line",
    "safe_text",
    "short_id",
    "short_ids",
    "state",
    "table",
    "width",
]

#: Cells of a line of a table.
Row: TypeAlias = "list[Span | str]"


def table(header: Sequence[str], rows: Sequence[Row], *, indent: str = "") -> list[list[Span]]:
    """Return aligned lines; a header in front. Cells are made safe, and are one line each."""
    cells = [[_cell(cell) for cell in row] for row in rows]
    titles = [Span(title, "dim") for title in header]
    widths = [max(width(row[no].text) for row in [titles, *cells]) for no in range(len(header))]
    lines = []
    for row in [titles, *cells]:
        line = [Span(indent)] if indent else []
        for no, cell in enumerate(row):
            gap = "" if no == len(row) - 1 else " " * (widths[no] - width(cell.text) + 2)
            line += [cell, Span(gap)]
        lines.append(line)
    return lines


def _cell(cell: Span | str) -> Span:
    span = Span(cell) if isinstance(cell, str) else cell
    return Span(one_line(span.text), span.style)
