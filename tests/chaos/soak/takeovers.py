"""How long the steps of killed workers waited for their next attempt, and what else was broken meanwhile.

A takeover has two parts: until the lease was over and somebody noticed, and until the next attempt began. The first is
the lease's, the second everything else's: the dispatch, the streams, a lock that somebody holds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from tests.chaos.kit.world import World
from tests.chaos.soak.faults import LEASE, Death, Fault

#: Every attempt that was lost with a worker, when that was found, and when the next one of its step began and where.
_LOST = """
SELECT w.pid, e.run_id, e.step, extract(epoch FROM e.at)::float8, s.at, s.worker
FROM events e JOIN workers w ON position(w.id IN e.data->'error'->>'message') > 0
LEFT JOIN LATERAL (
    SELECT extract(epoch FROM s.at)::float8 AS at, s.data->>'worker' AS worker FROM events s
    WHERE s.run_id = e.run_id AND s.step = e.step AND s.type = 'step.started' AND s.seq > e.seq
    ORDER BY s.seq LIMIT 1) s ON true
WHERE e.type = 'step.retrying' AND e.data->'error'->>'code' = 'WORKER_LOST' AND w.pid = ANY(%s)
"""
#: What the takeover of a killed worker's step may take.
GOAL = LEASE + 2


@dataclass(frozen=True, slots=True)
class Takeover:
    """An attempt that died with its worker, and the one that followed."""

    pid: int
    run: UUID
    step: str
    died_at: float
    found_at: float
    began_at: float
    worker: str

    @property
    def seconds(self) -> float:
        """How long the step waited."""
        return self.began_at - self.died_at

    def beside(self, faults: Sequence[Fault]) -> list[Fault]:
        """Return what else was broken meanwhile: the kill that it begins with is not, a successor made to crash is."""
        overlapping = [fault for fault in faults if fault.overlaps(self.died_at, self.began_at)]
        return [one for one in overlapping if one.name != "worker_killed" or not one.at <= self.died_at <= one.done]

    def told(self, faults: Sequence[Fault]) -> str:
        """Say where the time went, and what was broken in it."""
        found, begun = self.found_at - self.died_at, self.began_at - self.found_at
        beside = [fault.told(self.died_at) for fault in self.beside(faults)]
        where = f"{self.run}/{self.step} of pid {self.pid}, by {self.worker}"
        return f"{self.seconds:.2f} s = {found:.2f} until found + {begun:.2f} until begun: {where}: {', '.join(beside)}"


def takeovers(world: World, deaths: Sequence[Death]) -> list[Takeover]:
    """Return the takeovers of attempts that deaths have cost and that were followed by another, the quickest first."""
    found = [Takeover(*row) for row in _lost(world, deaths) if row[5] is not None]
    return sorted(found, key=lambda one: one.seconds)


def lost_at_most(world: World, deaths: Sequence[Death]) -> int:
    """Return how many attempts of one step the death of one worker has cost, at most."""
    return max(Counter(row[:3] for row in _lost(world, deaths)).values(), default=0)


def _lost(world: World, deaths: Sequence[Death]) -> list[tuple[Any, ...]]:
    """Return the attempts that were found lost after the death of their worker, with the moment of that.

    What was found before was lost by a worker that was frozen or cut off, and killed only later.
    """
    died = {death.pid: death.at for death in deaths}
    rows = world.sql.rows(_LOST, list(died))
    return [(pid, run, step, died[pid], found, *rest) for pid, run, step, found, *rest in rows if found > died[pid]]
