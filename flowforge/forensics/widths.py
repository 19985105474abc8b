"""Widths of windows and buckets, as people write them."""

from __future__ import annotations

import pandas as pd

from flowforge.errors import UsageError
from flowforge.model import duration


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
