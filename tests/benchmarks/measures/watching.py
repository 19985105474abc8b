"""What an operator's dashboard costs, and how soon it answers."""

from __future__ import annotations

from statistics import median

from tests.benchmarks.children import workers
from tests.benchmarks.results import Found, Goal, Row
from tests.benchmarks.trials import Bench

#: Runs that go on while they are watched: each has some three events a second.
ACTIVE = 100


def dashboard(bench: Bench) -> Found:
    """Measure `flowforge top`: from a key to the screen, its processor time and its memory."""
    sizes = bench.sizes
    bench.place.renew()
    bench.flowforge("linear:1", runs=sizes.listed)
    words = {"listed": sizes.listed, "active": ACTIVE, "presses": sizes.presses, "seconds": sizes.watched}
    with workers(bench.workers, "default", bench.place.environment):
        found = bench.tool("watching", *(part for name, value in words.items() for part in (f"--{name}", str(value))))
    detail = f"{sizes.listed:,} runs in the list, {ACTIVE} of them active, {found['events_per_s']:.0f} events/s"
    memory = found["memory_mb"]
    half = len(memory) // 2
    return Found(
        [
            Row("dashboard.key.p50", "dashboard: key to screen, p50", found["key_ms"]["p50"], "ms", detail=detail),
            Row("dashboard.key.p95", "dashboard: key to screen, p95", found["key_ms"]["p95"], "ms", Goal(100)),
            Row("dashboard.cpu", "dashboard: CPU while watching", found["cpu_share"], "%", Goal(0.15), detail=detail),
            Row("dashboard.memory", "dashboard: memory, peak", max(memory), "MB"),
            Row(
                "dashboard.growth",
                "dashboard: memory, growth",
                median(memory[half:]) / median(memory[:half]) - 1,
                "%",
                Goal(0.05),
                detail=f"1st to 2nd half of {sizes.watched:g} s",
            ),
        ]
    )
