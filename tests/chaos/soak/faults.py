"""The faults of a soak: each breaks something now and says how, and when, it is mended again."""

from __future__ import annotations

import random
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from uuid import uuid4

import psycopg
import redis

from flowforge.engine.crash import POINTS
from tests.acceptance.kit.workers import WorkerProcess
from tests.chaos.kit.proxy import COMMITTED, Proxy
from tests.chaos.kit.world import World

LEASE = 5.0
SETTINGS = {"lease": f"{LEASE:g}s", "redispatch_after": "10s", "grace": "3s", "python_processes": "3"}

#: What mends a fault: to be called after some seconds.
Repair = tuple[float, Callable[[], None]]


class Death(NamedTuple):
    """A worker that was killed, and when."""

    pid: int
    at: float


class Fault(NamedTuple):
    """Something that was broken: from when until when it was mended; at `done` all of it was broken."""

    name: str
    at: float
    until: float
    done: float

    def overlaps(self, begin: float, end: float) -> bool:
        """Say whether it was broken at some time of an interval."""
        return self.at <= end and self.until >= begin

    def told(self, since: float) -> str:
        """Name it, with the seconds since a moment."""
        return f"{self.name.replace('_', ' ')} {self.at - since:+.1f}..{self.until - since:+.1f}"


@dataclass(slots=True)
class Place:
    """One worker of the fleet, always behind its own proxies; whoever dies in it is replaced."""

    world: World
    postgres: Proxy
    valkey: Proxy
    worker: WorkerProcess | None = None

    @classmethod
    def make(cls, world: World) -> Place:
        """Put up the proxies and start a worker behind them."""
        place = cls(world, world.proxy("postgres"), world.proxy("valkey"))
        place.fill()
        return place

    def fill(self, crash_at: str = "") -> None:
        """Start a worker if there is none."""
        if self.worker is None or self.worker.process.poll() is not None:
            how = {**SETTINGS, **self.world.through(postgres=self.postgres, valkey=self.valkey)}
            self.worker = self.world.worker(ready=False, crash_at=crash_at, **how)

    @property
    def alive(self) -> bool:
        """Whether its worker runs."""
        return self.worker is not None and self.worker.process.poll() is None

    def process(self) -> WorkerProcess:
        """Return its worker."""
        assert self.worker is not None
        return self.worker


