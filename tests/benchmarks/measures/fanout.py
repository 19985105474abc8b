"""One run with very many steps at once, many such runs at once, and what a step costs in small and in large runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tests.benchmarks.figures import median
from tests.benchmarks.results import Curve, Found, Goal, Row
from tests.benchmarks.sizes import Sizes
from tests.benchmarks.trials import Bench, Trial

#: The run that a large one is compared with.
SMALL = 100
#: Chains that go on side by side.
CHAINS = 4


def fanout(bench: Bench) -> Found:
    """Measure one large fan-out against the peers, and many of them at once."""
    bench.place.renew()
    sizes, peers, rates = bench.sizes, {}, []
    for turn in range(sizes.repeats):
        rates.append(bench.flowforge(f"fanout:{sizes.fanout}").steps_per_s)
        for name in ("dbos", "celery"):
            if turn == 0 and (found := bench.peer(name, "fanout", sizes.peer_fanout)):
                peers[name] = found["steps_per_s"]
    bench.place.renew()
    many = bench.flowforge(f"fanout:{sizes.fanout}", runs=sizes.together).steps_per_s
    title, alone = f"fanout:{sizes.fanout:,} + join, one run", median(rates)
    detail = f"peers: {sizes.peer_fanout:,} steps" if peers and sizes.peer_fanout != sizes.fanout else ""
    together = f"{many:,.0f} of {alone:,.0f} steps/s"
    rows = [
        Row("fanout", title, alone, "steps/s", Goal(8_000, higher=True), peers, detail),
        Row(
            "fanout.together",
            f"{sizes.together} such runs at once, of one",
            many / alone,
            "%",
            Goal(0.8, higher=True),
            detail=together,
        ),
    ]
    return Found(rows, repeated={title: rates})


@dataclass(frozen=True, slots=True)
class Size:
    """Runs of one size: as many steps in all, and as many of them ready at a time, as with any other size."""

    shape: str
    steps: int
    runs: int
    in_flight: int


def families(sizes: Sizes) -> dict[str, list[Size]]:
    """Return the sizes of each kind of run, small to large; SMALL is among them."""
    large, chain = sizes.large, sizes.chain
    between = [size for size in (10, SMALL, 1_000) if size < large]
    fans = [Size(f"fanout:{steps}", steps, large // steps, large // steps) for steps in [*between, large]]
    middle = [steps for steps in (50, SMALL, 500) if steps < chain]
    chains = [Size(f"linear:{steps}", steps, CHAINS * chain // steps, CHAINS) for steps in [*middle, chain]]
    return {"fan-out": fans, "chain": chains, "grid": list(_grids(large))}


def _grids(large: int) -> Iterator[Size]:
    """Yield grids four times as wide as they are deep, side by side until together they are as wide as the largest."""
    shapes = {10_000: [(5, 2), (10, 10), (25, 40), (50, 200)], 1_000: [(5, 2), (10, 10), (20, 50)]}
    chosen = shapes.get(large, [(5, 2), (10, 10), (10, large // 10)])
    width = chosen[-1][1]
    for rows, columns in chosen:
        steps = rows * columns
        yield Size(f"grid:{rows}x{columns}", steps, max(1, large // steps), max(1, width // columns))


def cost(bench: Bench) -> Found:
    """Measure what a step costs in runs of every size: all roles together, with the same number of steps at a time."""
    rows: list[Row] = []
    curves: list[Curve] = []
    repeated: dict[str, list[float]] = {}
    for kind, family in families(bench.sizes).items():
        bench.place.renew()
        large = family[-1]
        costs: dict[int, list[float]] = {}
        points = []
        for size in family:
            compared = size is large or size.steps == SMALL
            trials = [_run(bench, size) for _ in range(bench.sizes.repeats if compared else 1)]
            costs[size.steps] = [trial.seconds() / trial.steps * 1e6 for trial in trials]
            points.append((float(size.steps), median([trial.steps_per_s for trial in trials])))
        small_cost, large_cost = median(costs[SMALL]), median(costs[large.steps])
        rates = dict(points)
        title = f"CPU of a step, {large.shape} against {SMALL} steps"
        detail = (
            f"{large_cost:,.0f} µs against {small_cost:,.0f} µs; "
            f"{rates[large.steps]:,.0f} steps/s against {rates[SMALL]:,.0f}"
        )
        rows.append(Row(f"cost.{kind}", title, large_cost / small_cost, "x", Goal(1.3), detail=detail))
        curves.append(Curve("size", kind, points))
        repeated |= {f"{kind} of {steps:,}": values for steps, values in costs.items()}
    return Found(rows, curves, repeated)


def _run(bench: Bench, size: Size) -> Trial:
    return bench.flowforge(size.shape, runs=size.runs, in_flight=size.in_flight)
