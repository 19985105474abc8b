"""The engine on simulated servers, under every fault in every order: the invariants hold, planted bugs are found."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from flowforge.engine.ledger import Ledger
from flowforge.engine.sweeper import Sweeper
from tests.simulation import fleet
from tests.simulation.patches import simulated
from tests.simulation.planted import PLANTED
from tests.simulation.schedule import Fault, Schedule
from tests.simulation.searching import Search, story
from tests.simulation.world import simulate
from tests.support.family import family

#: Schedules of each part of `make test`, always the same; `make simulate` looks at thousands.
SCHEDULES = 60
#: Schedules within which a planted bug has to turn up.
ENOUGH = 800
REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def in_place() -> Iterator[None]:
    """Put the simulation's servers, clocks and threads into their places."""
    with simulated():
        yield


@pytest.mark.parametrize("seed", family(range(1, 5), quick=[1, 2]))
def test_the_invariants_hold_under_every_fault(seed: int):
    """At every commit, every acknowledgement, every call, and at rest."""
    search = Search()
    found = search.run(seed, SCHEDULES)
    assert found is None, story(found)
    assert search.tried > SCHEDULES // 2
    assert search.ends["completed"] + search.ends["undone"] > 0.6 * search.ends.total(), search.ends
    assert search.ends["running"] == search.ends["pending"] == 0


WORDS = {
    "settle without the token": "completed with what was made under token",
    "join decided without the guard": "after a commit of",
    "ack before commit": "nothing of it is committed",
}


@pytest.mark.timeout(900)
@pytest.mark.parametrize("bug", family(PLANTED, quick=set(PLANTED) - {"settle without the token"}))
def test_a_planted_bug_is_found_and_made_small(bug: str):
    """With a trace that can be read, and not much that it does not take; the same schedule fails again."""
    words = WORDS[bug]
    with PLANTED[bug]():
        # What hypothesis draws depends on the constants of the code: one seed may miss, leave larger, or notice at
        # another end, what the next one finds and makes small.
        searches = (Search().run(seed, ENOUGH) for seed in range(1, 9))
        small = next(
            (found for found in searches if found and _is_small(found.schedule) and words in story(found)), None
        )
        assert small is not None
        again = simulate(small.schedule)
    assert (again.wrong, again.trace) == (small.wrong, small.trace)
    assert simulate(small.schedule).wrong is None, "it fails without the bug as well"
    print(f"{bug}:\n{story(small)}\n")


def _is_small(schedule: Schedule) -> bool:
    return len(schedule.runs) <= 2 and len(schedule.faults) <= 2


async def _broken(*_: object, **__: object) -> None:
    raise LookupError("nobody has thought of that")


@pytest.mark.parametrize(
    ("owner", "name", "fault"),
    [
        pytest.param(Sweeper, "run_once", None, id="duty"),
        pytest.param(Ledger, "apply", Fault("paused", 1, 0), id="operator"),
        pytest.param(fleet.TaskHeartbeat, "_beating", None, id="heartbeat"),
    ],
)
def test_no_exception_passes_unseen(
    monkeypatch: pytest.MonkeyPatch, owner: type[object], name: str, fault: Fault | None
):
    """What a real process would log and survive ends a schedule: behind it the simulated part may do nothing at all."""
    monkeypatch.setattr(owner, name, _broken)
    result = simulate(Schedule(1, ("line",), 1, "calm", () if fault is None else (fault,)))
    assert "LookupError: nobody has thought of that" in (result.wrong or "")


def test_a_search_is_repeated_exactly_by_another_process():
    """Whatever the hash seed: the seed of a search is all that it takes to see a failure again."""
    code = "from tests.simulation.__main__ import main; main()"
    told = {
        subprocess.run(
            [sys.executable, "-c", code, "--seed", "12", "--schedules", "30", "--stories"],
            cwd=REPOSITORY,
            env={"PYTHONHASHSEED": str(seed), "PATH": ""},
            check=True,
            capture_output=True,
            text=True,
        ).stdout.rpartition("schedules, ")[0]
        for seed in (1, 2)
    }
    assert len(told) == 1
    assert "run 0 (" in told.pop()


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