@dataclass(slots=True)
class Faults:
    """Everything that can be broken, by name; counts what was."""

    world: World
    fleet: list[Place]
    random: random.Random
    #: Those that happen.
    names: tuple[str, ...]
    counts: Counter[str] = field(default_factory=Counter)
    deaths: list[Death] = field(default_factory=list)
    history: list[Fault] = field(default_factory=list)

    def inject(self) -> tuple[str, list[Repair]]:
        """Break something by chance."""
        (name,) = self.random.choices(self.names, [WEIGHTS[one] for one in self.names])
        repairs: Iterator[Repair] = getattr(self, name)()
        began, mended = time.time(), list(repairs)
        done = time.time()
        self.counts[name] += 1
        self.history.append(Fault(name, began, done + max((after for after, _ in mended), default=0.0), done))
        return name, mended

    def _place(self) -> Place:
        return self.random.choice([place for place in self.fleet if place.alive] or self.fleet)

    def _within(self, longest: float) -> float:
        return self.random.uniform(0, longest)

    # -- workers -------------------------------------------------------------------------------------------

    def worker_killed(self) -> Iterator[Repair]:
        """SIGKILL; another one starts a little later."""
        place = self._place()
        if place.alive:
            self.deaths.append(Death(place.process().pid, time.time()))
            place.process().kill()
        yield self._within(3), place.fill

    def worker_frozen(self) -> Iterator[Repair]:
        """SIGSTOP for up to three leases, SIGCONT."""
        place = self._place()
        if place.alive:
            worker = place.process()
            worker.freeze()
            yield self._within(3 * LEASE), lambda: worker.thaw() if worker.process.poll() is None else None

    def worker_drained(self) -> Iterator[Repair]:
        """SIGTERM; another one takes its place when it is gone."""
        place = self._place()
        if place.alive:
            place.process().process.terminate()
        yield 8.0, place.fill

    def worker_crashes_at_a_point(self) -> Iterator[Repair]:
        """A worker that will die at a named point, some time."""
        place = self._place()
        if place.alive:
            self.deaths.append(Death(place.process().pid, time.time()))
            place.process().kill()
        point = self.random.choice(sorted(POINTS))
        place.fill(f"{point}:{self.random.randint(1, 40)}")
        yield 20.0, place.fill

    # -- Valkey --------------------------------------------------------------------------------------------

    def valkey_killed(self) -> Iterator[Repair]:
        """SIGKILL, and an append-only file that may be lost as well."""
        if self.world.machine.runs("valkey"):
            self.world.machine.kill("valkey")
            if self.random.random() < 0.3:
                shutil.rmtree(self.world.machine.data("valkey") / "appendonlydir", ignore_errors=True)
        yield self._within(6), self.world.machine.start

    def valkey_flushed(self) -> Iterator[Repair]:
        """FLUSHALL."""
        self._ask_valkey(lambda client: client.flushall())
        yield from ()

    def stream_lost(self) -> Iterator[Repair]:
        """DEL, or XGROUP DESTROY."""
        lane = self.world.stream(self.random.choice([self.world.queue, f"{self.world.queue}.python"]))
        if self.random.random() < 0.5:
            self._ask_valkey(lambda client: client.delete(lane))
        else:
            self._ask_valkey(lambda client: client.xgroup_destroy(lane, "workers"))
        yield from ()

    def messages_repeated(self) -> Iterator[Repair]:
        """Everything in a stream once more, and some nonsense."""

        def repeat(client: redis.Redis) -> None:
            stream = self.world.stream()
            entries: Any = client.xrange(stream, count=200)
            for _, fields in entries:
                client.xadd(stream, fields)
            client.xadd(stream, {"v": "1", "run": uuid4().hex, "step": "0", "dispatch_no": "1"})
            client.xadd(stream, {b"\xff": b"\x00" * 1000})

        self._ask_valkey(repeat)
        yield from ()

    def _ask_valkey(self, what: Callable[[redis.Redis], Any]) -> None:
        try:
            what(self.world.valkey)
        except redis.RedisError:
            return

    # -- Postgres ------------------------------------------------------------------------------------------

    def postgres_killed(self) -> Iterator[Repair]:
        """SIGKILL, or a stop without checkpoint."""
        if self.world.machine.runs("postgres"):
            if self.random.random() < 0.5:
                self.world.machine.kill("postgres")
            else:
                self.world.machine.crash_postgres()
        yield self._within(4), self.world.machine.start

    def sessions_terminated(self) -> Iterator[Repair]:
        """Some backends of the workers, unless all of them are gone: nobody mends while this waits for Postgres."""
        if not self.world.machine.runs("postgres"):
            return
        try:
            query = "SELECT pid FROM pg_stat_activity WHERE application_name = 'flowforge'"
            for (pid,) in self.random.sample(found := self.world.sql.rows(query), min(5, len(found))):
                self.world.sql.do("SELECT pg_terminate_backend(%s)", pid)
        except psycopg.Error:
            return
        yield from ()

    def commits_cut(self) -> Iterator[Repair]:
        """The next answers to COMMIT are lost with their connections."""
        self._place().postgres.cut_before(COMMITTED, times=self.random.randint(1, 8))
        yield from ()

    # -- networks ------------------------------------------------------------------------------------------

    def postgres_silent(self) -> Iterator[Repair]:
        """Frozen or thrown away, for one worker, up to two leases."""
        proxy = self._place().postgres
        self.random.choice([proxy.freeze, proxy.drop])()
        yield self._within(2 * LEASE), proxy.restore

    def valkey_silent(self) -> Iterator[Repair]:
        """Frozen or thrown away, for one worker, up to two leases."""
        proxy = self._place().valkey
        self.random.choice([proxy.freeze, proxy.drop])()
        yield self._within(2 * LEASE), proxy.restore

    def connections_reset(self) -> Iterator[Repair]:
        """RST, on both networks of one worker."""
        place = self._place()
        place.postgres.reset(self.random.uniform(0.3, 1))
        place.valkey.reset(self.random.uniform(0.3, 1))
        yield from ()

    def connections_half_open(self) -> Iterator[Repair]:
        """A part of a worker's connections is gone and it does not know."""
        place = self._place()
        self.random.choice([place.postgres, place.valkey]).half_open(0.4)
        yield from ()

    def networks_slow(self) -> Iterator[Repair]:
        """Every piece waits, for one worker."""
        place = self._place()
        for proxy in (place.postgres, place.valkey):
            proxy.delay(self.random.uniform(0.005, 0.05))

        def quick() -> None:
            place.postgres.delay(0)
            place.valkey.delay(0)

        yield self._within(10), quick


#: How often each happens, compared with the others.
WEIGHTS = {
    "worker_killed": 6,
    "worker_frozen": 3,
    "worker_drained": 2,
    "worker_crashes_at_a_point": 4,
    "valkey_killed": 2,
    "valkey_flushed": 2,
    "stream_lost": 2,
    "messages_repeated": 2,
    "postgres_killed": 2,
    "sessions_terminated": 3,
    "commits_cut": 3,
    "postgres_silent": 2,
    "valkey_silent": 2,
    "connections_reset": 2,
    "connections_half_open": 1,
    "networks_slow": 2,
}
