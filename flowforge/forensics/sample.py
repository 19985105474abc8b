"""Samples: of very many runs only some are asked, the same ones every time, and every answer says so.

A frame that was made of a sample has `attrs["sampled"]`: the share of the runs, about how many these are, and how far
off its numbers may be. What happens rarely (errors, lost workers, doubled effects) is never sampled.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

#: Runs that are asked where there are more than twice as many.
MOST = 50_000
#: Standard deviations within which nearly all estimates lie.
_NEARLY_ALL = 2


@dataclass(frozen=True, slots=True)
class Sample:
    """Which part of the runs is asked."""

    share: float
    #: About how many runs there are.
    of: int

    @property
    def note(self) -> str:
        """What has to be known of the numbers."""
        off = _NEARLY_ALL * math.sqrt((1 - self.share) / self.share)
        return (
            f"estimated from {self.share:.0%} of about {self.of:,} runs: a count of n is right to ±{off:.0f}√n, "
            "a quantile of n attempts to 1/√n of its rank"
        )

    def grown(self, found: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
        """Return what a sample came to as what all would have come to."""
        for name in columns:
            exact = pd.to_numeric(found[name]) / self.share
            found[name] = exact if name.endswith(("_s", "_sum")) else exact.round()
        found.attrs["sampled"] = {"share": self.share, "of": self.of, "note": self.note}
        return found


def taken(runs: float) -> Sample | None:
    """Return the sample to take of so many runs; None: all of them are asked."""
    return None if runs < 2 * MOST else Sample(MOST / runs, round(runs))


def note(found: pd.DataFrame) -> str | None:
    """Return what has to be known of the numbers of a frame that was made of a sample."""
    known: dict[str, Any] = found.attrs.get("sampled") or {}
    return known.get("note")
