"""How long `ps` looks for runs among millions: every condition and order of it, alone and together.

`--begin` starts runs of which something differs in everything that can be asked for: they are what a history is made
of. Without it, each filter is asked for a page with its steps, as `ps` does, through one client: what a process takes
to start is measured elsewhere.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from datetime import UTC, datetime
from typing import Any, get_args

from flowforge.client import AsyncClient
from flowforge.model.documents import RunFilter, Sort
from flowforge.model.filter import parse
from tests.benchmarks.figures import median

#: Runs of the one workflow and of the other, and of the first how many fail.
ORDERS, LOADS, FAILING = 150, 40, 15
#: Runs on a page, and how often each filter is asked.
PAGE, REPEATS = 20, 5

ORDER: dict[str, Any] = {
    "name": "orders",
    "search": ["input.customer"],
    "steps": [
        {"id": "price", "type": "transform", "config": {"expression": "input.amount / input.parts"}},
        {"id": "charge", "type": "transform", "depends_on": ["price"], "config": {"expression": "1"}},
    ],
}
LOAD = {"name": "loads", "steps": [{"id": "load", "type": "transform", "config": {"expression": "input.no"}}]}
NIGHT = {
    "name": "nights",
    "steps": [{"id": "all", "type": "workflow", "config": {"name": "loads", "input": {"no": 0}}}],
}

FILTERS = (
    "",
    "state:failed",
    "state:completed",
    "flow:orders",
    "flow:order*",
    "flow:loads version:1",
    "trigger:replay",
    "label.region=eu",
    "label.region=eu label.team=b",
    "error:EXPRESSION_ERROR",
    "step:price=failed",
    "step:charge=skipped",
    "input.customer=42",
    "input.amount=42",
    "since:1h",
    "since:20d until:19d",
    "eu !team",
    "state:failed flow:orders label.region=eu since:20d",
    # Nothing of these is there: all that a statement may look at is looked at.
    "state:running",
    "label.region=nowhere",
    "error:HTTP_503",
    "input.customer=nobody",
    "output.total=9.5",
    "nothingofthekind",
)


async def begin(client: AsyncClient) -> dict[str, Any]:
    """Start runs of every kind and wait for their end."""
    for definition in (ORDER, LOAD, NIGHT):
        await client.publish(definition)
    started = [
        await client.run(
            "orders",
            {"customer": no, "amount": no, "parts": 0 if no < FAILING else 1},
            labels={"region": "eu" if no % 2 else "us", "team": "abc"[no % 3]},
        )
        for no in range(ORDERS)
    ]
    started += [await client.run("loads", {"no": no}) for no in range(LOADS)]
    started += [await client.run("nights", {})]
    ended = [await client.wait(run.id) for run in started]
    again = [await client.replay(run.id) for run in ended[-5:]]
    for run in again:
        await client.wait(run.id)
    return {"runs": len(ended) + len(again)}


async def search(client: AsyncClient) -> dict[str, Any]:
    """Ask every filter some times; return the median of each in milliseconds."""
    now = datetime.now(UTC)
    asked = {text or "(all)": parse(text, now, RunFilter(limit=PAGE)) for text in FILTERS}
    asked |= {f"--sort {order}": RunFilter(limit=PAGE, sort=order) for order in get_args(Sort)}
    replayed = (await client.find(parse("trigger:replay", now))).runs[0]
    asked["replay:RUN"] = RunFilter(limit=PAGE, replay_of=replayed.replay_of)
    taken = {name: [await _seconds(client, wanted) for _ in range(REPEATS)] for name, wanted in asked.items()}
    found = {name: round(1000 * median(seconds), 2) for name, seconds in taken.items()}
    return {"milliseconds": dict(sorted(found.items(), key=lambda one: -one[1])), "runs": 0}


async def _seconds(client: AsyncClient, wanted: RunFilter) -> float:
    began = time.perf_counter()
    await client.find(wanted, steps=True)
    return time.perf_counter() - began


async def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--begin", action="store_true", help="start the runs that a history is made of")
    chosen = parser.parse_args()
    async with AsyncClient() as client:
        print(json.dumps(await (begin(client) if chosen.begin else search(client))))


if __name__ == "__main__":
    asyncio.run(main())
