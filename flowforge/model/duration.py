"""Durations as people write them: `500ms`, `1.5h`, `1m30s`, ISO-8601 `PT30S`, or whole milliseconds.

One text form goes out for every value that comes in, so that a definition's canonical form is stable.
"""

from __future__ import annotations

import re
from datetime import timedelta

#: The longest duration that is accepted anywhere.
LONGEST = timedelta(days=3650)

_HUGE = 1e15
_MAX_SPELLING = 100
_UNITS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_TEXT = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|[smhd])\s*)+", re.ASCII)
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|[smhd])", re.ASCII)
_ISO = re.compile(
    r"P(?:(\d+)W)?(?:(\d+(?:\.\d+)?)D)?(?:T(?:(\d+(?:\.\d+)?)H)?(?:(\d+(?:\.\d+)?)M)?(?:(\d+(?:\.\d+)?)S)?)?",
    re.ASCII,
)


def parse(value: object) -> timedelta:
    """Return the duration that *value* means; a number is milliseconds. Raises ValueError saying what is wrong."""
    if isinstance(value, timedelta):
        milliseconds = value / timedelta(milliseconds=1)
    elif isinstance(value, str):
        milliseconds = _from_text(value.strip())
    elif isinstance(value, int | float) and not isinstance(value, bool):
        milliseconds = float(value) if abs(value) < _HUGE else _HUGE
    else:
        # Not a TypeError: pydantic turns only value errors into findings.
        raise ValueError("a duration is text such as '30s' or a whole number of milliseconds")  # noqa: TRY004
    if not milliseconds >= 0:
        raise ValueError("a duration cannot be negative")
    if milliseconds > LONGEST / timedelta(milliseconds=1):
        raise ValueError("a duration cannot be longer than ten years")
    return timedelta(milliseconds=milliseconds)


def text(value: timedelta) -> str:
    """Return the shortest spelling of *value* in whole units: `1m30s`, `500ms`, `0s`."""
    rest = round(value / timedelta(milliseconds=1))
    if rest == 0:
        return "0s"
    parts = []
    for unit in ("d", "h", "m", "s", "ms"):
        count, rest = divmod(rest, _UNITS[unit])
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts)


def _from_text(spelling: str) -> float:
    if len(spelling) > _MAX_SPELLING:
        raise ValueError("not a duration")
    if _TEXT.fullmatch(spelling):
        return sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(spelling))
    iso = _ISO.fullmatch(spelling.upper())
    if iso is not None and any(iso.groups()) and not spelling.upper().endswith("T"):
        weeks, days, hours, minutes, seconds = (float(part or 0) for part in iso.groups())
        return (((weeks * 7 + days) * 24 + hours) * 60 + minutes) * 60_000 + seconds * 1_000
    if re.fullmatch(r"\d+(\.\d+)?", spelling, re.ASCII):
        raise ValueError(f"'{spelling}' has no unit: write {spelling}s, or {spelling}ms")
    raise ValueError(f"'{spelling}' is not a duration: write it like 500ms, 30s, 1m30s, 2h, 1d or PT30S")
