"""Tables of text on a terminal, and the words of flowforge.model.text for every command. Pure; nothing here writes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
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
    "Shape",
    "Span",
    "Table",
    "TableLine",
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

#: Blanks between two columns.
GAP = 2


@dataclass(frozen=True)
class Shape:
    """What the lines of a table have in common."""

    titles: tuple[str, ...]
    widths: tuple[int, ...]
    indent: int

    @property
    def starts(self) -> list[int]:
        """Where each column begins."""
        return [self.indent + sum(self.widths[:no]) + GAP * no for no in range(len(self.widths))]


class TableLine(list[Span]):
    """A line of a table: its cells, aligned; and apart, for where it has to be folded."""

    def __init__(self, cells: Sequence[Span], shape: Shape, *, heads: bool = False) -> None:
        self.cells, self.shape, self.heads = cells, shape, heads
        super().__init__(self.aligned(len(cells)))

    def aligned(self, count: int) -> list[Span]:
        """Return the first cells, aligned."""
        line = [Span(" " * self.shape.indent)] if self.shape.indent else []
        for no, cell in enumerate(self.cells[:count]):
            gap = "" if no == count - 1 else " " * (self.shape.widths[no] - width(cell.text) + GAP)
            line += [cell, Span(gap)]
        return line


def table(header: Sequence[str], rows: Sequence[Row], *, indent: str = "") -> list[list[Span]]:
    """Return aligned lines; a header in front. Cells are made safe, and are one line each."""
    return Table(header, indent=indent).lines(rows)


class Table:
    """A table that is written in parts: the header stands before the first, and no column becomes narrower."""

    def __init__(self, header: Sequence[str], *, indent: str = "") -> None:
        self._titles = [Span(title, "dim") for title in header]
        self._shape = Shape(tuple(header), tuple(map(width, header)), len(indent))
        self._begun = False

    def lines(self, rows: Sequence[Row]) -> list[list[Span]]:
        """Return aligned lines for some rows."""
        cells = [[_cell(cell) for cell in row] for row in rows]
        least = self._shape.widths
        widths = tuple(max([least[no], *(width(row[no].text) for row in cells)]) for no in range(len(least)))
        self._shape = replace(self._shape, widths=widths)
        head = [] if self._begun else [TableLine(self._titles, self._shape, heads=True)]
        self._begun = True
        return [*head, *(TableLine(row, self._shape) for row in cells)]


def _cell(cell: Span | str) -> Span:
    span = Span(cell) if isinstance(cell, str) else cell
    return Span(one_line(span.text), span.style)
