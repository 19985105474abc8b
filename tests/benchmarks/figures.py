"""Arithmetic on measured values, and how they look: pure, and the same for every side of a comparison."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from flowforge_cli.benchmark import percentile

PERCENTILES = {"p50": 0.50, "p95": 0.95, "p99": 0.99}


def median(values: Sequence[float]) -> float:
    """Return the middle value; one that nothing was measured for is an error."""
    return statistics.median(values)


def spread(values: Sequence[float]) -> float | None:
    """Return how far repetitions lie apart, as a share of their median; None for a single one."""
    middle = statistics.median(values) if len(values) > 1 else 0.0
    return (max(values) - min(values)) / middle if middle else None


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """Return p50, p95 and p99."""
    ordered = sorted(values)
    return {name: percentile(ordered, share) for name, share in PERCENTILES.items()}


def growth(samples: Sequence[float]) -> float:
    """Return by which share the last quarter of samples lies above the second one; the first is for warming up."""
    if len(samples) < 8:
        return 0.0
    quarter = len(samples) // 4
    second, last = samples[quarter : 2 * quarter], samples[-quarter:]
    return statistics.median(last) / statistics.median(second) - 1


def shown(value: float | None, unit: str) -> str:
    """Return a value with its unit, to about three digits."""
    if value is None:
        return "-"
    if unit == "%":
        return f"{value * 100:.1f} %" if abs(value) < 0.1 else f"{value * 100:.0f} %"
    if unit == "x":
        return f"{value:.2f} x" if value < 10 else f"{value:,.0f} x"
    return f"{number(value)} {unit}".rstrip()


def bound(value: float, unit: str) -> str:
    """Return a value that somebody chose, as it was chosen."""
    return f"{value * 100:g} %" if unit == "%" else f"{value:,g} {unit}"


def number(value: float) -> str:
    """Return a number to about three digits, with commas; a whole number as it is."""
    if isinstance(value, int) or value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
