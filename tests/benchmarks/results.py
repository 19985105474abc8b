"""What a benchmark found: rows of the table with their goals, curves, and the raw trials behind them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.benchmarks.figures import bound

PEERS = {"dbos": "DBOS", "celery": "Celery"}


class Failed(Exception):
    """A measure could not be taken."""


@dataclass(frozen=True, slots=True)
class Goal:
    """What a figure has to reach: a bound, and how many times better than a peer it has to be."""

    bound: float | None = None
    #: More is better; otherwise less is.
    higher: bool = False
    times: Mapping[str, float] = field(default_factory=dict)

    def text(self, unit: str) -> str:
        """Return the bound in words; nothing without one."""
        return "" if self.bound is None else f"{'≥' if self.higher else '≤'} {bound(self.bound, unit)}"

    def met(self, value: float | None, peers: Mapping[str, float]) -> bool | None:
        """Say whether a figure reaches the goal; None when what it is compared with was not measured."""
        if value is None:
            return None
        if self.bound is not None and (value < self.bound if self.higher else value > self.bound):
            return False
        known = {peer: better(value, peers[peer], higher=self.higher) for peer in self.times if peer in peers}
        if any(ratio < self.times[peer] for peer, ratio in known.items()):
            return False
        return True if len(known) == len(self.times) else None


def better(value: float, other: float, *, higher: bool) -> float:
    """Return how many times better a figure is than another."""
    above, below = (value, other) if higher else (other, value)
    return above / below if below else float("inf")


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    key: str
    title: str
    value: float | None
    unit: str
    goal: Goal = field(default_factory=Goal)
    peers: Mapping[str, float] = field(default_factory=dict)
    detail: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the goal is reached; None without one, or when it cannot be said."""
        return self.goal.met(self.value, self.peers) if self.goal != Goal() else None

    @property
    def ratios(self) -> dict[str, float]:
        """How many times better than each peer."""
        if self.value is None:
            return {}
        return {peer: better(self.value, other, higher=self.goal.higher) for peer, other in self.peers.items()}

    def document(self) -> dict[str, Any]:
        """Return the row as data."""
        return {
            "key": self.key,
            "title": self.title,
            "value": self.value,
            "unit": self.unit,
            "goal": {"bound": self.goal.bound, "higher": self.goal.higher, "times_better": dict(self.goal.times)},
            "met": self.met,
            "peers": dict(self.peers),
            "times_better": self.ratios,
            "detail": self.detail,
        }


@dataclass(frozen=True, slots=True)
class Curve:
    """One line of a picture."""

    picture: str
    label: str
    points: list[tuple[float, float]]


@dataclass(slots=True)
class Found:
    """What one measure found."""

    rows: list[Row] = field(default_factory=list)
    curves: list[Curve] = field(default_factory=list)
    #: Repetitions of the measure's own figure, by what was repeated.
    repeated: dict[str, list[float]] = field(default_factory=dict)
