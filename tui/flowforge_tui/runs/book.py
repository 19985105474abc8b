"""The runs that are known here, and those of them that a filter lets through, in an order.

The list is kept, not made again: a run that changes is taken out and put where it belongs now, so ten thousand runs
cost nothing while nothing happens. Only as many are kept as were asked for, the newest; memory stays flat.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from flowforge.model.overview import RunSummary
from flowforge.model.status import RunStatus
from flowforge_tui.runs.order import ORDERS, Order, Rank
from flowforge_tui.runs.query import Query


class RunBook:
    """What the list of runs shows, and what it has beside that."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._runs: dict[UUID, RunSummary] = {}
        self._ranks: dict[UUID, Rank] = {}
        self._order: list[Rank] = []
        #: Those that have failed, which are few, for what is said about them all the time.
        self._failed: dict[UUID, RunSummary] = {}
        self.query = Query()
        self._tests = self.query.tests()
        self.by: Order = ORDERS[0]
        self.descending = True

    # -- what is in it -------------------------------------------------------------------------------------

    @property
    def known(self) -> int:
        """How many runs are known here, filtered or not."""
        return len(self._runs)

    def get(self, run_id: UUID) -> RunSummary | None:
        """Return a run."""
        return self._runs.get(run_id)

    def take(self, runs: Iterable[RunSummary], now: datetime) -> bool:
        """Take what was read; of two states of a run the newer one stays. Say whether anything is different."""
        different = False
        for run in runs:
            known = self._runs.get(run.id)
            if known is None or (run.seq >= known.seq and run != known):
                self._runs[run.id] = run
                self._failed.pop(run.id, None)
                if run.error is not None and run.finished_at is not None:
                    self._failed[run.id] = run
                self._place(run, now)
                different = True
        if len(self._runs) > self._limit:
            self._forget()
        return different

    def _forget(self) -> None:
        """Let the oldest go, those that have ended first; some at once, so that it is rarely done."""
        surplus = len(self._runs) - self._limit + self._limit // 50
        oldest = sorted(self._runs.values(), key=lambda run: (not run.status.final, run.id.int))
        for run in oldest[:surplus]:
            del self._runs[run.id]
            self._failed.pop(run.id, None)
            self._displace(run.id)

    # -- what is shown -------------------------------------------------------------------------------------

    def filter(self, query: Query, now: datetime) -> None:
        """Show what matches."""
        self.query = query
        self.rebuild(now)

    def sort(self, by: Order, *, descending: bool, now: datetime) -> None:
        """Show it in another order."""
        self.by, self.descending = by, descending
        self.rebuild(now)

    @property
    def ages(self) -> bool:
        """Whether what matches, or in which order, changes with the time."""
        return self.by.ages or self.query.ages

    def rebuild(self, now: datetime) -> None:
        """Look at everything again."""
        self.query = self.query.again(now)
        self._tests = self.query.tests()
        runs, value = list(self._runs.values()), self.by.value
        for test in self._tests:
            runs = [run for run in runs if test(run)]
        self._ranks = {run.id: (value(run, now), run.id.int) for run in runs}
        self._order = sorted(self._ranks.values())

    def _place(self, run: RunSummary, now: datetime) -> None:
        self._displace(run.id)
        if all(test(run) for test in self._tests):
            rank = self._ranks[run.id] = (self.by.value(run, now), run.id.int)
            insort(self._order, rank)

    def _displace(self, run_id: UUID) -> None:
        rank = self._ranks.pop(run_id, None)
        if rank is not None:
            del self._order[bisect_left(self._order, rank)]

    def __len__(self) -> int:
        return len(self._order)

    def at(self, place: int) -> RunSummary:
        """Return the run at a place."""
        _, number = self._order[-1 - place if self.descending else place]
        return self._runs[UUID(int=number)]

    def key(self, place: int) -> UUID:
        """Return the id of the run at a place."""
        return self.at(place).id

    def find(self, run_id: UUID) -> int | None:
        """Return where a run is."""
        rank = self._ranks.get(run_id)
        if rank is None:
            return None
        place = bisect_left(self._order, rank)
        return len(self._order) - 1 - place if self.descending else place

    def chosen(self, run_ids: Iterable[UUID]) -> list[RunSummary]:
        """Return runs by their ids, in the order of the list."""
        found = {self.find(run_id): self._runs[run_id] for run_id in run_ids if run_id in self._ranks}
        return [found[place] for place in sorted(place for place in found if place is not None)]

    # -- what it says --------------------------------------------------------------------------------------

    def latest_failure(self) -> RunSummary | None:
        """Return the run that failed last."""
        failed = [run for run in self._failed.values() if run.status is RunStatus.FAILED]
        return max(failed, key=lambda run: (run.finished_at, run.id.int), default=None)

    def alike(self, run: RunSummary, now: datetime, within: timedelta) -> int:
        """Return how many runs failed in the same way lately, this one included."""
        wanted = _kind(run)
        return sum(
            1
            for one in self._failed.values()
            if one.finished_at is not None and now - one.finished_at < within and _kind(one) == wanted
        )


def _kind(run: RunSummary) -> Sequence[object]:
    error = run.error or {}
    return (run.workflow, error.get("step"), error.get("code"))
