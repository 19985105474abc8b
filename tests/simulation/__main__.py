"""Simulate schedules by the thousand; tell the first that fails, shrunk by hypothesis.

    python -m tests.simulation --seconds 60 --seed 1
    python -m tests.simulation --schedules 30 --seed 1 --stories

The same seed looks at the same schedules in the same order. Exit code 0 when nothing is wrong, 20 otherwise.
"""

from __future__ import annotations

import argparse
import sys
import time

from tests.simulation.patches import simulated
from tests.simulation.searching import Search, story
from tests.simulation.world import Result

#: Schedules of one round, which has a seed of its own: about ten seconds.
ROUND = 250


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="simulation", description="Simulate schedules of faults.")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long to look, in whole rounds")
    parser.add_argument("--schedules", type=int, help="look at so many instead")
    parser.add_argument("--seed", type=int, default=1, help="decides which schedules are drawn")
    parser.add_argument("--stories", action="store_true", help="tell of every schedule, whatever comes of it")
    parser.add_argument("--overlaps", action="store_true", help="two attempts of a step at work at once are wrong, too")
    return parser.parse_args()


def main() -> int:
    """Look for a schedule that fails."""
    chosen = arguments()

    def fails(result: Result) -> bool:
        if chosen.stories:
            print(story(result))
        return result.wrong is not None or (chosen.overlaps and bool(result.overlaps))

    search = Search(fails)
    began, rounds = time.monotonic(), 0
    with simulated():
        while rounds == 0 or (chosen.schedules is None and time.monotonic() - began < chosen.seconds):
            found = search.run(f"{chosen.seed}:{rounds}", chosen.schedules or ROUND)
            rounds += 1
            if found is not None:
                print(story(found))
                print(f"found by --seed {chosen.seed} in round {rounds} after {time.monotonic() - began:.1f} s")
                return 20
    rate = 60 * search.tried / (time.monotonic() - began)
    hours = search.passed / 3600
    print(f"{search.tried} schedules, {rate:.0f} a minute, {search.commits} commits, {hours:.1f} simulated hours")
    print(f"runs: {dict(search.ends)}; nothing is wrong")
    return 0


if __name__ == "__main__":
    sys.exit(main())
