"""A schedule: what is run, by how many, how slow the networks are, what goes wrong, and the seed of all chance.

Chance has a stream of its own for everybody who waits, so leaving out a fault changes nothing that came before it:
that is what makes a failing schedule easy to shrink. How they are drawn is searching.py's.
"""

from __future__ import annotations

from dataclasses import dataclass


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
    "paused": 2,
    "signalled": 1,
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

    def lines(self) -> list[str]:
        """Return it for people."""
        what = f"seed {self.seed}: {self.workers} workers, {self.pace} networks, runs: {', '.join(self.runs)}"
        return [what, *(f"  fault: {fault}" for fault in self.faults)]
