"""How values of a run look as text. Pure: times are arguments, nothing is written.

Whatever comes from users goes through `safe` or `one_line` before it reaches a screen: what would drive a terminal,
reorder or hide text is shown as an escape instead.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, TypeAlias
from uuid import UUID

#: Characters of one piece of data that are shown.
CAP = 200_000
#: Digits of a short id.
SHORT = 8
#: Milliseconds of a second; seconds of the others.
SECOND, MINUTE, HOUR, DAY = 1000, 60, 3600, 86400

_COLOURS = re.compile(r"\x1b\[[0-9;:]*m")
#: Controls except newline, line separators, and the invisible characters that reorder or hide text.
_UNSAFE = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)


class Span(NamedTuple):
    """A piece of a line with a style: ok, bad, warn, active, dim, strong, mark, or none."""

    text: str
    style: str = ""


Line: TypeAlias = "list[Span]"


class Look(NamedTuple):
    """How a state looks: never by colour alone."""

    glyph: str
    ascii: str
    word: str
    style: str


LOOKS: dict[str, Look] = {
    "pending": Look("·", ".", "PENDING", "dim"),
    "queued": Look("○", "o", "QUEUED", ""),
    "running": Look("▶", ">", "RUNNING", "active"),
    "waiting": Look("◷", "~", "WAITING", "warn"),
    "retrying": Look("◷", "~", "RETRYING", "warn"),
    "paused": Look("‖", "=", "PAUSED", "warn"),
    "cancelling": Look("■", "#", "CANCELLING", "warn"),
    "compensating": Look("↺", "<", "COMPENSATING", "warn"),
    "compensated": Look("↺", "<", "UNDONE", "dim"),
    "completed": Look("✓", "+", "DONE", "ok"),
    "failed": Look("✗", "x", "FAILED", "bad"),
    "cancelled": Look("⊘", "/", "CANCELLED", "dim"),
    "skipped": Look("↷", "-", "SKIPPED", "dim"),
}


def safe(text: object, cap: int = CAP) -> str:
    """Return *text*, of any number of lines, harmless: colours are dropped, other controls are shown as escapes."""
    clean = str(text)
    if len(clean) > cap:
        clean = clean[: cap - 1] + "…"
    if clean.isascii() and clean.isprintable():
        return clean
    clean = _COLOURS.sub("", clean.replace("\r\n", "\n")).expandtabs(4)
    return _UNSAFE.sub(_escaped, clean)


def _escaped(match: re.Match[str]) -> str:
    return json.dumps(match[0])[1:-1]


def one_line(text: object, cap: int = 200) -> str:
    """Return *text* as one harmless line of at most *cap* characters."""
    flat = " ".join(safe(text, cap * 4).split())
    return flat if len(flat) <= cap else flat[: cap - 1] + "…"


def look(status: str) -> Look:
    """Return how a state looks."""
    return LOOKS.get(status) or Look("?", "?", status.upper(), "")


def state(status: str, *, unicode: bool = True) -> Span:
    """Return a state as glyph and word."""
    found = look(status)
    return Span(f"{found.glyph if unicode else found.ascii} {found.word}", found.style)


def duration(value: timedelta | float | None) -> str:
    """Return a duration to three digits or so: `12ms`, `3.4s`, `2m05s`, `3h12m`, `4d02h`; a dash for none."""
    if value is None:
        return "-"
    seconds = max(0.0, value.total_seconds() if isinstance(value, timedelta) else value)
    if (milliseconds := round(seconds * 1000)) < SECOND:
        return f"{milliseconds}ms"
    if (tenths := round(seconds * 10)) < MINUTE * 10:
        return f"{tenths / 10:.1f}s"
    whole = round(seconds)
    if whole < HOUR:
        return f"{whole // MINUTE}m{whole % MINUTE:02}s"
    if whole < DAY:
        return f"{whole // HOUR}h{whole % HOUR // MINUTE:02}m"
    return f"{whole // DAY}d{whole % DAY // HOUR:02}h"


def clock(moment: datetime) -> str:
    """Return a moment's time of day in UTC, with milliseconds."""
    return moment.astimezone(UTC).strftime("%H:%M:%S.") + f"{moment.microsecond // 1000:03}"


def moment(value: datetime) -> str:
    """Return a moment in UTC, to the second."""
    return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def short_id(run_id: UUID | str) -> str:
    """Return the end of an id: ids of one moment begin alike and differ at the end."""
    return str(run_id).replace("-", "")[-SHORT:]


def compact(value: object, cap: int = 120) -> str:
    """Return a JSON value on one harmless line."""
    return one_line(json.dumps(value, ensure_ascii=False, default=str), cap)


def plain(lines: Sequence[Line]) -> str:
    """Return lines without their styles."""
    return "\n".join("".join(span.text for span in line).rstrip() for line in lines)
