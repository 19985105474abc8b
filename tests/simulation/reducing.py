"""From a schedule that fails to a small one that fails as well: the one that a person wants to read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from tests.simulation.schedule import Schedule
from tests.simulation.world import Result, simulate

#: Schedules tried to make one smaller.
TRIES = 200


def reduced(found: Result, fails: Callable[[Result], bool] = lambda result: result.wrong is not None) -> Result:
    """Return the smallest schedule that was found to fail, with what it came to."""
    tries = TRIES
    smaller = True
    while smaller:
        smaller = False
        for one in _smaller(found.schedule):
            tries -= 1
            if tries < 0:
                return found
            result = simulate(one)
            if fails(result):
                found, smaller = result, True
                break
    return found


def _smaller(schedule: Schedule) -> Iterator[Schedule]:
    """Yield schedules with one thing less, the largest steps first."""
    if len(schedule.faults) > 2:
        half = len(schedule.faults) // 2
        yield replace(schedule, faults=schedule.faults[:half])
        yield replace(schedule, faults=schedule.faults[half:])
    for no in range(len(schedule.faults)):
        yield replace(schedule, faults=schedule.faults[:no] + schedule.faults[no + 1 :])
    for no in range(len(schedule.runs)):
        if len(schedule.runs) > 1:
            yield replace(schedule, runs=schedule.runs[:no] + schedule.runs[no + 1 :])
    if schedule.workers > 1:
        yield replace(schedule, workers=schedule.workers - 1)
    if schedule.pace != "calm":
        yield replace(schedule, pace="calm")


def story(result: Result) -> str:
    """Tell a schedule and what came of it."""
    lines = [*result.schedule.lines(), *result.trace]
    lines += [f"overlap: {text}" for text in result.overlaps]
    return "\n".join([*lines, f"wrong: {result.wrong}"])
