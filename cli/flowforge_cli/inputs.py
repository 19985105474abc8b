"""Reading what is typed: inputs, labels, durations, moments, references. Raises UsageError, touches no server."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Any

#: Bytes of an input that are read at all; the setting max_input_bytes is checked later and says more.
MOST = 64 * 1024 * 1024

#: Characters of a duration.
LONGEST = 50

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|[smhdw]))+", re.ASCII)
_CLOCK = re.compile(r"(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d{1,6})?", re.ASCII)
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|[smhdw])", re.ASCII)


def run_input(pairs: Sequence[str], text: str | None) -> Any:
    """Return a run's input from --input and -i; -i wins over what --input says."""
    from flowforge.errors import UsageError

    value = None if text is None else json_input(text)
    if not pairs:
        return value
    value = {} if value is None else value
    if not isinstance(value, dict):
        raise UsageError("-i adds to a mapping, and --input is not one", hint="give all of it with --input")
    for pair in pairs:
        assign(value, pair)
    return value


def json_input(text: str) -> Any:
    """Return the value of --input: JSON, @file or - for stdin."""
    from flowforge.client.starts import parse_input
    from flowforge.errors import InputError, NotFound

    if text == "-":
        return parse_input(sys.stdin.buffer.read(MOST + 1))
    if not text.startswith("@"):
        return parse_input(text)
    path = Path(text[1:])
    try:
        with path.open("rb") as file:
            # No more than that, whatever the size says: a device or a pipe has none.
            content = file.read(MOST + 1)
    except FileNotFoundError:
        raise NotFound(f"there is no file {path}", hint="--input takes JSON, @FILE, or - for stdin") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    if len(content) > MOST:
        raise InputError(f"{path} is larger than {MOST:,} bytes")
    try:
        return parse_input(content)
    except InputError as error:
        raise InputError(f"{path}: {error.message}") from None


def assign(target: dict[str, Any], pair: str) -> None:
    """Put `a.b=value` into a mapping; the value is JSON where it parses, else text."""
    from flowforge.errors import UsageError

    name, sign, text = pair.partition("=")
    keys = name.split(".")
    if not sign or not all(keys):
        raise UsageError(f"'{pair}' is not name=value", hint="-i amount=5 -i customer.name=Ada -i 'tags=[1, 2]'")
    for key in keys[:-1]:
        inner = target.setdefault(key, {})
        if not isinstance(inner, dict):
            raise UsageError(f"'{pair}' goes into '{key}', which is not a mapping")
        target = inner
    target[keys[-1]] = json_or_text(text)


def json_or_text(text: str) -> Any:
    """Return the JSON value that *text* spells, or *text* itself."""
    from flowforge.client.starts import parse_input
    from flowforge.errors import InputError

    try:
        return parse_input(text)
    except InputError:
        return text


def labels(pairs: Iterable[str]) -> dict[str, str]:
    """Return labels given as k=v."""
    from flowforge.errors import UsageError

    found: dict[str, str] = {}
    for pair in pairs:
        key, sign, value = pair.partition("=")
        if not sign or not key:
            raise UsageError(f"'{pair}' is not a label: write key=value")
        found[key] = value
    return found


def duration(text: str | None) -> timedelta | None:
    """Return a duration such as 500ms, 30s, 1m30s, 2h, 7d; a bare number is seconds."""
    from flowforge.errors import UsageError

    if text is None:
        return None
    spelling = text.strip().lower()
    if re.fullmatch(r"\d+(\.\d+)?", spelling, re.ASCII):
        spelling += "s"
    if len(spelling) > LONGEST or not _DURATION.fullmatch(spelling):
        raise UsageError(f"'{text}' is not a duration", hint="write it like 500ms, 30s, 1m30s, 2h, 7d")
    seconds = sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(spelling))
    if seconds > 3650 * 86400:
        raise UsageError(f"'{text}' is longer than ten years")
    return timedelta(seconds=seconds)


def seconds(text: str | None) -> float | None:
    """Return a duration in seconds."""
    found = duration(text)
    return None if found is None else found.total_seconds()


def moment(text: str | None, now: datetime) -> datetime | None:
    """Return a moment: how long ago (`1h`), or a date or time (RFC 3339; without a zone it is local)."""
    from flowforge.errors import UsageError
    from flowforge.model.moment import moment

    if text is None:
        return None
    try:
        return moment(text, now)
    except ValueError as error:
        raise UsageError(str(error)) from None


def when(text: str, created: datetime, now: datetime) -> datetime | None:
    """Return a moment of a run's history, as `position` takes it."""
    found = position(text, created, now)[1]
    return moment(text, now) if found is None else found


def position(text: str, created: datetime, now: datetime) -> tuple[int | None, datetime | None]:
    """Return a place in a run's history: the number of an event, or a moment.

    A moment is what `moment` takes, a time of day as events show it, or `+3.2s` after the run was created.
    """
    spelling = text.strip()
    if spelling.isascii() and spelling.isdigit():
        return min(int(spelling[:10]), 2**31 - 1), None
    if spelling.startswith("+"):
        return None, created + (duration(spelling[1:]) or timedelta())
    if _CLOCK.fullmatch(spelling):
        day = created.astimezone(UTC)
        found = datetime.combine(day.date(), time.fromisoformat(spelling), UTC)
        # Events show whole milliseconds: what is shown as that moment is meant too.
        found += timedelta(microseconds=999)
        return None, found if found >= day.replace(microsecond=0) else found + timedelta(days=1)
    return None, moment(spelling, now)


def statuses(words: Iterable[str]) -> tuple[Any, ...]:
    """Return run statuses; `active` means all that are not final, `done` is completed."""
    from flowforge.errors import UsageError
    from flowforge.model.filter import run_statuses

    try:
        return run_statuses(",".join(words)) if (words := list(words)) else ()
    except ValueError as error:
        raise UsageError(str(error), hint=getattr(error, "hint", None)) from None


def references(given: Sequence[str]) -> list[str]:
    """Return references to runs; `-` stands for those on stdin, separated by white space."""
    from flowforge.errors import UsageError

    found: list[str] = []
    for reference in given:
        found += sys.stdin.read().split() if reference == "-" else [reference]
    if not found:
        raise UsageError("no run is given", hint="flowforge ps lists runs")
    return list(dict.fromkeys(found))
