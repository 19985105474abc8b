"""Quantiles of times that were counted: each value with how often it was taken."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd


def quantiles(found: pd.DataFrame, q: Sequence[float], took: str) -> list[float | None]:
    """Return quantiles as if every value stood there as often as it was taken; None where there is none."""
    some = found[found[took].notna()].sort_values(took)
    if some.empty:
        return [None] * len(q)
    values = some[took].to_numpy(dtype="float64")
    until = np.cumsum(some["count"].to_numpy(dtype="int64"))
    made: list[float | None] = []
    for one in q:
        place = one * (int(until[-1]) - 1)
        low, high = (values[np.searchsorted(until, rank, side="right")] for rank in (np.floor(place), np.ceil(place)))
        made.append(float(low + (high - low) * (place - np.floor(place))))
    return made
