"""The text of a definition as plain data, and where each key and value stands in it.

Whatever a person may get wrong in a text file becomes a finding with a position; nothing but JSON values come out.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from flowforge.errors import DefinitionError
from flowforge.model.diagnostics import Diagnostic, Path

#: Bytes of a definition's text.
MAX_BYTES = 1024 * 1024
#: Containers inside containers.
MAX_DEPTH = 50
#: Digits of a whole number; more do not fit a float.
MAX_DIGITS = 308


@dataclass(slots=True)
class Place:
    """Where a value stands, and where the keys and values inside it stand; offsets into the text."""

    start: int
    end: int
    keys: dict[str, tuple[int, int]] = field(default_factory=dict)
    children: dict[str | int, Place] = field(default_factory=dict)


class Source:
    """A parsed definition text: its data, the findings so far, and the positions, looked up on demand."""

    def __init__(self, text: str, filename: str, data: Any, places: Callable[[], Place]) -> None:
        self.text = text
        self.filename = filename
        self.data = data
        self.findings: list[Diagnostic] = []
        self._make_places = places
        self._root: Place | None = None
        self._starts: list[int] | None = None

    def locate(self, diagnostic: Diagnostic) -> Diagnostic:
        """Return the finding with line, column and length filled in from its path."""
        if diagnostic.line is not None:
            return diagnostic
        start, end = self._span(diagnostic)
        return self.at(diagnostic, start, end)

    def at(self, diagnostic: Diagnostic, start: int, end: int) -> Diagnostic:
        """Return the finding placed at these offsets of the text; it underlines no more than one line."""
        if self._starts is None:
            self._starts = [0, *(match.end() for match in re.finditer(r"\r\n|\n|\r", self.text))]
        start = min(max(start, 0), len(self.text))
        line = bisect_right(self._starts, start)
        column = start - self._starts[line - 1] + 1
        stop = re.compile(r"[\r\n]").search(self.text, start, max(start, end))
        length = max(1, (stop.start() if stop else end) - start)
        return replace(diagnostic, line=line, column=column, length=length)

    def _span(self, diagnostic: Diagnostic) -> tuple[int, int]:
        if self._root is None:
            self._root = self._make_places()
        place, key = self._root, None
        for depth, part in enumerate(diagnostic.path):
            child = place.children.get(part)
            last = depth == len(diagnostic.path) - 1
            if last and diagnostic.at_key and isinstance(part, str):
                key = place.keys.get(part)
            if child is None:
                return key or self._head(place)
            place = child
        if key is not None:
            return key
        if diagnostic.inside is not None:
            return self._inside(diagnostic.path, place, *diagnostic.inside)
        return self._head(place)

    @staticmethod
    def _head(place: Place) -> tuple[int, int]:
        """A container is pointed at by its first key, not underlined as a whole."""
        if place.keys:
            return next(iter(place.keys.values()))
        return place.start, place.end

    def _inside(self, path: Path, place: Place, offset: int, length: int) -> tuple[int, int]:
        """Map an offset in a text value to the file, as exactly as quoting and folding allow."""
        value: Any = self.data
        for part in path:
            value = value[part]
        raw = self.text[place.start : place.end]
        for wanted, shift in _needles(str(value), offset, length):
            found = raw.find(wanted) if wanted else -1
            if found >= 0:
                start = place.start + found + shift
                return start, start + max(1, length)
        return place.start, place.end


def _needles(value: str, offset: int, length: int) -> list[tuple[str, int]]:
    """Texts to look for in the raw spelling, the most telling first, and the fault's offset in each."""
    begin = value.rfind("\n", 0, offset) + 1
    end = value.find("\n", offset)
    line = value[begin : end if end >= 0 else len(value)]
    indent = len(line) - len(line.lstrip())
    return [
        (value, offset),
        (line.strip(), max(0, offset - begin - indent)),
        (value[offset : offset + max(length, 8)], 0),
        (value[offset : offset + max(length, 1)], 0),
    ]


def parse(text: str | bytes, *, filename: str = "<definition>") -> Source:
    """Parse YAML or JSON; raises DefinitionError when nothing sensible can be read at all."""
    from flowforge.model import jsontext, yamltext

    checked = _check_text(text, filename)
    if filename.lower().endswith(".json"):
        return jsontext.parse(checked, filename)
    if checked.lstrip(" \t\r\n")[:1] not in ("{", "["):
        return yamltext.parse(checked, filename)
    try:
        return jsontext.parse(checked, filename)
    except DefinitionError as json_error:
        # Neither name nor text decides alone: `{name: x}` is YAML, `{"name": "x",}` was meant as JSON.
        try:
            return yamltext.parse(checked, filename)
        except DefinitionError as yaml_error:
            raise (json_error if jsontext.looks_like_json(checked) else yaml_error) from None


def fail(diagnostic: Diagnostic, text: str, filename: str, start: int, end: int) -> DefinitionError:
    """Return the error for a text that cannot be read on from *start*."""
    source = Source(text, filename, None, lambda: Place(0, len(text)))
    placed = source.at(diagnostic, start, end)
    return DefinitionError(f"{filename} is not a valid definition: {placed.message}", diagnostics=[placed])


def _check_text(text: str | bytes, filename: str) -> str:
    if isinstance(text, bytes):
        text = _decode(text, filename)
    text = text.removeprefix("\ufeff")
    if len(text) > MAX_BYTES or (not text.isascii() and len(text.encode(errors="replace")) > MAX_BYTES):
        message = f"the definition is larger than {MAX_BYTES // 1024} KiB"
        help_text = "move large data out of the definition, into the run's input or a service"
        raise fail(Diagnostic("FF002", message, help=help_text), text[:80], filename, 0, 1)
    bad = re.search("[\0\ud800-\udfff]", text)
    if bad is not None:
        what = "a NUL character" if bad.group() == "\0" else "a lone surrogate, which is not valid text"
        raise fail(Diagnostic("FF005", f"the definition holds {what}"), text, filename, *bad.span())
    return text


def _decode(data: bytes, filename: str) -> str:
    if len(data) > MAX_BYTES + 3:
        return " " * (MAX_BYTES + 1)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        readable = data[: error.start].decode()
        message = f"the definition is not UTF-8 text: byte 0x{data[error.start]:02x}"
        raise fail(Diagnostic("FF001", message), readable, filename, len(readable), len(readable) + 1) from None
