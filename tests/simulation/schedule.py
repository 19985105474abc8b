"""A schedule: what is run, by how many, how slow the networks are, and what goes wrong, all from one seed.

Chance has a stream of its own for everybody who waits, so leaving out a fault changes nothing that came before it:
that is what makes a failing schedule easy to reduce.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import Any

from tests.simulation.shapes import SHAPES


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong."""

    kind: str
    #: Of a worker's own faults: the how manieth message to or from it; of the others: milliseconds since the start.
    at: int
    #: Which worker, or run, counted from 0.
    who: int = 0
    #: Seconds, or a share.
    much: float = 0.0

    def __str__(self) -> str:
        when = f"at message {self.at}" if self.kind in OWN else f"after {self.at / 1000:g} s"
        return f"{self.kind} {when}, of {self.who}, {self.much:g}"


#: Faults of a worker that strike at one of its messages: it dies then, or the message is lost, or long on its way.
OWN = ("crash", "cut", "late")
#: Faults that strike at a time, and how often each is drawn.
TIMED = {
    "frozen": 5,
    "postgres crashes": 2,
    "postgres unreachable": 5,
    "valkey crashes": 2,
    "valkey unreachable": 2,
    "flushed": 2,
    "stream lost": 2,
    "group lost": 1,
    "repeated": 3,
    "lost": 2,
    "cancelled": 3,
    "retried": 3,
    "drained": 2,
}
#: How long messages travel: the usual time, how often one takes longer, and how much longer at most.
PACES = {"calm": (0.002, 0.0, 0.0), "busy": (0.02, 0.05, 0.5), "wild": (0.05, 0.1, 4.0)}


@dataclass(frozen=True, slots=True)
class Schedule:
    """Everything that decides what will happen."""

    seed: int
    #: The shape of each run.
    runs: tuple[str, ...]
    workers: int
    pace: str
    faults: tuple[Fault, ...]

    def without(self, fault: Fault) -> Schedule:
        """Return the schedule with one fault less."""
        return replace(self, faults=tuple(one for one in self.faults if one is not fault))

    def lines(self) -> list[str]:
        """Return it for people."""
        what = f"seed {self.seed}: {self.workers} workers, {self.pace} networks, runs: {', '.join(self.runs)}"
        return [what, *(f"  fault: {fault}" for fault in self.faults)]


def draw(seed: int, **fixed: Any) -> Schedule:
    """Draw a schedule; *fixed* parts are taken as they are."""
    chance = random.Random(seed)
    workers = chance.choice([1, 2, 2, 3])
    runs = tuple(chance.choice(list(SHAPES)) for _ in range(chance.randint(1, 4)))
    pace = chance.choices(list(PACES), [4, 4, 2])[0]
    faults = tuple(_fault(chance, workers, len(runs)) for _ in range(chance.randint(1, 6)))
    return replace(Schedule(seed, runs, workers, pace, faults), **fixed)


def _fault(chance: random.Random, workers: int, runs: int) -> Fault:
    # Most of what matters comes early, and around the length of a lease.
    much = chance.choice([0.5, 3.0, 8.0, 12.0, 25.0]) if chance.random() < 0.8 else chance.uniform(0, 40)
    if chance.random() < 0.5:
        # Twice as many as there are, because the dead are replaced.
        return Fault(chance.choice(OWN), 1 + int(chance.expovariate(1 / 80)), chance.randrange(2 * workers), much)
    kind = chance.choices(list(TIMED), list(TIMED.values()))[0]
    who = chance.randrange(runs if kind in ("cancelled", "retried") else workers)
    return Fault(kind, int(chance.triangular(0, 30_000, 1_000)), who, much)
