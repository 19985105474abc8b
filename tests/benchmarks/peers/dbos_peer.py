"""DBOS: three steps of a workflow, each with a persisted JSON output, on the same Postgres, in a database of its own.

The settings are those of its documentation and of its makers' own benchmark (dbos-postgres-benchmark), and where
they leave a choice, the one that was fastest here:

- Workflows and steps are asynchronous functions, which its documentation recommends for many at once, started in the
  process that executes them (`start_workflow_async`): that spares the write that takes a workflow from a queue. Through
  a queue with a client and two workers it was slower (86 to 109 runs/s against 116).
- Two processes, each with an executor id of its own as the documentation asks, 50 workflows under way in each. More
  were slower; so were the 512 executor threads of its benchmark.
- The pool of 20 connections that is its default; its checklist says not to go below 5.
- The portable JSON serialiser instead of pickle: what is compared is a persisted JSON output.
- The fan-out gathers its steps in one workflow, as its documentation shows for steps at once. Child workflows on a
  queue, which survive better, were three times slower (74 against 218 steps/s).

Everything else is left as it comes. Waiting is for the end of the workflow in the process that runs it, without polls.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import time
import uuid
from collections.abc import Callable, Coroutine
from typing import Any

from tests.benchmarks.peers.answers import answer, arguments

PROCESSES, IN_FLIGHT, WARM_UP = 2, 50, 20
SETTINGS = {
    "processes": PROCESSES,
    "in_flight": PROCESSES * IN_FLIGHT,
    "start": "start_workflow_async, in the process that executes",
    "serializer": "portable JSON",
    "sys_db_pool_size": "default (20)",
    "fanout": "steps gathered in one workflow",
}

Workflow = Callable[[int], Coroutine[Any, Any, Any]]


def launched(url: str) -> tuple[Workflow, Workflow]:
    """Start DBOS in this process; return the chain and the fan-out."""
    from dbos import DBOS
    from dbos._serialization import DBOSPortableJSONSerializer

    @DBOS.step()
    async def nothing(n: int) -> dict[str, int]:
        return {"n": n}

    @DBOS.workflow()
    async def linear(n: int) -> dict[str, int]:
        first = await nothing(n)
        second = await nothing(first["n"])
        third: dict[str, int] = await nothing(second["n"])
        return third

    @DBOS.workflow()
    async def fanout(steps: int) -> dict[str, int]:
        found = await asyncio.gather(*(nothing(no) for no in range(steps)))
        joined: dict[str, int] = await nothing(len(found))
        return joined

    DBOS(
        config={
            "name": "bench",
            "system_database_url": url,
            "serializer": DBOSPortableJSONSerializer(),
            "executor_id": str(uuid.uuid4()),
            "application_version": "1",
            "log_level": "ERROR",
        }
    )
    DBOS.launch()
    return linear, fanout


async def execute(workflow: Workflow, argument: int) -> float:
    """Run a workflow to its end; return the seconds it took."""
    from dbos import DBOS

    began = time.perf_counter()
    handle: Any = await DBOS.start_workflow_async(workflow, argument)
    await handle.get_result()
    return time.perf_counter() - began


async def at_once(workflow: Workflow, count: int) -> tuple[float, float]:
    """Run many workflows, some at a time; return when the first began and the last ended."""
    places = asyncio.Semaphore(IN_FLIGHT)

    async def one(no: int) -> None:
        async with places:
            await execute(workflow, no)

    began = time.time()
    await asyncio.gather(*(one(no) for no in range(count)))
    return began, time.time()


def share(url: str, count: int, ready: Any, results: Any) -> None:
    """Be one of several processes that run workflows."""
    from dbos import DBOS

    linear, _ = launched(url)

    async def work() -> tuple[float, float]:
        await at_once(linear, WARM_UP)
        await asyncio.to_thread(ready.wait)
        return await at_once(linear, count)

    try:
        results.put(asyncio.run(work()))
    finally:
        DBOS.destroy()


def together(url: str, count: int) -> float:
    """Run workflows in several processes; return the seconds from the first start to the last end."""
    context = multiprocessing.get_context("spawn")
    ready, results = context.Barrier(PROCESSES), context.Queue()
    counts = [count // PROCESSES + (no < count % PROCESSES) for no in range(PROCESSES)]
    # Daemons: they end with this process, however that ends.
    processes = [context.Process(target=share, args=(url, one, ready, results), daemon=True) for one in counts]
    for process in processes:
        process.start()
    found = [results.get(timeout=900) for _ in processes]
    for process in processes:
        process.join()
    return float(max(end for _, end in found) - min(began for began, _ in found))


def migrate(url: str) -> None:
    """Create the tables once, before several processes want to."""
    from dbos import DBOS

    launched(url)
    DBOS.destroy()


def alone(task: str, url: str, count: int) -> tuple[float, list[float]]:
    """Run workflows one at a time, or one fan-out; return the seconds of all, and of each."""
    from dbos import DBOS

    linear, fanout = launched(url)

    async def work() -> tuple[float, list[float]]:
        for no in range(WARM_UP):
            await execute(linear, no)
        if task == "fanout":
            await execute(fanout, WARM_UP)
            return await execute(fanout, count), []
        taken = [await execute(linear, no) for no in range(count)]
        return sum(taken), taken

    try:
        return asyncio.run(work())
    finally:
        DBOS.destroy()


def main() -> None:
    """Measure one task."""
    chosen = arguments(__doc__)
    waited: list[float] = []
    if chosen.task == "linear":
        migrate(chosen.url)
        seconds = together(chosen.url, chosen.count)
    else:
        seconds, waited = alone(chosen.task, chosen.url, chosen.count)
    answer(chosen.task, chosen.count, SETTINGS, seconds=seconds, waited=waited)


if __name__ == "__main__":
    main()
