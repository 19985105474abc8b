"""Schedules as hypothesis draws them, looks for one that fails, and makes that one small.

Small is one run, one worker, calm networks, few faults, early ones: what a person wants to read. A search has a seed
and no memory of earlier ones, so it finds the same again.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable

from hypothesis import Phase, find, settings
from hypothesis import strategies as st
from hypothesis.errors import NoSuchExample

from tests.simulation.schedule import OWN, PACES, TIMED, Fault, Schedule
from tests.simulation.shapes import SHAPES
from tests.simulation.world import Result, simulate

#: Schedules tried to make a failing one smaller.
TRIES = 400
#: Workers, runs and faults of a schedule.
WORKERS, RUNS, FAULTS = 3, 4, 6

_seconds = st.sampled_from([0.5, 3.0, 8.0, 12.0, 25.0]) | st.integers(0, 80).map(lambda halves: halves / 2)
#: Most of what matters comes early, and around the length of a lease.
_messages = st.integers(1, 60) | st.integers(1, 300)
_moments = st.integers(0, 4_000) | st.integers(0, 30_000)
#: As many names as each weighs: hypothesis draws them evenly, and shrinks towards the first.
_timed = st.sampled_from([kind for kind, weight in TIMED.items() for _ in range(weight)])
#: Twice as many workers as there are, because the dead are replaced.
_own = st.builds(Fault, st.sampled_from(OWN), _messages, st.integers(0, 2 * WORKERS - 1), _seconds)
_others = st.builds(Fault, _timed, _moments, st.integers(0, RUNS - 1), _seconds)
#: A fault may be there or not, each for itself: one can be left out without anything else being drawn anew.
_faults = st.tuples(*[st.tuples(st.booleans(), _own | _others)] * FAULTS).map(
    lambda slots: tuple(fault for happens, fault in slots if happens)
)

schedules: st.SearchStrategy[Schedule] = st.builds(
    Schedule,
    seed=st.integers(0, 2**16),
    runs=st.lists(st.sampled_from(list(SHAPES)), min_size=1, max_size=RUNS).map(tuple),
    workers=st.integers(1, WORKERS),
    pace=st.sampled_from([*PACES, "calm", "busy"]),
    faults=_faults,
)


def is_wrong(result: Result) -> bool:
    """Say whether an invariant was violated."""
    return result.wrong is not None


class Search:
    """Looks for a schedule that fails; counts what it has seen on the way."""

    def __init__(self, fails: Callable[[Result], bool] = is_wrong) -> None:
        #: Judges what came of a schedule, and may look at it.
        self._fails = fails
        self._known: dict[Schedule, bool] = {}
        self._tries = TRIES
        self.tried = 0
        self.commits = 0
        #: Seconds that have passed in all schedules together.
        self.passed = 0.0
        self.ends: Counter[str] = Counter()

    def run(self, seed: int | str, examples: int) -> Result | None:
        """Try so many schedules; return the smallest that was found to fail, None when none does."""
        chosen = settings(max_examples=examples, database=None, deadline=None, phases=(Phase.generate, Phase.shrink))
        self._known.clear()
        self._tries = TRIES
        try:
            return simulate(find(schedules, self._try, settings=chosen, random=random.Random(seed)))
        except NoSuchExample:
            return None

    def _try(self, schedule: Schedule) -> bool:
        """Say whether a schedule fails; once enough was tried to make one smaller, only what is known does."""
        if schedule not in self._known:
            if any(self._known.values()):
                self._tries -= 1
            if self._tries < 0:
                return False
            self._known[schedule] = self._failed(simulate(schedule))
        return self._known[schedule]

    def _failed(self, result: Result) -> bool:
        self.tried += 1
        self.commits += result.commits
        self.passed += result.took
        self.ends.update(result.ends)
        return self._fails(result)


def story(result: Result) -> str:
    """Tell a schedule and what came of it; its first line can be given to `simulate` again."""
    lines = [repr(result.schedule), *result.schedule.lines(), *result.trace]
    lines += [f"overlap: {text}" for text in result.overlaps]
    return "\n".join([*lines, f"wrong: {result.wrong}"])
