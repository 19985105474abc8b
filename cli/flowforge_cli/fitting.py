"""Lines made to fit a terminal. Pure; who writes knows how wide it is, and whether anything has to fit at all.

Nothing is lost: text goes on in the next line, at a word where there is one, under where it began; of a table the
last columns go below the first ones, with their titles. No line takes more cells than the terminal has.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from flowforge_cli.text import Span, TableLine, width

Line = list[Span]

#: Cells that the last column of a table needs beside the others; with fewer it goes below them.
BESIDE = 20
#: A word of a command, with what is quoted in it.
_WORD = r"(?:\"[^\"]*\"|'[^']*'|\S)+"
#: Cells by which what goes on is indented.
INDENT = 4


def fitted(line: Sequence[Span], room: int) -> list[Line]:
    """Return the lines that a line becomes where there is room for so many cells."""
    if _cells(line) <= room:
        return [list(line)]
    if isinstance(line, TableLine):
        return _folded(line, room)
    label, *command = line
    if command and label.text.strip() == "try:":
        words = "".join(span.text for span in command)
        below = typed(words, room, label.text.partition("try:")[0] + "  ")
        return [[Span(label.text.rstrip(), label.style)], *([Span(one, command[0].style)] for one in below)]
    return _wrapped(line, room, _hang(line, room))


def paragraph(text: str, room: int, hang: int | None = None) -> list[str]:
    """Return the lines of a text without styles; it goes on under where it began, or indented by *hang*."""
    line = [Span(text)]
    lines = [line] if width(text) <= room else _wrapped(line, room, _hang(line, room) if hang is None else hang)
    return ["".join(span.text for span in one).rstrip() for one in lines]


def typed(command: str, room: int, indent: str) -> list[str]:
    """Return a command in lines that a shell joins again: an option with its value in one, what is quoted whole."""
    lines: list[str] = []
    line = ""
    words = re.findall(rf"-[\w-]+ (?!-){_WORD}|{_WORD}", command)
    for no, word in enumerate(words, 1):
        cells = width(word) + (len(" \\") if no < len(words) else 0)
        if line and width(line) + 1 + cells > room:
            lines.append(line + " \\")
            # Less indented, a long word may have room in one line: an id.
            hang = len(indent) + INDENT
            line = " " * (min(hang, room - cells) if cells <= room else hang) + word
        else:
            line = f"{line} {word}" if line else indent + word
    return [*lines, line]


def advice(text: str, room: int) -> list[str]:
    """Return the lines of what can be done next: where one line is too short, each command has its own."""
    before, label, commands = text.partition("next: ")
    if not label or before.strip() or width(text.strip("\n")) <= room:
        return [text]
    indent = before.rpartition("\n")[2] + "  "
    made = [line for one in commands.split(" · ") for line in typed(one, room, indent)]
    return [before + label.rstrip(), *made]


def cut(text: str, room: int) -> str:
    """Return a text that ends with an ellipsis where there is no more room: a drawing, which cannot go on below."""
    return text if width(text) <= room else _split(text, room - 1)[0] + "…"


def _hang(line: Sequence[Span], room: int) -> int:
    """Return where a line goes on: behind its label if it has one, else a little deeper than it began."""
    first = line[0].text
    begins = len(first) - len(first.lstrip())
    if len(line) > 1 and first.strip() and first.endswith(" ") and width(first) <= room // 3:
        return width(first)
    return min(begins + INDENT, room // 2)


def _wrapped(line: Iterable[Span], room: int, hang: int) -> list[Line]:
    """Break a line between words; a word that is longer than a line is broken where the line ends."""
    lines: list[Line] = [[]]
    used = 0
    for gap, word in _words(line):
        cells, at = _cells(word), used + _cells(gap)
        # Less indented, a long word may remain whole: an id, a path.
        deep = min(hang, room - cells) if cells <= room else hang
        if at + cells > room and deep < at:
            lines.append([Span(" " * deep)])
            used = deep
        else:
            lines[-1] += gap
            used = at
        for span in word:
            rest = span.text
            while used + width(rest) > room:
                head, rest = _broken(rest, room - used)
                lines[-1].append(Span(head, span.style))
                lines.append([Span(" " * hang)])
                used = hang
            lines[-1].append(Span(rest, span.style))
            used += width(rest)
    return [_merged(one) for one in lines]


def _words(line: Iterable[Span]) -> Iterator[tuple[Line, Line]]:
    """Yield words, of one or more pieces that stand together, each with the blanks before it."""
    gap: Line = []
    word: Line = []
    for span in line:
        for piece in re.findall(r" +|[^ ]+", span.text):
            if piece[0] == " ":
                if word:
                    yield gap, word
                    gap, word = [], []
                gap.append(Span(piece, span.style))
            else:
                word.append(Span(piece, span.style))
    if word:
        yield gap, word


def _merged(line: Iterable[Span]) -> Line:
    """Join pieces of one style again."""
    return [Span("".join(one.text for one in pieces), style) for style, pieces in groupby(line, lambda one: one.style)]


def _cells(line: Iterable[Span]) -> int:
    return sum(width(span.text) for span in line)


def _split(text: str, room: int) -> tuple[str, str]:
    """Return as much of a text as there is room for, and the rest."""
    used = 0
    for at, char in enumerate(text):
        used += width(char)
        if used > room:
            return text[:at], text[at:]
    return text, ""


def _broken(text: str, room: int) -> tuple[str, str]:
    """Break a word that no line has room for: behind a sign that parts it, if there is one in reach."""
    head, rest = _split(text, room)
    at = 1 + max(head.rfind(sign) for sign in "_-./=,:&")
    return (text[:at], text[at:]) if rest and at > len(head) // 2 else (head, rest)


def _folded(line: TableLine, room: int) -> list[Line]:
    """Put below what has no room beside the first columns; the same for every line of a table."""
    shape = line.shape
    starts = shape.starts
    if starts[-1] + BESIDE <= room:
        return _wrapped(line, room, starts[-1])
    kept = sum(1 for start, cells in zip(starts, shape.widths, strict=True) if start + cells <= room) or 1
    lines = _wrapped(line.aligned(kept), room, shape.indent + INDENT)
    if line.heads:
        return lines
    below = zip(shape.titles[kept:], line.cells[kept:], strict=True)
    named = [[Span(f"{title.lower()} ", "dim"), cell] for title, cell in below if cell.text.strip() not in ("", "-")]
    return lines + _packed(named, room, shape.indent + INDENT)


def _packed(pieces: Iterable[Line], room: int, hang: int) -> list[Line]:
    """Set pieces beside each other while there is room, each in one line if it has room in one."""
    lines: list[Line] = []
    used = room
    for piece in pieces:
        cells = _cells(piece)
        if used + 2 + cells <= room:
            lines[-1] += [Span("  "), *piece]
            used += 2 + cells
            continue
        made = _wrapped([Span(" " * hang), *piece], room, hang)
        lines += made
        used = _cells(made[-1])
    return lines
