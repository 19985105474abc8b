"""A doctor beside work of every shape, drains, kills and operators: whatever it looks at, no invariant is broken."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from uuid import UUID

import pytest

from flowforge.client import AsyncClient
from flowforge.client.doctoring import Patient, examine
from flowforge.engine.engine import Endpoints
from flowforge.errors import FlowforgeError
from flowforge.settings import Settings
from tests.chaos.kit.load import ALL
from tests.chaos.kit.world import World
from tests.chaos.soak.load import Load
from tests.support.sql import Sql

#: Seconds of work, and runs started meanwhile.
SECONDS, RUNS = 45.0, 220
FLEET = 2
NARROW = """
    queue: @queue
    concurrency: {limit: 2}
    steps:
      - {id: in, type: http, config: {method: POST, url: "@sink/in/{{ run.id }}"}}
      - {id: out, type: http, depends_on: in, config: {method: POST, url: "@sink/out/{{ run.id }}"}}
"""
ASKS = """
    queue: @queue
    concurrency: unlimited
    steps:
      - {id: boss, type: approval, config: {prompt: "ok?", timeout: 2s, on_timeout: approve}}
      - {id: went, type: http, depends_on: boss, config: {method: POST, url: "@sink/went/{{ run.id }}"}}
"""
SHAPES = {**ALL, "narrow": NARROW, "narrower": NARROW.replace("limit: 2", "limit: 1"), "asks": ASKS}
OPEN = "SELECT id FROM runs WHERE finished_at IS NULL ORDER BY id DESC LIMIT 20"
ENDED = "SELECT id FROM runs WHERE status IN ('failed', 'cancelled') ORDER BY id DESC LIMIT 20"


@dataclass(slots=True)
class Beside:
    """What goes on in threads of its own until it is told to stop."""

    world: World
    chance: random.Random
    stopping: threading.Event = field(default_factory=threading.Event)
    threads: list[threading.Thread] = field(default_factory=list)
    #: What the doctor said that it should not have, and how often it looked.
    wrong: list[str] = field(default_factory=list)
    looks: int = 0

    @property
    def where(self) -> Endpoints:
        """The installation."""
        return Endpoints(self.world.installation.database_url, self.world.machine.redis_url)

    def begin(self, *what: Callable[[], object]) -> None:
        """Start to do things."""
        self.threads = [threading.Thread(target=one, daemon=True) for one in what]
        for thread in self.threads:
            thread.start()

    def end(self) -> None:
        """Stop, and wait for what is under way."""
        self.stopping.set()
        for thread in self.threads:
            thread.join(timeout=120)
        assert not any(thread.is_alive() for thread in self.threads)

    def examine(self) -> None:
        """Examine again and again, as often as that can be done."""
        who = Patient(self.where, Settings(lease="4s"))
        while not self.stopping.is_set():
            found = asyncio.run(examine(who))
            self.looks += 1
            self.note([(one.kind, one.details) for one in found.findings if one.about.invariant is not None])

    def type(self) -> None:
        """Examine as somebody does who types the command."""
        while not self.stopping.wait(2):
            found = self.world.shell.type("doctor", "--json", code=20, lease="4s").document["findings"]
            self.looks += 1
            self.note([(one["kind"], one["details"]) for one in found if one["invariant"] is not None])

    def note(self, found: list[tuple[str, list[str]]]) -> None:
        """Remember what the doctor said of invariants."""
        self.wrong += [f"{kind}: {details[:3]}" for kind, details in found]

    def steer(self) -> None:
        """Cancel, pause and resume, and retry runs, whichever."""
        asyncio.run(self._steer())

    async def _steer(self) -> None:
        async with AsyncClient(Settings(), endpoints=self.where) as client:
            while not self.stopping.is_set():
                await asyncio.sleep(self.chance.uniform(0.2, 1.0))
                for run in self._some(OPEN):
                    await self._do(client, run, self.chance.choice(["cancel", "force", "hold"]))
                for run in self._some(ENDED):
                    await self._do(client, run, "retry")

    async def _do(self, client: AsyncClient, run: UUID, what: str) -> None:
        try:
            match what:
                case "cancel" | "force":
                    await client.cancel(run, force=what == "force")
                case "hold":
                    await client.pause(run)
                    await asyncio.sleep(self.chance.uniform(0, 1))
                    await client.resume(run)
                case _:
                    await client.retry(run)
        except FlowforgeError:
            return  # it has ended, or undoes what it did

    def _some(self, query: str) -> list[UUID]:
        sql = Sql(self.where.database_url)
        try:
            rows = sql.rows(query)
        finally:
            sql.close()
        return [self.chance.choice(rows)[0]] if rows else []


@pytest.mark.quick
@pytest.mark.thorough
def test_the_doctor_raises_no_false_alarm(world: World):
    """Workers leave, die and freeze, one or all of them, and are followed by others."""
    chance = world.random
    load = Load(world, RUNS, SECONDS, 1, SHAPES)
    beside = Beside(world, random.Random(chance.random()))
    world.some_workers(FLEET)
    load.begin()
    beside.begin(beside.examine, beside.type, beside.steer)
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        time.sleep(chance.uniform(1, 4))
        alive = world.alive()
        some = alive if chance.random() < 0.3 else alive[:1]
        match chance.choice(["kill", "drain", "freeze"]):
            case "kill":
                for one in some:
                    one.kill()
            case "drain":
                for one in some:
                    one.process.terminate()
            case _:
                for one in some:
                    one.freeze()
                time.sleep(chance.uniform(0, 6))
                for one in some:
                    one.thaw()
        time.sleep(chance.uniform(0, 3))
        for _ in range(FLEET - len(world.alive())):
            world.worker(ready=False)
    load.end()
    beside.end()
    for _ in range(FLEET - len(world.alive())):
        world.worker()
    assert beside.wrong == []
    assert beside.looks >= 3
    world.ended([row[0] for row in world.sql.rows("SELECT id FROM runs")], 300)
    world.at_rest()
    assert {one.kind for one in asyncio.run(examine(Patient(beside.where, Settings()), ended=None)).findings} <= {
        "postgres.fsync",
        "workers.lost",
    }
