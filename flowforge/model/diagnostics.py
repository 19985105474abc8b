"""What is wrong with a definition, and where: findings as values, and the one way they are shown.

A finding names a place in the data by its path; whoever has the text turns the path into line and column.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Literal, TypeAlias

from flowforge.model.text import width

#: Keys and list positions that lead to a place in the data.
Path: TypeAlias = tuple[str | int, ...]

#: Every code, and what it stands for. A code never changes its meaning.
CODES: dict[str, str] = {
    "FF001": "the text is not YAML or JSON",
    "FF002": "the definition is too large, too deep or has too many steps",
    "FF003": "a key is given twice",
    "FF004": "a YAML feature that definitions do not use: tags, many aliases, merge keys, several documents",
    "FF005": "a key or value that is not plain JSON: a key that is not text, NaN, NUL, a lone surrogate",
    "FF006": "the definition is empty, or is not a mapping",
    "FF007": "an unknown key",
    "FF008": "a required key is missing",
    "FF009": "a value of the wrong type or out of range",
    "FF010": "two steps have the same id",
    "FF011": "steps depend on each other in a circle",
    "FF012": "a step depends on an unknown step",
    "FF013": "a branch leads to an unknown step",
    "FF014": "an expression or template that cannot be parsed",
    "FF015": "an expression reads something that does not exist",
    "FF016": "a step that can never run",
    "FF017": "input_schema is not a valid JSON Schema",
    "FF018": "a step type that looks misspelt",
    "FF019": "a setting that is given twice and of which one is ignored",
    "FF020": "a gate's key that is the same for every run",
    "FF021": "steps on two sides of a foreach that wait for each other, or a foreach inside a foreach",
    "FF022": "a cancelled run shall be undone, and no step says how",
    "FF023": "an expression reads the failure of the run where there is none",
    "FF024": "an approval that needs more people than it names",
}


#: Findings of one kind of check that are looked at; who has more has one mistake many times.
MAX_FINDINGS = 200

#: Bounds of the search for what was meant.
_MAX_WORD, _MAX_DIFFERENCE, _MAX_CANDIDATES = 100, 3, 2_000
#: Characters of a source line that are shown.
_SHOWN = 160


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One finding."""

    code: str
    message: str
    #: A warning never stops anything.
    severity: Literal["error", "warning"] = "error"
    path: Path = ()
    #: Counted from 1; None when the definition has no text.
    line: int | None = None
    column: int | None = None
    #: Characters to underline, on that line.
    length: int = 1
    #: What was probably meant.
    suggestion: str | None = None
    #: How to go on, one line.
    help: str | None = None
    #: Whether the finding is about the key at *path* rather than its value.
    at_key: bool = False
    #: Offset and length inside the text value at *path*, for a finding within an expression.
    inside: tuple[int, int] | None = None

    def document(self) -> dict[str, Any]:
        """Return the finding as data, for --json."""
        return {
            "code": self.code,
            "severity": self.severity,
            "message": self.message,
            "path": list(self.path),
            "line": self.line,
            "column": self.column,
            "length": self.length,
            "suggestion": self.suggestion,
            "help": self.help,
        }


def document(diagnostics: Iterable[Diagnostic], filename: str) -> dict[str, Any]:
    """Return all findings of a file as one JSON document."""
    return {
        "schema": "flowforge/diagnostics/v1",
        "file": filename,
        "diagnostics": [diagnostic.document() for diagnostic in diagnostics],
    }


def in_file_order(diagnostics: Iterable[Diagnostic]) -> tuple[Diagnostic, ...]:
    """Sort by position; what has none keeps its order at the end. Repetitions are dropped."""
    unique = dict.fromkeys(diagnostics)
    return tuple(sorted(unique, key=lambda d: (d.line is None, d.line or 0, d.column or 0)))


def closest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word that *word* was probably meant to be."""
    if len(word) > _MAX_WORD:
        return None
    candidates = [name for name in known if abs(len(name) - len(word)) <= _MAX_DIFFERENCE]
    if len(candidates) > _MAX_CANDIDATES:
        return None
    matches = difflib.get_close_matches(word, candidates, n=1, cutoff=0.6)
    if matches and matches[0] != word:
        return matches[0]
    folded = word.lower().replace("-", "_")
    return next((name for name in candidates if name.lower().replace("-", "_") == folded and name != word), None)


def render(
    diagnostic: Diagnostic, source_text: str | None = None, filename: str = "<definition>", *, room: int | None = None
) -> str:
    """Return the finding as people see it, with the source line and a caret when there is a position.

    Of the source line no more is shown than there is *room* for, so that the caret stays below what it points at.
    """
    lines = [f"{diagnostic.severity}[{diagnostic.code}]: {_printable(diagnostic.message)}"]
    if diagnostic.suggestion is not None:
        lines[0] += f"  (did you mean '{_printable(diagnostic.suggestion)}'?)"
    if diagnostic.line is None or diagnostic.column is None:
        lines.append(f"  --> {filename}{_spell(diagnostic.path)}")
    else:
        lines.append(f"  --> {filename}:{diagnostic.line}:{diagnostic.column}")
        lines += _excerpt(diagnostic, source_text, room)
    if diagnostic.help is not None:
        lines.append(f"  help: {diagnostic.help}")
    return "\n".join(lines)


def _excerpt(diagnostic: Diagnostic, source_text: str | None, room: int | None) -> list[str]:
    assert diagnostic.line is not None
    assert diagnostic.column is not None
    lines = split_lines(source_text or "")
    if not 0 < diagnostic.line <= len(lines):
        return []
    # Of a very long line (minified JSON) no more is looked at than could be shown: there may be many findings in it.
    start = min(diagnostic.column - 1, _SHOWN)
    line = _printable(lines[diagnostic.line - 1][diagnostic.column - 1 - start : diagnostic.column - 1 + _SHOWN])
    margin = max(4, len(str(diagnostic.line))) + len("  | ")
    cells = _SHOWN if room is None else max(1, min(_SHOWN, room - margin))
    # A line that has no room is shown around the caret only.
    before = line[:start] if width(line) <= cells else _last(line[:start], cells // 3)
    shown = _first(before + line[start:], cells)
    marked = _first(line[start : start + max(1, diagnostic.length)], cells - width(before))
    return [
        f"{diagnostic.line:>{margin - 3}} | {shown}",
        f"{'':>{margin - 3}} | {' ' * width(before)}{'^' * max(1, width(marked))}",
    ]


def _first(text: str, cells: int) -> str:
    """Return as much of a text's beginning as has room in so many cells."""
    ends = accumulate(map(width, text))
    return text[: sum(1 for end in ends if end <= cells)]


def _last(text: str, cells: int) -> str:
    return _first(text[::-1], cells)[::-1]


def split_lines(text: str) -> list[str]:
    """Split at the line ends that editors count: LF, CRLF and CR, nothing else."""
    return re.split(r"\r\n|\n|\r", text)


def _spell(path: Path) -> str:
    return f" at {spell_path(path)}" if path else ""


def shortened(text: str, length: int) -> str:
    """Return *text*, cut to *length* characters with dots at the end."""
    return text if len(text) <= length else text[: length - 3] + "..."


def spell_path(path: Path) -> str:
    """Return *path* as people write it: `steps[2].config.url`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return _printable(text.removeprefix("."))


def _printable(text: str) -> str:
    """Replace what could drive a terminal; one character for one, so that carets stay in place."""
    unknown = "\N{REPLACEMENT CHARACTER}"
    return "".join(char if char.isprintable() else " " if char.isspace() else unknown for char in text)
