"""How values look as text: times, durations, ids, states. Pure, and the same on every surface.

Text that came from outside (names, errors, outputs) may hold what drives a terminal: `safe_text` takes it out, and
whatever is printed goes through it.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from uuid import UUID

#: Characters of one piece of data that are shown.
CAP = 20_000
#: Digits of a short id; more where two runs of a list would look the same.
SHORT = 8

#: Milliseconds of a second; seconds of the others.
SECOND, MINUTE, HOUR, DAY = 1000, 60, 3600, 86400

#: C0 and C1 controls except newline and tab, line separators, and the invisible ones that reorder or hide text.
_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)
_COLOURS = re.compile(r"\x1b\[[0-9;:]*m")


class Span(NamedTuple):
    """A piece of a line with a style: ok, bad, warn, active, dim, strong, or none."""

    text: str
    style: str = ""


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
    "compensating": Look("↺", "<", "UNDOING", "warn"),
    "compensated": Look("↺", "<", "UNDONE", "dim"),
    "completed": Look("✓", "+", "DONE", "ok"),
    "failed": Look("✗", "x", "FAILED", "bad"),
    "cancelled": Look("⊘", "/", "CANCELLED", "dim"),
    "skipped": Look("↷", "-", "SKIPPED", "dim"),
    # Workers, servers and versions
    "active": Look("●", "*", "ACTIVE", "ok"),
    "open": Look("●", "*", "OPEN", "ok"),
    "up": Look("●", "*", "UP", "ok"),
    "down": Look("○", "o", "DOWN", "dim"),
    "draining": Look("◷", "~", "DRAINING", "warn"),
    "stopped": Look("○", "o", "STOPPED", "dim"),
    "lost": Look("✗", "x", "LOST", "bad"),
    "published": Look("●", "*", "PUBLISHED", "ok"),
    "draft": Look("○", "o", "DRAFT", ""),
    "archived": Look("⊘", "/", "ARCHIVED", "dim"),
}


def safe_text(text: object, cap: int = CAP) -> str:
    """Return *text* without anything that could drive a terminal, cut to *cap* characters."""
    clean = str(text)
    if len(clean) > cap:
        clean = clean[: cap - 1] + "…"
    return clean if clean.isascii() and clean.isprintable() else _UNSAFE.sub("", clean)


def shown_text(text: object, cap: int = CAP) -> str:
    """Return *text*, of any number of lines, harmless: colours are dropped, other controls are shown as escapes."""
    clean = str(text)
    if len(clean) > cap:
        clean = clean[: cap - 1] + "…"
    if clean.isascii() and clean.isprintable():
        return clean
    return _UNSAFE.sub(_escaped, _COLOURS.sub("", clean.replace("\r\n", "\n")).expandtabs(4))


def one_line(text: object, cap: int = 200) -> str:
    """Return *text* as one safe line of at most *cap* characters."""
    flat = " ".join(safe_text(text, cap * 4).split())
    return flat if len(flat) <= cap else flat[: cap - 1] + "…"


def state(status: str, *, unicode: bool = True) -> Span:
    """Return a state as glyph and word."""
    look = LOOKS.get(status) or Look("?", "?", status.upper(), "")
    return Span(f"{look.glyph if unicode else look.ascii} {look.word}", look.style)


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


def age(moment: datetime | None, now: datetime) -> str:
    """Return how long ago a moment was, roughly."""
    if moment is None:
        return "-"
    seconds = max(0, int((now - moment).total_seconds()))
    for size, unit in ((DAY, "d"), (HOUR, "h"), (MINUTE, "m")):
        if seconds >= 2 * size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def clock(moment: datetime) -> str:
    """Return a moment's time of day in UTC, with milliseconds."""
    return moment.astimezone(UTC).strftime("%H:%M:%S.") + f"{moment.microsecond // 1000:03}"


def moment(value: datetime) -> str:
    """Return a moment in UTC, to the second."""
    return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def short_id(run_id: UUID | str) -> str:
    """Return the end of an id: ids of one moment begin alike and differ at the end."""
    return str(run_id).replace("-", "")[-SHORT:]


def short_ids(run_ids: Iterable[UUID]) -> dict[UUID, str]:
    """Return short ids that tell the runs of a list apart."""
    digits = {run_id: run_id.hex for run_id in run_ids}
    for length in range(SHORT, 33):
        short = {run_id: text[-length:] for run_id, text in digits.items()}
        if len(set(short.values())) == len(short):
            return short
    raise AssertionError("ids are unique")  # pragma: no cover


def compact(value: object, cap: int = 300) -> str:
    """Return a JSON value on one line, cut to *cap* characters."""
    return one_line(json.dumps(value, ensure_ascii=False, default=str), cap)


def json_text(value: object, *, indent: int | None = None) -> str:
    """Return JSON in which nothing drives a terminal: what would is escaped, so that no information is lost."""
    text = json.dumps(value, ensure_ascii=False, indent=indent, default=str)
    # Of ASCII, json.dumps escapes all controls but this one.
    return text if text.isascii() and "\x7f" not in text else _UNSAFE.sub(_escaped, text)


def _escaped(match: re.Match[str]) -> str:
    return json.dumps(match[0])[1:-1]


def width(text: str) -> int:
    """Return how many cells of a terminal a text takes."""
    if text.isascii():
        return len(text)
    return sum(map(_cells, text))


def _cells(char: str) -> int:
    if unicodedata.category(char) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1
