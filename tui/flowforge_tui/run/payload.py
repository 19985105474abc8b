"""JSON values as lines to read: indented, coloured by kind, folded where they are large, bounded as a whole."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from flowforge_tui.run.folding import AT_FIRST, CROWD, Folds, Handle, Path
from flowforge_tui.run.text import Line, Span, safe

#: Lines that one value takes at most.
MOST_LINES = 5_000
#: Characters of one text that are shown at first, and when all of it is asked for.
MOST_TEXT, WHOLE_TEXT = 4_000, 100_000
#: Members and characters of a list or mapping that is shown on one line.
FEW, INLINE = 8, 60
#: Cells of indentation at which nothing is opened any more.
DEEP = 80
#: Entries of a list or mapping that are shown; so many more each time they are asked for.
MOST_ENTRIES = 200
#: Beside the names of members, these paths mean the rest of a list or mapping, and the rest of a text.
_REST, _TEXT = "\0rest", "\0text"


def lines(value: Any, folds: Folds = AT_FIRST, *, root: Path = (), most: int = MOST_LINES) -> list[Line]:
    """Return a value as lines; what is left out is counted."""
    made: list[Line] = []
    for line in _Document(folds).value(value, root, _MARGIN, "", ""):
        if len(made) >= most:
            made.append([Span(f"… more than {most:,} lines; flowforge show --json has them all", "dim")])
            break
        made.append(line)
    return made


class _Document:
    """Makes the lines of one value."""

    def __init__(self, folds: Folds) -> None:
        self._folds = folds

    def value(
        self, value: Any, path: Path, indent: str, before: str, after: str, *, crowded: bool = False
    ) -> Iterator[Line]:
        """Yield the lines of a value; *before* is its key, *after* the comma behind it."""
        key = [Span(indent), Span(before, "name")] if before else [Span(indent)]
        short = _short(value) if path else None
        if short is not None:
            yield [*key, Span(short), Span(after)]
        elif isinstance(value, (dict, list, tuple)) and value:
            yield from self._container(value, path, key, after, crowded=crowded)
        elif isinstance(value, str):
            yield from self._string(value, path, key, after)
        else:
            yield [*key, Span(safe(json.dumps(value, default=str)), "number"), Span(after)]

    def _container(self, value: Any, path: Path, key: Line, after: str, *, crowded: bool) -> Iterator[Line]:
        indent = key[0].text
        begin, end = "{}" if isinstance(value, dict) else "[]"
        if len(indent) > DEEP:
            yield [*key, Span(f"… {len(value):,} entries, nested too deeply to show", "dim"), Span(after)]
        elif not self._folds.opens(value, path, crowded=crowded):
            note = Span(f" {len(value):,} {'entries' if len(value) > 1 else 'entry'}", "dim")
            inside = Span(_glimpse(value, INLINE), "dim")
            line = [*_marked(key, "▸"), Span(begin), inside, Span(f"{end}{after}"), note]
            yield Handle(line, path, opened=False)
        else:
            yield Handle([*_marked(key, "▾"), Span(begin)], path, opened=True)
            yield from self._inside(value, path, indent)
            yield [Span(f"{indent}{end}{after}")]

    def _inside(self, value: Any, path: Path, indent: str) -> Iterator[Line]:
        total, shown = len(value), MOST_ENTRIES
        while shown < total and self._folds.asked((*path, _REST, shown)):
            shown += MOST_ENTRIES
        named = isinstance(value, dict)
        crowded = total > CROWD
        for at, entry in zip(range(min(shown, total)), value.items() if named else value, strict=False):
            name, one = entry if named else (at, entry)
            before = f"{_text(str(name))}: " if named else ""
            comma = "," if at < total - 1 else ""
            yield from self.value(one, (*path, name), f"{indent}  ", before, comma, crowded=crowded)
        if total > shown:
            rest = [*_marked([Span(f"{indent}  ")], "▸"), Span(f"… {total - shown:,} more", "dim")]
            yield Handle(rest, (*path, _REST, shown), opened=False)

    def _string(self, value: str, path: Path, key: Line, after: str) -> Iterator[Line]:
        """A text of several lines is shown as such: tracebacks and mails are read, not parsed."""
        rest, indent = (*path, _TEXT), key[0].text
        most = WHOLE_TEXT if self._folds.asked(rest) else MOST_TEXT
        shown = value[:most]
        if "\n" not in shown.strip("\n"):
            yield [*key, Span(_text(shown), "text"), Span(after)]
        else:
            yield [*key, Span('"""', "dim")]
            for part in safe(shown).split("\n"):
                yield [Span(f"{indent}  "), Span(part, "text")]
            yield [Span(f'{indent}"""', "dim"), Span(after)]
        if len(value) > most and most < WHOLE_TEXT:
            note = Span(f"… {len(value) - most:,} more characters", "dim")
            yield Handle([*_marked([Span(f"{indent}  ")], "▸"), note], rest, opened=False)
        elif len(value) > most:
            yield [Span(f"{indent}  "), Span(f"… {len(value) - most:,} more characters", "dim")]


#: Cells left of everything, for the marks of what is folded.
_MARGIN = "  "


def _marked(key: Line, mark: str) -> Line:
    """Return the beginning of a line with a mark in its margin."""
    return [Span(key[0].text[:-2]), Span(f"{mark} ", "dim"), *key[1:]]


def _short(value: Any) -> str | None:
    """Return a small list or mapping on one line."""
    if not isinstance(value, (dict, list, tuple)) or not value:
        return None
    members = value.values() if isinstance(value, dict) else value
    small = len(value) <= FEW and not any(isinstance(one, (dict, list)) for one in members)
    text = safe(json.dumps(value, ensure_ascii=False, default=str)) if small else ""
    return text if text and len(text) <= INLINE else None


def _glimpse(value: Any, room: int) -> str:
    """Return how a folded list or mapping begins."""
    parts: list[str] = []
    for entry in value.items() if isinstance(value, dict) else ((None, one) for one in value):
        name, one = entry
        mark = "{…}" if isinstance(one, dict) and one else "[…]" if isinstance(one, (list, tuple)) and one else ""
        text = mark or _text(one[:room] if isinstance(one, str) else one)
        part = text if name is None else f"{_text(str(name))}: {text}"
        room -= len(part) + 2
        if room < 0:
            return ", ".join([*parts, "…"])
        parts.append(part)
    return ", ".join(parts)


def _text(value: Any) -> str:
    return safe(json.dumps(value, ensure_ascii=False, default=str))
