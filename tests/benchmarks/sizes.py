"""How much is measured: everything, enough for a first impression, or just enough to see that it works.

The goals are about everything. What is scaled down for a first impression is what takes minutes: 64 fan-outs of 10,000
are 640,000 steps, and two million finished runs have to be made first.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sizes:
    """The numbers of all measures."""

    name: str
    #: Repetitions of what is cheap enough to be repeated.
    repeats: int
    #: Runs of three steps for the figure of the table, and for figures that are only compared with each other.
    runs: int
    compared_runs: int
    dbos_runs: int
    celery_runs: int
    serial: int
    peer_serial: int
    fanout: int
    together: int
    peer_fanout: int
    #: Steps of the largest grid and fan-out of a comparison of sizes, and of the longest chain.
    large: int
    chain: int
    #: Finished runs in the database.
    history: tuple[int, ...]
    start_calls: int
    #: Seconds.
    settle: float
    idle: float
    commands: int
    #: Runs in the dashboard's list, keys that are pressed, and seconds that it is watched from outside.
    listed: int
    presses: int
    watched: float
    workers: tuple[int, ...]
    #: Why figures of this size are not the ones that the goals are about.
    why: str = ""


FULL = Sizes(
    name="full",
    repeats=3,
    runs=50_000,
    compared_runs=20_000,
    dbos_runs=1_000,
    celery_runs=2_000,
    serial=500,
    peer_serial=300,
    fanout=10_000,
    together=64,
    peer_fanout=10_000,
    large=10_000,
    chain=2_000,
    history=(0, 500_000, 1_000_000, 2_000_000),
    start_calls=20_000,
    settle=10,
    idle=30,
    commands=15,
    listed=10_000,
    presses=300,
    watched=60,
    workers=(1, 2, 3, 4),
)
QUICK = Sizes(
    name="quick",
    repeats=1,
    runs=5_000,
    compared_runs=3_000,
    dbos_runs=200,
    celery_runs=300,
    serial=100,
    peer_serial=60,
    fanout=2_000,
    together=8,
    peer_fanout=300,
    large=1_000,
    chain=400,
    history=(0, 50_000),
    start_calls=2_000,
    settle=3,
    idle=5,
    commands=5,
    listed=2_000,
    presses=50,
    watched=10,
    workers=(1, 2),
    why=(
        "fewer runs, fan-outs of 2,000 instead of 10,000 and 8 of them instead of 64, 50,000 finished runs instead of "
        "2,000,000, since those alone take many minutes; the goals are about the full size"
    ),
)
TINY = Sizes(
    name="tiny",
    repeats=1,
    runs=60,
    compared_runs=60,
    dbos_runs=20,
    celery_runs=20,
    serial=5,
    peer_serial=5,
    fanout=50,
    together=2,
    peer_fanout=20,
    large=200,
    chain=110,
    history=(0, 500),
    start_calls=200,
    settle=0.1,
    idle=0.5,
    commands=1,
    listed=100,
    presses=10,
    watched=2,
    workers=(1,),
    why="just enough to see that everything works; the figures say nothing",
)
SIZES = {one.name: one for one in (FULL, QUICK, TINY)}
