"""How long a caller waits for `client.run`: many callers at once in one process, each starting one run after another.

With a rate the callers begin a call at fixed moments, and a call that has to wait for its caller counts from the
moment it was due; without one, every caller begins the next call at once.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time

from flowforge.client import AsyncClient
from flowforge_cli.benchmark_plan import Plan
from tests.benchmarks.figures import percentiles

WARM_UP = 200


async def call(client: AsyncClient, name: str, no: int, due: float | None = None) -> float:
    """Start one run; return the seconds until it was known to be committed."""
    began = time.perf_counter() if due is None else due
    await client.run(name, {"n": no})
    return time.perf_counter() - began


async def callers(client: AsyncClient, name: str, count: int, calls: int, rate: float | None) -> list[float]:
    """Let callers start runs; return what each call took."""
    taken: list[float] = []
    began = time.perf_counter()

    async def caller(first: int) -> None:
        for no in range(first, calls, count):
            due = None if rate is None else began + no / rate
            if due is not None:
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
            taken.append(await call(client, name, no, due))

    await asyncio.gather(*(caller(first) for first in range(count)))
    return taken


async def measure(chosen: argparse.Namespace) -> dict[str, object]:
    """Publish the workflow, warm up, and measure."""
    plan = Plan.parse(chosen.shape, runs=1, workers=1, gate=None, batch=None, in_flight=1)
    async with AsyncClient() as client:
        name = (await client.publish(plan.definition())).workflow
        await callers(client, name, chosen.callers, WARM_UP, None)
        began = time.perf_counter()
        taken = await callers(client, name, chosen.callers, chosen.calls, chosen.rate)
        seconds = time.perf_counter() - began
    return {
        "shape": chosen.shape,
        "callers": chosen.callers,
        "rate": chosen.rate,
        "runs": chosen.calls,
        "seconds": round(seconds, 3),
        "starts_per_s": round(chosen.calls / seconds, 1),
        "start_ms": {name: round(value * 1000, 2) for name, value in percentiles(taken).items()},
    }


def main() -> None:
    """Measure as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", default="linear:3")
    parser.add_argument("--callers", type=int, default=100)
    parser.add_argument("--calls", type=int, default=10_000)
    parser.add_argument("--rate", type=float)
    print(json.dumps(asyncio.run(measure(parser.parse_args()))))


if __name__ == "__main__":
    main()
