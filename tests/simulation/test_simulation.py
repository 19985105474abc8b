"""The engine on simulated servers, under every fault in every order: the invariants hold, planted bugs are found."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.simulation.patches import simulated
from tests.simulation.planted import PLANTED
from tests.simulation.reducing import reduced, story
from tests.simulation.schedule import Fault, Schedule, draw
from tests.simulation.world import Result, simulate

#: Schedules of `make test`, always the same; `python -m tests.simulation` goes on from there.
SCHEDULES = 240
#: Seeds within which a planted bug has to turn up.
ENOUGH = 400
REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def in_place() -> Iterator[None]:
    """Put the simulation's servers, clocks and threads into their places."""
    with simulated():
        yield


@pytest.mark.parametrize("part", range(4))
def test_the_invariants_hold_under_every_fault(part: int):
    """At every commit, every acknowledgement, every call, and at rest."""
    ends: Counter[str] = Counter()
    for seed in range(1 + part, SCHEDULES + 1, 4):
        result = simulate(draw(seed))
        assert result.wrong is None, story(reduced(result))
        ends.update(result.ends)
    assert ends["completed"] > 0.6 * ends.total(), ends
    assert ends["running"] == ends["pending"] == 0


def first_failure() -> Result:
    """Return the first schedule that fails."""
    for seed in range(1, ENOUGH + 1):
        result = simulate(draw(seed))
        if result.wrong is not None:
            return result
    raise AssertionError(f"{ENOUGH} schedules, and nothing was found")


WORDS = {
    "settle without the token": "completed with what was made under token",
    "join decided without the guard": "after a commit of",
    "ack before commit": "nothing of it is committed",
}


@pytest.mark.parametrize("bug", PLANTED)
def test_a_planted_bug_is_found_and_made_small(bug: str):
    """With its seed, a trace that can be read, and no more faults than it takes."""
    with PLANTED[bug]():
        found = first_failure()
        small = reduced(found)
        told = story(small)
        again = simulate(small.schedule)
    assert small.wrong is not None
    assert WORDS[bug] in told
    assert len(small.schedule.faults) <= 2
    assert f"seed {found.schedule.seed}:" in told
    assert (again.wrong, again.trace) == (small.wrong, small.trace)
    assert simulate(small.schedule).wrong is None, "it fails without the bug as well"
    print(f"{bug}:\n{told}\n")


def test_a_schedule_is_repeated_exactly_by_another_process():
    """Whatever the hash seed: a seed is all that it takes to see a failure again."""
    code = "from tests.simulation.__main__ import main; main()"
    told = {
        subprocess.run(
            [sys.executable, "-c", code, "--seed", "12"],
            cwd=REPOSITORY,
            env={"PYTHONHASHSEED": str(seed), "PATH": ""},
            check=True,
            capture_output=True,
            text=True,
        ).stdout.split("\n", 1)[1]
        for seed in (1, 2)
    }
    assert len(told) == 1


def test_every_crash_between_two_messages_is_survived():
    """A worker dies at each of its first messages: before it is sent, or after it has arrived."""
    for number in range(1, 80):
        schedule = Schedule(number, ("line", "diamond"), 2, "calm", (Fault("crash", number, 0),))
        result = simulate(schedule)
        assert result.wrong is None, story(result)


def test_every_lost_message_is_survived():
    """The answer to a commit among them: what was committed is found out."""
    for number in range(1, 80):
        result = simulate(Schedule(number, ("line", "python"), 1, "calm", (Fault("cut", number, 0),)))
        assert result.wrong is None, story(result)
        assert not result.overlaps, story(result)
