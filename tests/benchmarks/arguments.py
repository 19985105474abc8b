"""The command line of `make bench`."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from tests.benchmarks.results import PEERS
from tests.benchmarks.sizes import FULL, QUICK, SIZES, Sizes

RESULTS = Path("bench-results")
#: Worker processes unless told otherwise, as `flowforge bench` has them.
WORKERS = min(2, os.cpu_count() or 1)

EXAMPLES = """
examples:
  make bench                                        everything; some twenty minutes
  make bench ARGS="--quick"                         a first impression; some two minutes
  make bench ARGS="--only linear,serial --quick"    some of it
  make bench ARGS="--only history --no-peers --json /tmp/history.json"
"""


@dataclass(frozen=True, slots=True)
class Arguments:
    """What was asked for."""

    measures: tuple[str, ...]
    sizes: Sizes
    peers: bool
    workers: int
    results: Path
    json: Path | None


def parse(words: Sequence[str], measures: dict[str, str]) -> Arguments:
    """Read the command line; *measures* are titles by name."""
    listed = "\n".join(f"  {name:<12}{title}" for name, title in measures.items())
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks",
        description="Measure FlowForge on this machine, beside DBOS and Celery, and compare with its goals.",
        epilog=f"measures:\n{listed}\n{EXAMPLES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", metavar="NAME[,NAME...]", help="measure only these")
    parser.add_argument("--quick", action="store_true", help="the same as --size quick")
    parser.add_argument("--size", choices=list(SIZES), default=FULL.name, help="how much to do (default: full)")
    parser.add_argument("--no-peers", dest="peers", action="store_false", help="leave DBOS and Celery out")
    parser.add_argument("--workers", type=count, default=WORKERS, metavar="N", help="processes (default: %(default)s)")
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="FOLDER", help=f"default: {RESULTS}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the data to this file too")
    chosen = parser.parse_args(words)
    names = tuple(measures) if chosen.only is None else tuple(filter(None, chosen.only.split(",")))
    if unknown := [name for name in names if name not in measures]:
        parser.error(f"there is no measure '{unknown[0]}'; there are: {', '.join(measures)}")
    if chosen.peers and (absent := [name for name in PEERS if find_spec(name) is None]):
        parser.error(f"not installed: {', '.join(absent)}; pip install 'flowforge[bench]', or --no-peers without them")
    sizes = QUICK if chosen.quick else SIZES[chosen.size]
    return Arguments(names or tuple(measures), sizes, chosen.peers, chosen.workers, chosen.results, chosen.json)


def count(text: str) -> int:
    """Read a number of at least one."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least one is needed")
    return number
