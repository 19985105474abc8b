"""A worker process: every loop of the engine around one set of held attempts.

    reader ─▶ claim ─▶ committer ─▶ attempt ─▶ settle ─▶ committer ─▶ ack
                                       ▲                     │
                                       └── continuation ─────┘

It can be killed at any moment: what it held is found by its leases. Asked to stop, it takes nothing new, lets its
attempts finish for the grace period, hands the rest back uncounted, and leaves.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from uuid import uuid4

from flowforge.engine.acker import Acker
from flowforge.engine.admitter import Admitter
from flowforge.engine.attempts import Attempts
from flowforge.engine.batch import CHILD
from flowforge.engine.chaining import Inline
from flowforge.engine.children import Children
from flowforge.engine.committer import Committer
from flowforge.engine.degraded import Degraded, Source
from flowforge.engine.engine import Engine
from flowforge.engine.entries import Consequences
from flowforge.engine.errands import Errands
from flowforge.engine.feed import Feed
from flowforge.engine.fence import Fence
from flowforge.engine.heartbeat import Heartbeat
from flowforge.engine.holdings import Held, Holdings, Stop
from flowforge.engine.lanes import Lane, Lanes
from flowforge.engine.loop import Loop
from flowforge.engine.orders import Orders
from flowforge.engine.reader import Reader, Reclaimer
from flowforge.engine.receipting import Receipting
from flowforge.engine.relay import Relay
from flowforge.engine.rescuer import Rescuer
from flowforge.engine.step_settings import step_settings
from flowforge.engine.sweeper import Sweeper
from flowforge.engine.telling import Telling
from flowforge.errors import BackendError
from flowforge.steps.redaction import protected_logs
from flowforge.steps.registry import Executors, build, installed
from flowforge.store import pauses, workers
from flowforge.version import __version__
from flowforge_streams.errors import StreamError

log = logging.getLogger(__name__)


class Worker:
    """One worker; `run` returns after `stop` was called and everything is settled or handed back.

    It raises what ended one of its services, if that is why it stopped.
    """

    def __init__(self, engine: Engine, executors: Executors | None = None) -> None:
        settings = engine.settings
        self.id = f"w-{socket.gethostname()[:20]}-{os.getpid()}-{uuid4().hex[:6]}"
        self._engine = engine
        self._executors = executors or build(step_settings(settings))
        self._executors.serve(CHILD, Children(engine, self.after))
        #: What it can run; a step of another type waits for a worker that can.
        self.step_types = installed()
        self.lanes = Lanes(engine)
        #: Whether Postgres answers to the heartbeat.
        self._heard = True
        self.holdings = Holdings()
        self.acker = Acker({group.stream: group for group in self.lanes.groups})
        self.inline = Inline(self)
        self.committer = Committer(engine.ledger, self.after, self.inline)
        self.attempts = Attempts(self)
        self.admitter = Admitter(self)
        self.relay = Relay(engine.volatile, engine.streams, engine.names, self.lanes.names)
        self.rescuer = Rescuer(self)
        self._sweeper = Sweeper(
            engine.database, engine.ledger, engine.streams, self.lanes.groups, self.after, self.rescuer
        )
        self._feed = Feed(engine.volatile, engine.streams, engine.names)
        self._receipting = Receipting(engine.database, engine.plans, settings, self.committer.pressed)
        self._readers = list(self._make_readers())
        sources = [Source(lane.name, lane.group.stream, self.room_of(lane)) for lane in self.lanes]
        self._degraded = Degraded(
            engine.database, sources, self.attempts.take, lambda: self.relay.published, engine.streams.epoch
        )
        self._stopping = asyncio.Event()
        self._hurry = asyncio.Event()
        self.ready = asyncio.Event()
        self._errands = Errands()
        self._orders = Orders(engine, self.id, self.holdings, self._errands, self.relay.wake)
        #: Why a service ended that never should; raised once everything is handed back.
        self._failure: BaseException | None = None

    @property
    def engine(self) -> Engine:
        """What it works on."""
        return self._engine

    @property
    def executors(self) -> Executors:
        """The step types it can run."""
        return self._executors

    @property
    def stopping(self) -> bool:
        """Whether it takes no new work."""
        return self._stopping.is_set()

    def _make_readers(self) -> Iterable[Loop]:
        lease = self._engine.settings.lease
        for lane in self.lanes:
            room = self.room_of(lane)
            lost = self._sweeper.dispatches_lost
            yield Reader(lane.group, self.id, room, self.attempts.take, lost, partial(self.lanes.is_held, lane))
            yield Reclaimer(lane.group, self.id, lease, room, self.attempts.take)

    # -- life ----------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Work until stopped."""
        await self._register()
        loop = asyncio.get_running_loop()
        heartbeat = Heartbeat(
            self._engine.endpoints.database_url,
            self.id,
            self.holdings,
            self._engine.settings.lease,
            loop.call_soon_threadsafe,
        )
        heartbeat.on_renewed, heartbeat.on_drain = self._touch, self._stopping.set
        heartbeat.on_paused = self.hold
        heartbeat.on_answer = lambda answers: self.hear(answers=answers)
        fence = Fence(self.holdings, self._engine.settings.lease, loop.call_soon_threadsafe)
        heartbeat.start()
        fence.start()
        try:
            with protected_logs(self._executors.secrets.given):
                async with self._background():
                    self.ready.set()
                    await self._stopping.wait()
                    await self._drain()
        finally:
            fence.stop()
            heartbeat.stop()
            await self._executors.close()
            await self._unregister()
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """Stop taking work; a second call stops what is running as well."""
        if self._stopping.is_set():
            self._hurry.set()
        self._stopping.set()

    @asynccontextmanager
    async def _background(self) -> AsyncIterator[None]:
        """Run the loops; on leaving, the readers have stopped already."""
        loops: list[Loop] = [self.relay, self.admitter, self._sweeper, self._degraded, *self._readers]
        if self._engine.settings.publish_events:
            loops.append(self._feed)
        if self._engine.settings.receipts:
            loops.append(self._receipting)
        if self._engine.settings.incident_targets:
            targets = self._engine.settings.incident_targets
            loops.append(Telling(self._engine.database, step_settings(self._engine.settings), targets))
        services = [self.committer.run(), self.acker.run(), self._orders.run(), *(duty.run() for duty in loops)]
        tasks = [asyncio.create_task(service) for service in services]
        for task in tasks:
            task.add_done_callback(self._service_ended)
        try:
            yield
        finally:
            for duty in loops:
                duty.stop()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _service_ended(self, task: asyncio.Task[None]) -> None:
        """A service never ends by itself: if one does, the worker cannot do its work and leaves it to others."""
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a service of the worker failed; it stops", exc_info=error)
            self._failure = self._failure or error
            self.stop()

    async def _drain(self) -> None:
        log.info("stopping: %d attempts are running", len(self.holdings))
        for reader in self._readers:
            reader.stop()
        await self.lanes.close()
        await self._settled(self._engine.settings.grace.total_seconds(), hurry=self._hurry)
        for held in self.holdings.all():
            held.interrupt(Stop.DRAIN)
        await self._settled(self._engine.settings.kill_grace.total_seconds() + 5)
        with suppress(TimeoutError, StreamError, BackendError):
            async with asyncio.timeout(10):
                await self.committer.drained()
                await self.acker.flush()
                await self.admitter.run_once()
                await self.relay.run_once()
                if self._engine.settings.receipts:
                    await self._receipting.run_once()
        log.info("stopped: %d attempts are left to their leases", len(self.holdings))

    async def _settled(self, seconds: float, hurry: asyncio.Event | None = None) -> None:
        """Wait until nothing is held, for a time, or until told to hurry."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while len(self.holdings) and not (hurry is not None and hurry.is_set()):
                    await self.attempts.one_ended(0.1)

    # -- room ----------------------------------------------------------------------------------------------

    def room(self) -> int:
        """Return how many more attempts can start here: none while nothing could be claimed."""
        settings = self._engine.settings
        taken = len(self.holdings) + self.attempts.claiming + self.admitter.reserved + self.rescuer.reserved
        return 0 if self.stopping or not self._heard else settings.concurrency - taken

    def python_room(self) -> int:
        """Return how many more python steps can start here."""
        promised = self.attempts.claiming_python + self.rescuer.reserved_python
        python = self._engine.settings.python_processes - self.holdings.python - promised
        return min(python, self.room())

    def room_of(self, lane: Lane) -> Callable[[], int]:
        """Return what says how many more steps of a lane can start here."""
        room = self.python_room if lane.python else self.room
        return lambda: 0 if self.lanes.is_held(lane) else room()

    def lanes_with_room(self, *, python: bool) -> frozenset[str]:
        """Return the lanes in which this worker can go on with a successor of an attempt that is ending."""
        return frozenset() if self.stopping else self.lanes.open(python=python)

    def hold(self, queues: frozenset[str]) -> None:
        """Take nothing from some queues until told otherwise; what runs goes on, what follows it is dispatched."""
        if queues == self.lanes.paused:
            return
        mine = sorted(queues & frozenset(self._engine.settings.queues))
        log.info("paused queues: %s", ", ".join(mine) or "none")
        self.lanes.hold(queues)
        for reader in self._readers:
            # Reclaimers too: what a read brought after the pause lies where they look.
            reader.nudge()

    def hear(self, *, answers: bool) -> None:
        """Take nothing while Postgres is silent here: others may reach it, and what is read here is not read there."""
        self._heard = answers
        if answers:
            self.freed()

    def freed(self) -> None:
        """Tell the readers that there is room again."""
        for reader in self._readers:
            # Only readers wait for room; a reclaimer that was nudged would look at what is pending every time.
            if isinstance(reader, Reader):
                reader.nudge()

    # -- telling others ------------------------------------------------------------------------------------

    def after(self, consequences: Consequences) -> None:
        """Do what a commit means for the outside: publish, stop attempts."""
        if consequences.spans:
            self._engine.tracer.ended(consequences.spans)
        if consequences.dispatched:
            self.relay.nudge()
        if consequences.freed:
            self.admitter.free(consequences.freed)
        if consequences.alarm is not None and consequences.alarm < self._sweeper.pause:
            asyncio.get_running_loop().call_later(max(consequences.alarm, 0), self._sweeper.nudge)
        self._orders.give(consequences.stops)

    def _touch(self, renewed: Iterable[Held]) -> None:
        """Keep from others what the heartbeat has just renewed."""
        self._errands.send(self.lanes.touch(self.id, renewed))

    # -- register ------------------------------------------------------------------------------------------

    async def _register(self) -> None:
        settings, now = self._engine.settings, datetime.now(UTC)
        row = workers.WorkerRow(
            id=self.id,
            host=socket.gethostname(),
            pid=os.getpid(),
            version=__version__,
            queues=settings.queues,
            step_types=tuple(sorted(self.step_types)),
            concurrency=settings.concurrency,
            lease=settings.lease,
            status="active",
            started_at=now,
            seen_at=now,
            python_processes=settings.python_processes,
        )
        async with self._engine.database.connection() as connection:
            await workers.register(connection, row)
            self.hold(frozenset(await pauses.queues(connection)))
        with suppress(StreamError):
            await self.lanes.ensure()
            await self._check_eviction()

    async def _check_eviction(self) -> None:
        """Say loudly that the stream server may throw away what it was given; nothing is lost by it but time."""
        policy = await self._engine.streams.check_eviction_policy()
        if not policy.safe:
            log.warning(
                "the stream server evicts streams when its memory is full (maxmemory-policy %s): steps would wait for "
                "another dispatch; set maxmemory-policy to noeviction",
                policy.policy,
            )

    async def _unregister(self) -> None:
        """Say goodbye, if anybody hears it: a worker that leaves waits for no server."""
        with suppress(BackendError, TimeoutError):
            async with asyncio.timeout(3), self._engine.database.connection() as connection:
                await workers.set_status(connection, [self.id], "stopped")
        with suppress(StreamError, TimeoutError):
            async with asyncio.timeout(3):
                await self.lanes.retire(self.id)
