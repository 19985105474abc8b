"""Lines of spans, cut to a number of cells. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from rich.cells import cell_len, chop_cells

from flowforge_tui.run.text import Line, Span

#: Letters of a word that is kept whole where a line ends; longer ones are broken.
WORD = 32


def cells(line: Line) -> int:
    """Return how many cells a line takes."""
    return sum(cell_len(span.text) for span in line)


def wrapped(lines: Iterable[Line], width: int) -> list[Line]:
    """Return lines of at most *width* cells; what is too long goes on below."""
    made: list[Line] = []
    for line in lines:
        if cells(line) <= width:
            made.append(line)
        else:
            made += _broken(line, max(width, 2))
    return made


def _broken(line: Line, width: int) -> list[Line]:
    """What goes on below stands as far in as the line begins."""
    text = "".join(span.text for span in line)
    indent = min(len(text) - len(text.lstrip(" ")), width // 3)
    made: list[Line] = [[]]
    left = width
    for span in line:
        text = span.text
        while text:
            taken, text = _cut(text, left)
            if taken:
                made[-1].append(Span(taken, span.style))
                left -= cell_len(taken)
            if text:
                made.append([Span(" " * indent)] if indent else [])
                left = width - indent
    return made


def _cut(text: str, room: int) -> tuple[str, str]:
    if cell_len(text) <= room:
        return text, ""
    if room < 2:  # noqa: PLR2004 - a wide character may not fit
        return "", text
    first = chop_cells(text, room)[0]
    space = first.rfind(" ", max(len(first) - WORD, 1)) + 1
    if space and not text[len(first)].isspace():
        first = first[:space]
    return first, text[len(first) :]
