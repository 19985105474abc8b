"""Every measure by its name, in the order in which they are taken: the longest last."""

from __future__ import annotations

from collections.abc import Callable

from tests.benchmarks.measures import fanout, latency, rest, standing, throughput, watching
from tests.benchmarks.results import Found
from tests.benchmarks.trials import Bench

Measure = Callable[[Bench], Found]

MEASURES: dict[str, tuple[str, Measure]] = {
    "linear": ("chains of three steps: runs a second, CPU of a run, memory", throughput.linear),
    "serial": ("one run at a time: latency", latency.serial),
    "fanout": ("one run of thousands of steps at once, and many of them", fanout.fanout),
    "cost": ("what a step costs in small and in large runs", fanout.cost),
    "gate": ("a limit of active runs: throughput, and that it holds", standing.gates),
    "start": ("how long callers wait for a start", latency.starts),
    "idle": ("what an idle worker costs", rest.idle),
    "commands": ("how long the command and the package take to start", rest.commands),
    "dashboard": ("how soon the dashboard answers, and what watching costs", watching.dashboard),
    "workers": ("throughput with more worker processes", throughput.workers),
    "shapes": ("chains of other lengths, for bench-model", throughput.shapes),
    "statements": ("statements to Postgres, for bench-model", throughput.statements),
    "history": ("throughput with millions of finished runs", standing.history),
}
