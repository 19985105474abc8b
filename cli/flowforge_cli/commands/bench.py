"""`flowforge bench`: how fast this installation is."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flowforge_cli import render, session
from flowforge_cli.exit_codes import ExitCode
from flowforge_cli.options import JsonOption, sub_app

if TYPE_CHECKING:
    from flowforge.client import AsyncClient
    from flowforge_cli.benchmark_plan import Plan

app = sub_app()


@app.command()
def bench(
    runs: Annotated[
        int | None,
        typer.Option(min=1, max=10_000_000, metavar="N", help="Runs; 10000 for linear, 1 for the others unless given."),
    ] = None,
    shape: Annotated[
        str,
        typer.Option(
            metavar="SHAPE", help="linear:STEPS, fanout:CHILDREN, grid:ROWSxCOLUMNS, or serial:RUNS (one at a time)."
        ),
    ] = "linear:3",
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers", min=1, max=64, metavar="N", help="Worker processes; two where there are two processors."
        ),
    ] = None,
    gate: Annotated[
        int | None, typer.Option(min=1, max=1_000_000, metavar="N", help="Limit of active runs; none unless given.")
    ] = None,
    batch: Annotated[
        int | None,
        typer.Option(
            min=1, max=5_000, metavar="N", help="Runs started in one transaction; 200, and fewer of large ones."
        ),
    ] = None,
    in_flight: Annotated[int, typer.Option(min=1, metavar="N", help="Runs started and not ended, at most.")] = 2_000,
    json: JsonOption = False,
) -> int:
    """Measure this installation with steps that do nothing: what is left is FlowForge, Postgres and Redis.

    Latency is the time from a run's creation to its end, by the database's clock. In a grid every step waits for the
    one above it and that one's neighbour.

    \b
    Examples:
      flowforge bench
      flowforge bench --runs 20000 --shape linear:3 --workers 2
      flowforge bench --shape serial:500 --json | jq .latency_ms
      flowforge bench --shape fanout:1000 --runs 8
      flowforge bench --shape grid:50x200
    """  # noqa: D301
    from flowforge_cli.benchmark_plan import Plan

    workers = workers or min(2, os.cpu_count() or 1)
    plan = Plan.parse(shape, runs=runs, workers=workers, gate=gate, batch=batch, in_flight=in_flight)
    result = session.run(lambda client: _measure(client, plan), connections=6)
    if json:
        render.document(result)
        return ExitCode.OK
    render.out(*_lines(result))
    return ExitCode.OK


def _lines(result: dict[str, Any]) -> list[str]:
    latency, cpu = result["latency_ms"], result["cpu_seconds"]
    roles = {"workers": "workers", "postgres": "Postgres", "streams": "streams", "client": "this command"}
    used = ", ".join(f"{title} {cpu[role]:.1f} s" for role, title in roles.items() if cpu[role] is not None)
    waited = result.get("waited_ms")
    seen = [f"  seen by the caller p50 {waited['p50']:.1f} ms, p99 {waited['p99']:.1f} ms"] if waited else []
    return [
        f"{result['shape']}: {result['runs']:,} runs in {result['seconds']:.2f} s",
        f"  {result['runs_per_s']:,.0f} runs/s, {result['steps_per_s']:,.0f} steps/s",
        f"  latency p50 {latency['p50']:.1f} ms, p95 {latency['p95']:.1f} ms, p99 {latency['p99']:.1f} ms",
        *seen,
        f"  cpu: {used}; largest worker {result['worker_peak_mb']:.0f} MB",
    ]


async def _measure(client: AsyncClient, plan: Plan) -> dict[str, Any]:
    from flowforge_cli.benchmark import Benchmark

    def show(done: int, total: int, rate: float) -> None:
        render.progress(f"{plan.shape}: {done:,} of {total:,} runs, {rate:,.0f} runs/s")

    try:
        return await Benchmark(client, plan, show).measure()
    except asyncio.CancelledError:
        render.progress_done()
        render.say("interrupted; what was started is finished")
        raise
    finally:
        render.progress_done()
