"""How help fits its terminal: a narrow one leaves room for what is explained; commands to copy are never broken.

Typer's formatter takes fifty cells for the least, and thirty of them for the names of options.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from typing import Any

from typer.core import TyperCommand

from flowforge_cli import render

#: Cells that Typer's formatter fills by itself, on a terminal that has them.
LEAST, MARGIN = 52, 2
#: Between a command in an example and what it is for.
BEHIND = re.compile(r"(?<=\S) {3,}(?=\S)")

_Formatter: Any = TyperCommand.context_class.formatter_class


class Help(_Formatter):  # type: ignore[misc]  # Typer gives its formatter no public name
    """Help for the terminal at hand."""

    def __init__(self, indent_increment: int = 2, width: int | None = None, max_width: int | None = None) -> None:
        room = render.room()
        narrow = room is not None and room < LEAST
        super().__init__(indent_increment, room - MARGIN if narrow and room is not None else width, max_width)
        self._narrow = narrow

    def write_dl(self, rows: Sequence[tuple[str, str]], col_max: int = 30, col_spacing: int = 2) -> None:
        """Write names and what they mean; a long name has a line of its own."""
        super().write_dl(rows, min(col_max, self.width // 3) if self._narrow else col_max, col_spacing)

    def write_text(self, text: str) -> None:
        """Write paragraphs; what an example is for goes below the command where it does not fit behind it."""
        start = len(self.buffer)
        super().write_text(text)
        if self._narrow:
            self.buffer[start:] = [self._folded("".join(self.buffer[start:]))]

    def _folded(self, text: str) -> str:
        return "\n".join(part for line in text.split("\n") for part in self._parts(line))

    def _parts(self, line: str) -> list[str]:
        behind = BEHIND.search(line)
        if behind is None or len(line) <= self.width:
            return [line]
        indent = " " * (self.current_indent + 4)
        below = textwrap.wrap(line[behind.end() :], self.width, initial_indent=indent, subsequent_indent=indent)
        return [line[: behind.start()], *below]


def install() -> None:
    """Let every command write its help so."""
    TyperCommand.context_class.formatter_class = Help
