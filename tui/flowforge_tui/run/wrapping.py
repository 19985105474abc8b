"""Lines of spans, laid out in a number of cells: broken at words, or cut. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rich.cells import cell_len, chop_cells

from flowforge_tui.painting import fit
from flowforge_tui.run.text import Line, Span

#: Letters of a word that is kept whole where a line ends; longer ones are broken.
WORD = 32


class Hung(list[Span]):
    """A line of which what goes on below stands so many cells in."""

    def __init__(self, line: Line, hang: int) -> None:
        super().__init__(line)
        self.hang = hang


def cells(line: Line) -> int:
    """Return how many cells a line takes."""
    return sum(cell_len(span.text) for span in line)


def fitted(line: Line, width: int) -> Line:
    """Return a line of exactly so many cells: filled, or cut with an ellipsis."""
    made: Line = []
    for span in line:
        size = cell_len(span.text)
        if size > width:
            return [*made, Span(fit(span.text, width), span.style)]
        made.append(span)
        width -= size
    return [*made, Span(" " * width)]


def wrapped(lines: Iterable[Line], width: int, *, hang: int = 0) -> list[Line]:
    """Return lines of at most *width* cells; what is too long goes on below, as far in as the line begins."""
    made: list[Line] = []
    for line in lines:
        if cells(line) <= width:
            made.append(line)
        else:
            made += _broken(line, max(width, 2), getattr(line, "hang", hang))
    return made


def _broken(line: Line, width: int, hang: int) -> Iterator[Line]:
    text = "".join(span.text for span in line)
    indent = min(max(len(text) - len(text.lstrip(" ")), hang), width // 3)
    for start, end in _pieces(text, width, indent):
        piece = _slice(line, start, end)
        yield [Span(" " * indent), *piece] if start and indent else piece


def _pieces(text: str, width: int, indent: int) -> Iterator[tuple[int, int]]:
    """Where each piece of a text begins and ends."""
    at, room = 0, width
    while at < len(text):
        end = at + _taken(text[at : at + 2 * width], room)
        yield at, end
        at, room = end, width - indent
        while at < len(text) and text[at] == " ":
            at += 1


def _taken(text: str, room: int) -> int:
    """How many characters of a text stand on a line."""
    if cell_len(text) <= room:
        return len(text)
    first = chop_cells(text, room)[0]
    if text[len(first)] == " ":
        return len(first)
    return first.rfind(" ", max(len(first) - WORD, 1)) + 1 or max(len(first), 1)


def _slice(line: Line, start: int, end: int) -> Line:
    made: Line = []
    at = 0
    for span in line:
        if text := span.text[max(start - at, 0) : max(end - at, 0)]:
            made.append(Span(text, span.style))
        at += len(span.text)
    return made
