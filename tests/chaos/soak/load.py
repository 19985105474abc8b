"""The load of a soak: runs of every shape, started at an even rate, each exactly once whatever happens to its start.

A start whose answer is lost is asked for again under the same idempotency key, so the number of runs is exact.
"""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Mapping

from flowforge.client import AsyncClient
from flowforge.engine.engine import Endpoints
from flowforge.engine.plans import PlannedVersion
from flowforge.errors import FlowforgeError
from flowforge.settings import Settings
from tests.acceptance.kit.sink import reply
from tests.chaos.kit.load import ALL, EFFECTS, INNER, Busy, Flaky
from tests.chaos.kit.world import World


class Load:
    """Starts runs in a thread of its own."""

    def __init__(self, world: World, count: int, seconds: float, seed: int, shapes: Mapping[str, str] = ALL) -> None:
        self._world, self._count, self._seconds, self._seed = world, count, seconds, seed
        self._shapes = shapes
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="load", daemon=True)
        self._stopping = threading.Event()
        self.started = 0
        self.refused = 0
        self.failure: BaseException | None = None
        chance = random.Random(seed)
        for path in EFFECTS:
            world.effects.answer(path, Busy(0.4, random.Random(chance.random())))
        world.effects.answer("flaky", Flaky(2))
        world.effects.answer("ship", reply(422))

    def begin(self) -> None:
        """Start starting."""
        self._thread.start()

    def end(self) -> None:
        """Wait until all runs are accepted."""
        self._thread.join(timeout=120)
        self._stopping.set()
        assert not self._thread.is_alive(), f"only {self.started} of {self._count} runs were accepted"

    async def _run(self) -> None:
        where = Endpoints(self._world.installation.database_url, self._world.machine.redis_url)
        async with AsyncClient(Settings(), endpoints=where) as client:
            await client.publish(self._world.flow(INNER, name="inner"))
            flows = {name: str(self._world.flow(text, name=name)) for name, text in self._shapes.items()}
            versions = {name: await client.planned(flow) for name, flow in flows.items()}
            began = time.monotonic()
            names = list(self._shapes)
            for number in range(self._count):
                due = began + self._seconds * number / self._count
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                await self._start(client, versions[names[number % len(names)]], number)

    async def _start(self, client: AsyncClient, version: PlannedVersion, number: int) -> None:
        start = client.prepare(version, {"n": number}, idempotency_key=f"{self._seed}-{number}")
        while not self._stopping.is_set():
            try:
                await client.start_many([start])
            except FlowforgeError:
                self.refused += 1
                await asyncio.sleep(0.2)
            else:
                self.started += 1
                return
