"""Rounds of a search, side by side: each has a seed of its own, so whoever looks at it finds the same.

A process simulates one schedule at a time and takes one core, so rounds are handed to as many as there are cores.
"""

from __future__ import annotations

import os
import time
from collections import Counter, deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context

from tests.simulation.patches import simulated
from tests.simulation.searching import Search, story
from tests.simulation.world import Result

#: Schedules of one round: some ten seconds.
ROUND = 250


@dataclass(slots=True)
class Round:
    """What came of one round."""

    number: int
    tried: int = 0
    commits: int = 0
    #: Seconds that have passed in all schedules together.
    passed: float = 0.0
    ends: Counter[str] = field(default_factory=Counter)
    #: The smallest schedule that fails, as a text; None when none does.
    found: str | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to look for."""

    seed: int
    #: Schedules of a round.
    schedules: int = ROUND
    #: Two attempts of a step at work at once are wrong, too.
    overlaps: bool = False
    #: Tell of every schedule.
    stories: bool = False


def look(wanted: Wanted, number: int) -> Round:
    """Go through one round."""

    def fails(result: Result) -> bool:
        if wanted.stories:
            print(story(result))
        return result.wrong is not None or (wanted.overlaps and bool(result.overlaps))

    search = Search(fails)
    with simulated():
        found = search.run(f"{wanted.seed}:{number}", wanted.schedules)
        told = None if found is None else story(found)
    return Round(number, search.tried, search.commits, search.passed, search.ends, told)


def rounds(wanted: Wanted, seconds: float, jobs: int | None = None) -> Iterator[Round]:
    """Yield rounds in their order, one at least; none is begun after so many seconds."""
    end, number = time.monotonic() + seconds, 0
    count = jobs or os.cpu_count() or 1
    running: deque[Future[Round]] = deque()
    # Not forked: whatever runs in this process stays out of a simulation.
    with ProcessPoolExecutor(count, get_context("spawn")) as pool:
        try:
            while number == 0 or running or time.monotonic() < end:
                while len(running) < count and (number == 0 or time.monotonic() < end):
                    running.append(pool.submit(look, wanted, number))
                    number += 1
                yield running.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
