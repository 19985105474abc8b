"""A soak: hours of work while every few seconds something dies.

    python -m tests.chaos.soak --minutes 60 --seed 1 [--runs 5000] [--only worker_killed] [--json]

Exit code 0 when no invariant was violated and at least 99 % of the runs completed, 20 otherwise.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path

from flowforge.store import schema
from tests.acceptance.kit.sink import Effects, serving
from tests.chaos.kit.machine import Machine
from tests.chaos.kit.world import World
from tests.chaos.soak.faults import WEIGHTS, Faults, Place
from tests.chaos.soak.load import Load
from tests.chaos.soak.report import Report, made

#: Seconds between two faults, on average, and workers of the fleet.
EVERY, FLEET = 5.0, 4


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="soak", description="Work for a while, under random faults.")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--runs", type=int, default=5000, help="runs to start over that time")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--every", type=float, default=EVERY, help="seconds between two faults")
    parser.add_argument("--only", choices=sorted(WEIGHTS), action="append", help="faults that happen; default: all")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def main() -> int:
    """Run a soak and say what came of it."""
    chosen = arguments()
    # Real settings: what is answered is on the disk.
    machine = Machine(postgres={"fsync": "on", "full_page_writes": "on"})
    try:
        with serving() as sink:
            name = "soak"
            machine.servers.admin(f"CREATE DATABASE {name}")
            schema.upgrade(machine.servers.named(name))
            folder = machine.folder / "w"
            folder.mkdir()
            world = World(machine, name, Effects(sink), folder, f"soak:{chosen.seed}")
            try:
                report = soaked(world, chosen)
            finally:
                machine.start()
                world.close()
    finally:
        machine.remove()
    print(json.dumps(report.document()) if chosen.json else "\n".join(report.lines()))
    return 0 if report.sound else 20


def soaked(world: World, chosen: argparse.Namespace) -> Report:
    """Work and break; mend everything; wait for the end of all runs."""
    chance = random.Random(chosen.seed)
    fleet = [Place.make(world) for _ in range(FLEET)]
    for place in fleet:
        place.process().ready()
    faults = Faults(world, fleet, chance, tuple(chosen.only or WEIGHTS))
    load = Load(world, chosen.runs, chosen.minutes * 60, chosen.seed)
    load.begin()
    say(f"the keys of the streams begin with {world.prefix}")
    break_things(faults, chosen.minutes * 60, chosen.every)
    world.machine.start()
    for place in fleet:
        place.postgres.restore()
        place.valkey.restore()
        if place.alive:
            place.process().thaw()
        place.fill()
    load.end()
    world.sql.reopen()
    say(f"{load.started} runs were started; waiting for their end")
    world.runs = [row[0] for row in world.sql.rows("SELECT id FROM runs")]
    world.ended(world.runs, 600)
    rest(world)
    return made(world, faults, seed=chosen.seed, minutes=chosen.minutes, refused=load.refused)


def rest(world: World) -> None:
    """Wait for acknowledgements and leftovers; what stays wrong is for the report to say."""
    try:
        world.at_rest()
    except AssertionError as error:
        say(f"it does not come to rest: {str(error)[:500]}")


def break_things(faults: Faults, seconds: float, every: float) -> None:
    """Break something every few seconds, and mend it when its time has come."""
    end = time.monotonic() + seconds
    repairs: list[tuple[float, Callable[[], None]]] = []
    following = time.monotonic() + every
    while (now := time.monotonic()) < end:
        for due in [one for one in repairs if one[0] <= now]:
            repairs.remove(due)
            due[1]()
        if now >= following:
            name, mended = faults.inject()
            repairs += [(now + after, repair) for after, repair in mended]
            say(f"{time.strftime('%H:%M:%S')} {name.replace('_', ' ')}")
            following += every * faults.random.uniform(0.5, 1.5)
        time.sleep(0.05)
    for _, repair in repairs:
        repair()


def say(text: str) -> None:
    """Show progress where it does not get into the report."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[3]))
    sys.exit(main())
