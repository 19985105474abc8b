"""Simulate schedules by the thousand, and tell the first that fails, made small.

    python -m tests.simulation --seconds 60 --first 1
    python -m tests.simulation --seed 155

Exit code 0 when nothing is wrong, 20 otherwise.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter

from tests.simulation.patches import simulated
from tests.simulation.reducing import reduced, story
from tests.simulation.schedule import draw
from tests.simulation.world import Result, simulate


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="simulation", description="Simulate schedules of faults.")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long to look")
    parser.add_argument("--first", type=int, default=1, help="seed to begin with")
    parser.add_argument("--seed", type=int, help="tell the story of this one, whatever comes of it")
    parser.add_argument("--overlaps", action="store_true", help="two attempts of a step at work at once are wrong, too")
    return parser.parse_args()


def main() -> int:
    """Look for a schedule that fails."""
    chosen = arguments()

    def fails(result: Result) -> bool:
        return result.wrong is not None or (chosen.overlaps and bool(result.overlaps))

    with simulated():
        if chosen.seed is not None:
            result = simulate(draw(chosen.seed))
            print(story(result))
            return 20 if fails(result) else 0
        return look(chosen.first, chosen.seconds, fails)


def look(first: int, seconds: float, fails: object) -> int:
    """Try seed after seed for a while."""
    assert callable(fails)
    began, number, ends = time.monotonic(), first, Counter[str]()
    commits, passed = 0, 0.0
    while time.monotonic() - began < seconds:
        result = simulate(draw(number))
        if fails(result):
            print(story(reduced(result, fails)))
            print(f"found with seed {number} after {time.monotonic() - began:.1f} s: --seed {number} tells all of it")
            return 20
        number += 1
        ends.update(result.ends)
        commits, passed = commits + result.commits, passed + result.took
    rate = 60 * (number - first) / (time.monotonic() - began)
    print(f"{number - first} schedules, {rate:.0f} a minute, {commits} commits, {passed / 3600:.1f} simulated hours")
    print(f"runs: {dict(ends)}; nothing is wrong")
    return 0


if __name__ == "__main__":
    sys.exit(main())
