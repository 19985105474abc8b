"""Help that fits the terminal it is read on. Owns how help texts are broken; what they say stands with the commands.

In a pipe it is the same whatever the terminal around it measures. An example can be copied however narrow the terminal
is: where it goes on in another line, the one before ends with a backslash, as a shell wants it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import typer

from flowforge_cli import fitting, render

#: Cells of help in a pipe, and on terminals that have more.
WIDTH = 80
#: Cells that explanations need beside what they explain; with fewer they stand below.
BESIDE = 24

_Formatter: Any = typer.Context.formatter_class


class Help(_Formatter):  # type: ignore[misc] # Typer keeps the name of the class to itself
    """Help of one command."""

    def write_text(self, text: str) -> None:
        """Write paragraphs; one that begins with a backspace holds lines that belong together."""
        blocks = [self._block(block) for block in re.split(r"\n{2,}", text)]
        self.write("\n\n".join("\n".join(lines) for lines in blocks) + "\n")

    def write_dl(self, rows: Sequence[tuple[str, str]], col_max: int = 30, col_spacing: int = 2) -> None:
        """Write what is explained, and its explanation beside it or below."""
        indent = " " * self.current_indent
        column = min(col_max, max(len(first) for first, _ in rows)) + col_spacing
        hang = self.current_indent + column
        if self.width - hang < BESIDE:
            column, hang = 0, self.current_indent + 4
        for first, second in rows:
            if second and len(first) + col_spacing <= column:
                lines = fitting.paragraph(f"{indent}{first:{column}}{second}", self.width, hang)
            else:
                below = fitting.paragraph(" " * hang + second, self.width, hang) if second else []
                lines = [*fitting.paragraph(indent + first, self.width), *below]
            self.write("\n".join(lines) + "\n")

    def _block(self, block: str) -> list[str]:
        indent = " " * self.current_indent
        first, *rest = block.split("\n")
        if first.strip() != "\b":
            return fitting.paragraph(indent + " ".join(block.split()), self.width, self.current_indent)
        return [one for line in rest for one in example(indent + line, self.width)]


def example(line: str, room: int) -> list[str]:
    """Return the lines of an example: its command, then what is said of it."""
    if len(line) <= room:
        return [line]
    typed, _, said = re.split(r"(?<=\S)( {3,})(?=\S)", line, maxsplit=1) if "   " in line.strip() else (line, "", "")
    indent = " " * (len(typed) - len(typed.lstrip()))
    lines = fitting.typed(typed.strip(), room, indent)
    return lines + (fitting.paragraph(f"{indent}    # {said}", room, len(indent) + 6) if said else [])


class HelpContext(typer.Context):
    """The context of a command, whose help fits."""

    def make_formatter(self) -> Any:
        """Return what writes its help: as wide as the terminal, or as WIDTH."""
        return Help(width=min(render.room() or WIDTH, WIDTH))


def fit(command: Any) -> Any:
    """Let the help of a command, and of those in it, fit; return the command."""
    for one in (command, *getattr(command, "commands", {}).values()):
        one.context_class = HelpContext
        # Typer would end the summary of a command in a list where the line ends.
        one.short_help = one.short_help or _summary(one.help or "")
    return command


def _summary(text: str) -> str:
    first = " ".join(text.strip().partition("\n\n")[0].split())
    return f"{first.partition('. ')[0].removesuffix('.')}."
