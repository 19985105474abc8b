"""Moments as people write them: how long ago, or a date or time."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from flowforge.model import duration

_WEEKS = re.compile(r"(\d+)w", re.ASCII)
#: Spellings of a duration that could also be read as a time, and are not meant as one ago.
_AGO = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|[smhd]))+", re.ASCII)


def moment(text: str, now: datetime) -> datetime:
    """Return the moment that *text* means: `30m`, `1h`, `7d`, `2w` ago, or RFC 3339; without a zone it is local.

    Raises ValueError saying how to write one.
    """
    spelling = text.strip().lower()
    weeks = _WEEKS.fullmatch(spelling)
    try:
        if weeks is not None:
            return now - min(timedelta(weeks=int(weeks[1][:6])), duration.LONGEST)
        if _AGO.fullmatch(spelling):
            return now - duration.parse(spelling)
        return datetime.fromisoformat(text.strip()).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(f"'{text}' is not a time: write how long ago (30m, 1h, 7d) or 2026-01-31T12:00:00Z") from None
