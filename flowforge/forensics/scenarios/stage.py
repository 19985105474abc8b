"""Where scenarios are played: an installation, a worker in this process, or one in a process that can be killed."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pandas as pd

from flowforge.client import AsyncClient
from flowforge.engine.engine import Endpoints
from flowforge.engine.worker import Worker
from flowforge.errors import FlowforgeError

#: Leases of the workers in scenarios, which have to run out while somebody watches.
LEASE = timedelta(seconds=1)
#: Seconds after which something is wrong with this machine.
PATIENCE = 60.0


@dataclass(frozen=True, slots=True)
class Scenario:
    """An incident that was played: what was planted, and where to look for it."""

    name: str
    workflow: str
    #: Ids of the runs, oldest first.
    runs: list[str]
    #: When it began; nothing of it is older.
    since: datetime
    #: What `fx.findings` has to name.
    cause: str
    #: The other side's own list of effects.
    effects: pd.DataFrame = field(repr=False)
    #: A run that went well, and one that did not.
    good: str | None = None
    bad: str | None = None


class Stage:
    """What a scenario uses while it is played."""

    def __init__(self, client: AsyncClient, queue: str) -> None:
        self.client, self.queue = client, queue

    async def publish(self, definition: dict[str, Any]) -> str:
        """Publish a definition for the stage's own queue; return name@version."""
        published = await self.client.publish({**definition, "queue": self.queue})
        return f"{published.workflow}@{published.version}"

    async def start(self, target: str, inputs: Sequence[dict[str, Any]]) -> list[UUID]:
        """Start runs, one for each input."""
        started = await self.client.run_many(target, inputs, labels={"scenario": self.queue}, trigger="scenario")
        return [one.id for one in started]

    async def ended(self, runs: Sequence[UUID]) -> None:
        """Wait until runs have ended."""
        await asyncio.gather(*(self.client.wait(run, timeout=PATIENCE) for run in runs))

    @asynccontextmanager
    async def worker(self) -> AsyncIterator[Worker]:
        """Work in this process for as long as the block lasts."""
        worker = Worker(self.client.engine)
        task = asyncio.create_task(worker.run())
        try:
            yield worker
        finally:
            worker.stop()
            worker.stop()
            await task

    async def killed_worker(self, until: Callable[[], bool]) -> None:
        """Let a worker in a process of its own work until something is so, and kill it."""
        settings, engine = self.client.settings, self.client.engine
        environment = {name: text for name, text in os.environ.items() if not name.startswith("FLOWFORGE_")}
        environment |= {
            "FLOWFORGE_DATABASE_URL": engine.endpoints.database_url,
            "FLOWFORGE_REDIS_URL": engine.endpoints.redis_url,
            "FLOWFORGE_ALLOW_LOOPBACK": "true",
            "FLOWFORGE_LEASE": f"{settings.lease.total_seconds():g}s",
            "FLOWFORGE_RECEIPTS": json.dumps(settings.receipts),
        }
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "flowforge_cli", "worker", "start", "--queue", self.queue,
            env=environment, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            async with asyncio.timeout(PATIENCE):
                while not until():
                    if process.returncode is not None:
                        said = b"" if process.stderr is None else await process.stderr.read()
                        raise FlowforgeError(f"the scenario's worker has ended: {said.decode(errors='replace')[-300:]}")
                    await asyncio.sleep(0.02)
        finally:
            if process.returncode is None:
                process.send_signal(signal.SIGKILL)
            await process.communicate()


@asynccontextmanager
async def stage(client: AsyncClient, name: str) -> AsyncIterator[Stage]:
    """Prepare an installation for a scenario: a client of its own, with a queue nobody else serves."""
    queue = f"scenario-{name.replace('_', '-')}"
    changes = {"queues": (queue,), "allow_loopback": True, "lease": LEASE, "concurrency": 64, "python_processes": 1}
    settings = client.settings.model_copy(update=changes)
    where = Endpoints(client.engine.endpoints.database_url, client.engine.endpoints.redis_url)
    async with AsyncClient(settings, endpoints=where, connections=6) as own:
        yield Stage(own, queue)
