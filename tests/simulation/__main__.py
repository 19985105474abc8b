"""Simulate schedules by the thousand; tell the first that fails, shrunk by hypothesis.

    python -m tests.simulation --seconds 60 --seed 1
    python -m tests.simulation --schedules 30 --seed 1 --stories

The same seed looks at the same schedules in the same order. Exit code 0 when nothing is wrong, 20 otherwise.
"""

from __future__ import annotations

import argparse
import sys
import time

from tests.simulation.rounds import ROUND, Round, Wanted, look, rounds


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="simulation", description="Simulate schedules of faults.")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long to look, in whole rounds")
    parser.add_argument("--jobs", type=int, help="processes that look; default: one for each core")
    parser.add_argument("--schedules", type=int, help="look at so many instead")
    parser.add_argument("--seed", type=int, default=1, help="decides which schedules are drawn")
    parser.add_argument("--stories", action="store_true", help="tell of every schedule, whatever comes of it")
    parser.add_argument("--overlaps", action="store_true", help="two attempts of a step at work at once are wrong, too")
    return parser.parse_args()


def main() -> int:
    """Look for a schedule that fails."""
    chosen = arguments()
    wanted = Wanted(chosen.seed, chosen.schedules or ROUND, overlaps=chosen.overlaps, stories=chosen.stories)
    # So many schedules, or whose stories are told, are looked at here, one after the other.
    alone = chosen.schedules is not None or chosen.stories
    began, total = time.monotonic(), Round(0)
    for one in [look(wanted, 0)] if alone else rounds(wanted, chosen.seconds, chosen.jobs):
        if one.found is not None:
            print(one.found)
            print(f"found by --seed {chosen.seed} in round {one.number} after {time.monotonic() - began:.1f} s")
            return 20
        total.tried, total.commits = total.tried + one.tried, total.commits + one.commits
        total.passed += one.passed
        total.ends += one.ends
    rate, hours = 60 * total.tried / (time.monotonic() - began), total.passed / 3600
    print(f"{total.tried} schedules, {rate:.0f} a minute, {total.commits} commits, {hours:.1f} simulated hours")
    print(f"runs: {dict(total.ends)}; nothing is wrong")
    return 0


if __name__ == "__main__":
    sys.exit(main())
