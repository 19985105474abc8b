"""How a program that measures a peer is called, and how it answers."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import Any

from tests.benchmarks.figures import percentiles

TASKS = ("linear", "serial", "fanout")


def arguments(description: str | None) -> argparse.Namespace:
    """Read the command line: a task, how many runs (of a fan-out: steps), and where the server is."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("task", choices=TASKS)
    parser.add_argument("count", type=int)
    parser.add_argument("--url", required=True)
    return parser.parse_args()


def answer(task: str, count: int, settings: dict[str, Any], *, seconds: float, waited: Sequence[float] = ()) -> None:
    """Print what was found; *waited* are seconds from asking for a run to having its result."""
    document: dict[str, Any] = {"shape": task, "runs": 1 if task == "fanout" else count, "seconds": round(seconds, 3)}
    if task == "fanout":
        document["steps_per_s"] = round(count / seconds, 1)
    else:
        document["runs_per_s"] = round(count / seconds, 1)
    if waited:
        document["waited_ms"] = {name: round(value * 1000, 2) for name, value in percentiles(waited).items()}
    print(json.dumps(document | {"settings": settings}))
