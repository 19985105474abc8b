"""JSON values as lines to read: indented, coloured by kind, folded where they are long, bounded as a whole."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from flowforge_tui.run.text import Line, Span, safe

#: Lines that one value takes at most, and characters of one text in it.
MOST_LINES, MOST_TEXT = 2_000, 4_000
#: Members and characters of a list or mapping that is shown on one line.
FEW, INLINE = 8, 60
#: Cells of indentation at which nothing is opened any more.
DEEP = 80
#: Entries of a list or mapping that are shown; more are counted.
MOST_ENTRIES = 200


def lines(value: Any, *, most: int = MOST_LINES) -> list[Line]:
    """Return a value as lines; what is left out is counted."""
    made: list[Line] = []
    for line in _value(value, "", "", ""):
        if len(made) >= most:
            made.append([Span(f"… more than {most:,} lines; flowforge show --json has them all", "dim")])
            break
        made.append(line)
    return made


def _value(value: Any, indent: str, before: str, after: str) -> Iterator[Line]:
    """Yield the lines of a value; *before* is its key, *after* the comma behind it."""
    key = [Span(indent), Span(before, "key")] if before else [Span(indent)]
    short = _short(value) if before else None
    if short is not None:
        yield [*key, Span(short), Span(after)]
    elif isinstance(value, (dict, list, tuple)) and value and len(indent) > DEEP:
        yield [*key, Span(f"… {len(value):,} entries, nested too deeply to show", "dim"), Span(after)]
    elif isinstance(value, dict) and value:
        yield [*key, Span("{")]
        entries = [(f"{_text(str(name))}: ", one) for name, one in list(value.items())[:MOST_ENTRIES]]
        yield from _inside(entries, len(value), indent)
        yield [Span(f"{indent}}}{after}")]
    elif isinstance(value, (list, tuple)) and value:
        yield [*key, Span("[")]
        yield from _inside([("", one) for one in value[:MOST_ENTRIES]], len(value), indent)
        yield [Span(f"{indent}]{after}")]
    elif isinstance(value, str):
        yield from _string(value, key, indent, after)
    else:
        yield [*key, Span(safe(json.dumps(value, default=str)), "number"), Span(after)]


def _short(value: Any) -> str | None:
    """Return a small or deep list or mapping on one line."""
    if not isinstance(value, (dict, list, tuple)) or not value:
        return None
    small = len(value) <= FEW and not any(isinstance(one, (dict, list)) for one in _members(value))
    text = safe(json.dumps(value, ensure_ascii=False, default=str)) if small else ""
    return text if text and len(text) <= INLINE else None


def _members(value: Any) -> Any:
    return value.values() if isinstance(value, dict) else value


def _inside(entries: list[tuple[str, Any]], total: int, indent: str) -> Iterator[Line]:
    inner = indent + "  "
    for at, (name, one) in enumerate(entries):
        yield from _value(one, inner, name, "," if at < total - 1 else "")
    if total > len(entries):
        yield [Span(f"{inner}… {total - len(entries):,} more", "dim")]


def _string(value: str, key: Line, indent: str, after: str) -> Iterator[Line]:
    """A text of several lines is shown as such: tracebacks and mails are read, not parsed."""
    cut = len(value) - MOST_TEXT
    shown = value[:MOST_TEXT] if cut > 0 else value
    note = [Span(f" … {cut:,} more characters", "dim")] if cut > 0 else []
    if "\n" not in shown.strip("\n"):
        yield [*key, Span(_text(shown), "text"), *note, Span(after)]
        return
    yield [*key, Span('"""', "dim")]
    for part in safe(shown).split("\n"):
        yield [Span(f"{indent}  "), Span(part, "text")]
    yield [Span(f'{indent}"""', "dim"), *note, Span(after)]


def _text(value: str) -> str:
    return safe(json.dumps(value, ensure_ascii=False))
