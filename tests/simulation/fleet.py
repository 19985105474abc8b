"""The processes of a simulation: real workers, but for their threads, on simulated servers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from contextvars import ContextVar
from datetime import timedelta
from typing import Any, cast
from uuid import UUID

import psycopg

from flowforge.engine.engine import Endpoints, Engine
from flowforge.engine.fence import Fence
from flowforge.engine.heartbeat import Heartbeat
from flowforge.engine.holdings import Holdings
from flowforge.engine.ledger import Ledger
from flowforge.engine.loop import Loop
from flowforge.engine.names import Names
from flowforge.engine.plans import Plans
from flowforge.engine.starting import Starter
from flowforge.engine.tracing import OFF
from flowforge.engine.worker import Worker
from flowforge.model.turn import Terms
from flowforge.settings import Settings
from flowforge_streams.memory_stream import parse_id
from tests.simulation.loop import VirtualLoop
from tests.simulation.network import Lost, Owner
from tests.simulation.outside import Outside, SimulatedExecutors
from tests.simulation.postgres import Server, SimulatedDatabase
from tests.simulation.shapes import versions
from tests.simulation.valkey import SimulatedLog, Streams

LEASE = timedelta(seconds=10)
NAMES = Names("simulated")
SETTINGS = Settings(
    queues=("default",),
    lease=LEASE,
    redispatch_after=timedelta(seconds=20),
    concurrency=4,
    python_processes=2,
    grace=timedelta(seconds=5),
    kill_grace=timedelta(seconds=1),
    receipts=False,
)


class SimulatedEngine:
    """What an Engine is once it is open."""

    def __init__(self, server: Server, streams: Streams, owner: Owner, on_ack: Callable[..., None]) -> None:
        self.endpoints = Endpoints("simulated", "simulated")
        self.settings, self.names, self.tracer = SETTINGS, NAMES, OFF
        self.terms = Terms(redispatch_after=SETTINGS.redispatch_after, max_crashes=SETTINGS.max_crashes)
        self.database = self.volatile = SimulatedDatabase(server, owner)
        self.plans = Plans()
        for version in versions().values():
            self.plans.keep(version)
        self.ledger = Ledger(self.database, self.plans, self.terms, self.tracer)
        self.starter = Starter(self.database, self.ledger, self.terms, self.tracer)
        self.streams = SimulatedLog(streams, owner, on_ack)
        self.owner, self.server = owner, server


class SimulatedWorker(Worker):
    """A worker that is a process of the simulation."""

    def __init__(self, engine: SimulatedEngine, outside: Outside) -> None:
        executors = SimulatedExecutors(outside, engine.owner)
        super().__init__(cast("Engine", engine), cast("Any", executors))

    @property
    def owner(self) -> Owner:
        """The process that it is."""
        return cast("SimulatedEngine", self.engine).owner

    def has_by_another(self, run_id: UUID, step: int, entry_id: str) -> bool:
        """Say whether an attempt or a claim is under way here that came by another entry."""
        key = (run_id.int, step)
        claim, held = self.attempts._claims.get(key), self.holdings.get(key)
        if held is not None:
            return held.delivery is None or held.delivery.entry_id != entry_id
        return claim is not None and claim.entry_id != entry_id


class _Link:
    """What a heartbeat's connection is to the store's functions: the server, and a process that may die."""

    def __init__(self, server: Server, owner: Owner) -> None:
        self.server, self.owner = server, owner

    def close(self) -> None:
        """Do nothing."""


#: What the process works on that a task belongs to; none for the client and the world itself.
process: ContextVar[SimulatedEngine] = ContextVar("process")


def _unattended(work: Coroutine[Any, Any, None], what: str) -> asyncio.Task[None]:
    """Start what nobody waits for; as a thread it would end unseen."""

    def ended(task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            cast("VirtualLoop", task.get_loop()).on_defect(what, error)

    task = asyncio.create_task(work)
    task.add_done_callback(ended)
    return task


class TaskHeartbeat(Heartbeat):
    """A heartbeat without a thread; its process may be frozen, and its questions and answers be lost."""

    def __init__(self, url: str, worker: str, holdings: Holdings, lease: timedelta, tell: Any) -> None:
        super().__init__(url, worker, holdings, lease, asyncio.get_running_loop().call_soon)
        engine = process.get()
        self._link = _Link(engine.server, engine.owner)

    def start(self) -> None:
        """Start beating."""
        self._task = _unattended(self._beating(), "heartbeat")

    def stop(self) -> None:
        """Stop beating."""
        self._task.cancel()

    async def _beating(self) -> None:
        owner = self._link.owner
        while True:
            await asyncio.sleep(self._lease.total_seconds() / 4)
            await owner.thawed()
            with suppress(Lost, psycopg.OperationalError):
                await owner.travel("postgres")
                if not self._link.server.up:
                    continue
                self.beat()

    def _connect(self) -> Any:
        return self._link


class TaskFence(Fence):
    """A fence without a thread."""

    def __init__(self, holdings: Holdings, lease: timedelta, tell: Any) -> None:
        super().__init__(holdings, lease, asyncio.get_running_loop().call_soon)
        self._owner = process.get().owner

    def start(self) -> None:
        """Start watching."""
        self._task = _unattended(self._watching(), "fence")

    def stop(self) -> None:
        """Stop watching."""
        self._task.cancel()

    async def _watching(self) -> None:
        while True:
            await asyncio.sleep(self._lease / 16)
            await self._owner.thawed()
            self.check()


class NoFeed(Loop):
    """A feed that nobody reads."""

    def __init__(self, *_: Any) -> None:
        super().__init__()
        self.pause = 1e6

    async def run_once(self) -> float | None:
        """Do nothing."""
        return None


class Entries:
    """Which dispatch an entry of a stream stands for, so that an acknowledgement can be judged."""

    def __init__(self, streams: Streams) -> None:
        self._streams = streams

    def dispatch(self, stream: str, entry_id: str) -> tuple[UUID, int, int] | None:
        """Return run, step and dispatch number of an entry that is still there."""
        fields = self._all(stream).get(parse_id(entry_id))
        return None if fields is None else _dispatch(fields)

    def repeated(self, stream: str, entry_id: str) -> bool:
        """Say whether another entry stands for the same dispatch."""
        entries = self._all(stream)
        wanted = entries[parse_id(entry_id)]
        return any(fields == wanted and one != parse_id(entry_id) for one, fields in entries.items())

    def _all(self, stream: str) -> Mapping[tuple[int, int], Mapping[str, bytes]]:
        state = self._streams.log._streams.get(stream)
        return {} if state is None else state.entries


def _dispatch(fields: Mapping[str, bytes]) -> tuple[UUID, int, int]:
    return UUID(fields["run"].decode()), int(fields["step"]), int(fields["dispatch_no"])
