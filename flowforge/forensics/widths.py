"""Widths of windows and buckets, as people write them."""

from __future__ import annotations

from datetime import timedelta

import pandas as pd

from flowforge.errors import UsageError
from flowforge.model import duration

#: Widths that read well on an axis, in seconds.
_NICE = (0.1, 0.25, 0.5, 1, 2, 5, 10, 15, 30, 60, 300, 600, 900, 1800, 3600, 21_600, 86_400)
#: Buckets that a figure shows well.
BUCKETS = 60


def bucket(runs: pd.DataFrame) -> str:
    """Return the width of buckets that shows the time of some runs well, for `bucket=` and `window=`."""
    times = pd.concat([runs["created_at"], runs["finished_at"]]).dropna()
    length = 0.0 if times.empty else (times.max() - times.min()).total_seconds()
    seconds = next((nice for nice in _NICE if nice * BUCKETS >= length), _NICE[-1])
    return duration.text(timedelta(seconds=seconds))


def width(spelling: str | pd.Timedelta) -> pd.Timedelta:
    """Return a width such as `500ms`, `1m`, `1h`; raise UsageError unless it is one."""
    if isinstance(spelling, pd.Timedelta):
        return spelling
    try:
        found = duration.parse(spelling)
    except ValueError as error:
        raise UsageError(str(error), hint="write it like 1s, 1m, 1h") from None
    if not found:
        raise UsageError("a window has to have a length", hint="write it like 1s, 1m, 1h")
    return pd.Timedelta(found)
