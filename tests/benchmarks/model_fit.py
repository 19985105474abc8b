"""What a run costs, as a constant and a share per step, and what a number of runs a second needs: pure arithmetic.

The costs are those of a machine that was busy, where transactions are shared by many runs. They are taken to stay the
same with more workers, which holds as long as each worker is as busy as the ones that were measured.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

#: What is fitted: titles and units by name.
COSTS = {
    "workers": ("CPU of the workers", "µs"),
    "client": ("CPU of whoever starts runs", "µs"),
    "postgres": ("CPU of Postgres", "µs"),
    "streams": ("CPU of the stream server", "µs"),
    "wal_bytes": ("WAL", "B"),
    "rows": ("rows written", ""),
    "commits": ("commits", ""),
    "statements": ("statements to Postgres", ""),
    "stream_commands": ("commands to the stream server", ""),
    "stream_bytes": ("bytes from and to the stream server", "B"),
}
CPU = ("workers", "client", "postgres", "streams")


@dataclass(frozen=True, slots=True)
class Point:
    """What one run of so many steps cost in one trial."""

    steps: int
    costs: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Cost:
    """A constant, and a share for every step."""

    constant: float
    step: float

    def of(self, steps: int) -> float:
        """Return the cost of a run."""
        return self.constant + self.step * steps


@dataclass(frozen=True, slots=True)
class Assumptions:
    """What is taken for granted about the machines."""

    steps: int = 3
    #: Share of a core that may be used in the long run.
    utilisation: float = 0.7
    #: What the largest Postgres there is may have.
    postgres_cores: int = 64
    wal_mb_per_s: float = 500.0


def points(trials: Sequence[Mapping[str, Any]]) -> list[Point]:
    """Return the cost of a run in every trial of an ungated chain that was run at full speed."""
    return [_point(trial) for trial in trials if _fit_to_use(trial)]


def _fit_to_use(trial: Mapping[str, Any]) -> bool:
    shape, chosen = trial.get("shape", ""), trial.get("measure")
    return trial.get("side") == "flowforge" and shape.startswith("linear:") and chosen in MEASURES


#: Measures whose trials the model is made of.
MEASURES = ("linear", "shapes", "statements")


def _point(trial: Mapping[str, Any]) -> Point:
    runs = float(trial["runs"])
    every = runs + trial["settings"]["warm_up"]
    used = trial["cpu_seconds"]
    # Counting statements is not free: a trial that does so says nothing about processor time.
    costs = {} if trial["measure"] == "statements" else {role: used[role] / runs * 1e6 for role in CPU if used[role]}
    return Point(trial["steps"], costs | {name: value / every for name, value in trial["counted"].items()})


def fit(found: Sequence[Point]) -> dict[str, Cost]:
    """Return the cost of each kind: the straight line through what was measured, never below nothing."""
    return {name: _line([(p.steps, p.costs[name]) for p in found if name in p.costs]) for name in known(found)}


def known(found: Sequence[Point]) -> list[str]:
    """Return which costs were measured at all."""
    return [name for name in COSTS if any(name in point.costs for point in found)]


def _line(values: Sequence[tuple[int, float]]) -> Cost:
    xs, ys = [steps for steps, _ in values], [cost for _, cost in values]
    if len(set(xs)) == 1:
        return Cost(0.0, statistics.fmean(ys) / xs[0])
    slope, constant = statistics.linear_regression(xs, ys)
    if constant < 0 or slope < 0:
        # Through the origin, or flat: a negative cost would be an artefact of noise.
        through = sum(x * y for x, y in values) / sum(x * x for x in xs)
        return Cost(0.0, through) if constant < 0 else Cost(statistics.fmean(ys), 0.0)
    return Cost(constant, slope)


def missing(found: Sequence[Point]) -> list[str]:
    """Return the measures whose trials are needed and are not there."""
    steps = {point.steps for point in found if "workers" in point.costs}
    wanted = {"linear": 3 in steps, "shapes": len(steps) > 1, "statements": "statements" in known(found)}
    return [name for name, there in wanted.items() if not there]


@dataclass(frozen=True, slots=True)
class Limit:
    """A part that cannot be multiplied without more thought, and the runs a second at which it is full."""

    part: str
    runs_per_s: float
    remedy: str


def limits(costs: Mapping[str, Cost], given: Assumptions) -> list[Limit]:
    """Return the parts that saturate, the first one first; workers are not among them: there can always be more."""
    cost = {name: one.of(given.steps) for name, one in costs.items()}
    found = [
        Limit(
            "one stream server (one core executes its commands)",
            _rate(given.utilisation, cost.get("streams", 0.0)),
            "more stream servers, each for queues of its own",
        ),
        Limit(
            f"one Postgres of {given.postgres_cores} cores",
            _rate(given.utilisation * given.postgres_cores, cost.get("postgres", 0.0)),
            "a database for each tenant or workflow",
        ),
        Limit(
            f"WAL of one Postgres at {given.wal_mb_per_s:g} MB/s",
            given.wal_mb_per_s * 1e6 / cost["wal_bytes"] if cost.get("wal_bytes") else math.inf,
            "a database for each tenant or workflow",
        ),
    ]
    return sorted(found, key=lambda limit: limit.runs_per_s)


def _rate(cores: float, microseconds: float) -> float:
    return cores * 1e6 / microseconds if microseconds else math.inf


def needs(costs: Mapping[str, Cost], rate: float, given: Assumptions) -> dict[str, float]:
    """Return what a number of runs a second needs."""
    each = {name: one.of(given.steps) for name, one in costs.items()}
    cores = {role: rate * each.get(role, 0.0) / 1e6 / given.utilisation for role in CPU}
    wal = rate * each.get("wal_bytes", 0.0) / 1e6
    return {
        "worker_cores": cores["workers"],
        "worker_processes": math.ceil(cores["workers"]),
        "client_cores": cores["client"],
        "postgres_cores": cores["postgres"],
        "postgres_servers": math.ceil(max(cores["postgres"] / given.postgres_cores, wal / given.wal_mb_per_s)),
        "wal_mb_per_s": wal,
        "rows_per_s": rate * each.get("rows", 0.0),
        "commits_per_s": rate * each.get("commits", 0.0),
        "statements_per_s": rate * each.get("statements", 0.0),
        "stream_cores": cores["streams"],
        "stream_shards": math.ceil(cores["streams"]),
        "stream_commands_per_s": rate * each.get("stream_commands", 0.0),
        "stream_mb_per_s": rate * each.get("stream_bytes", 0.0) / 1e6,
    }


def alone(costs: Mapping[str, Cost], cores: int, steps: int) -> float:
    """Return how many runs a second one machine can do on which everything shares the cores."""
    return _rate(cores, sum(costs[role].of(steps) for role in CPU if role in costs))
