"""One schedule from its start to its end: servers, workers, runs, faults, and what the watch says about it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import Any
from uuid import UUID

from flowforge.engine.entries import Consequences, Entry
from flowforge.engine.starting import Start
from flowforge.errors import BackendError, FlowforgeError
from flowforge.model.facts import Fact
from flowforge.model.state import StepState
from flowforge.model.status import RunStatus, StepStatus
from tests.simulation.faults import strike
from tests.simulation.fleet import LEASE, Entries, SimulatedEngine, SimulatedWorker, process
from tests.simulation.loop import Endless, VirtualLoop, run
from tests.simulation.network import Owner
from tests.simulation.outside import Outside
from tests.simulation.postgres import Server
from tests.simulation.schedule import OWN, Schedule
from tests.simulation.shapes import versions
from tests.simulation.tables import Stored
from tests.simulation.valkey import Streams
from tests.simulation.watching import Violation, Watch

#: Seconds until another worker takes the place of one that has died, and after which all must have come to rest.
REPLACED_AFTER, PATIENCE = 2.0, 1800.0


@dataclass(slots=True)
class Result:
    """What came of a schedule."""

    schedule: Schedule
    #: What is wrong, None when nothing is.
    wrong: str | None
    trace: list[str]
    overlaps: list[str]
    commits: int
    #: Seconds that have passed in it.
    took: float
    ends: dict[str, int] = field(default_factory=dict)


class World:
    """One schedule at work."""

    def __init__(self, schedule: Schedule, loop: VirtualLoop) -> None:
        self._schedule, self.loop = schedule, loop
        self._others: list[asyncio.Task[None]] = []
        self.chance = random.Random(f"{schedule.seed}:world")
        self._names: dict[UUID, str] = {}
        self.server: Server = Server(loop, self._committed)
        self.watch = Watch(self.server, loop.time, lambda run: self._names.get(run, str(run)), self._is_at_work)
        self.streams: Streams = Streams(loop, self.chance)
        self.outside = Outside(schedule.seed, self.watch.began)
        self._entries = Entries(self.streams)
        self._numbers = count(1)
        self.workers: list[SimulatedWorker] = []
        self._accepted = [asyncio.Event() for _ in schedule.runs]
        self._client = self._engine(Owner("client", schedule.seed, schedule.pace, [], self._kill))
        #: What was found wrong first.
        self.wrong: BaseException | None = None
        self._stopped = asyncio.Event()
        loop.on_task, loop.on_defect = self._made, self.defect

    def begin(self, work: Coroutine[Any, Any, None], what: str) -> None:
        """Let something go on beside everything else; what it raises ends the schedule."""
        task = self.loop.create_task(work)
        task.add_done_callback(partial(self._over, what))
        self._others.append(task)

    def _over(self, what: str, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self.defect(what, error)

    def defect(self, what: str, error: BaseException) -> None:
        """End the schedule because of an exception that nobody expects: it must not pass unseen."""
        self.wrong = self.wrong or Violation(f"{what}: {type(error).__name__}: {error}")
        self._stopped.set()

    def _committed(self, *what: object) -> None:
        self._checked(partial(self.watch.committed, *what))  # type: ignore[arg-type]

    def _checked(self, check: partial[None]) -> None:
        """Make a check; what it finds ends the schedule, and is not for the code that is being watched to handle."""
        try:
            check()
        except Violation as violation:
            self.wrong = self.wrong or violation
            self._stopped.set()

    def _is_at_work(self, run_id: UUID, row: StepState) -> bool:
        return any((one.run_id, one.no, one.token) == (run_id, row.no, row.token) for one in self.outside.at_work)

    @staticmethod
    def _made(task: asyncio.Task[object]) -> None:
        if (engine := process.get(None)) is not None:
            engine.owner.adopt(task)

    # -- processes -----------------------------------------------------------------------------------------

    def _engine(self, owner: Owner) -> SimulatedEngine:
        return SimulatedEngine(self.server, self.streams, owner, partial(self._acknowledged, owner))

    def _acknowledged(self, owner: Owner, stream: str, entry_ids: Sequence[str]) -> None:
        for entry_id in entry_ids:
            dispatch = self._entries.dispatch(stream, entry_id)
            if dispatch is not None:
                run_id, no, dispatch_no = dispatch
                worker = next(one for one in self.workers if one.owner is owner)
                elsewhere = worker.has_by_another(run_id, no, entry_id) or self._entries.repeated(stream, entry_id)
                self._checked(
                    partial(self.watch.acknowledged, owner.name, run_id, no, dispatch_no, elsewhere=elsewhere)
                )

    def _hire(self) -> None:
        number = next(self._numbers)
        own = [one for one in self._schedule.faults if one.kind in OWN and one.who == number - 1]
        owner = Owner(f"w{number}", self._schedule.seed, self._schedule.pace, own, self._kill)
        engine = self._engine(owner)
        worker = SimulatedWorker(engine, self.outside)
        self.workers.append(worker)
        token = process.set(engine)
        try:
            owner.adopt(asyncio.create_task(self._work(worker)))
        finally:
            process.reset(token)
        self.watch.say(f"{owner.name} starts")

    async def _work(self, worker: SimulatedWorker) -> None:
        try:
            await worker.run()
        except BackendError:
            self.watch.say(f"{worker.owner.name} could not register")
        except Exception as error:  # noqa: BLE001 - reported as what it is: a worker must not end by itself
            self.defect(f"{worker.owner.name} ended", error)
        else:
            self.watch.say(f"{worker.owner.name} has left")
        self._gone(worker.owner)

    def _kill(self, owner: Owner) -> None:
        """Let a process die where it is."""
        if owner.dead:
            return
        self.watch.say(f"{owner.name} dies at message {owner.messages}")
        tasks = list(owner.tasks)
        self._gone(owner)
        for task in tasks:
            task.cancel()

    def _gone(self, owner: Owner) -> None:
        if owner.dead:
            return
        owner.dead = True
        self.outside.died(owner)
        if owner.name != "client" and self._alive() < self._schedule.workers:
            self.loop.call_later(REPLACED_AFTER, self._hire)

    def _alive(self) -> int:
        return sum(not one.owner.dead for one in self.workers)

    # -- runs ----------------------------------------------------------------------------------------------

    async def _start_all(self) -> None:
        for number, shape in enumerate(self._schedule.runs):
            run_id = _run_id(number)
            self._names[run_id] = f"run {number} ({shape})"
            start = Start(versions()[shape], "{}", {}, run_id=run_id, idempotency_key=f"k{number}")
            await _insist(partial(self._start, start))
            self._accepted[number].set()

    async def _start(self, start: Start) -> None:
        _, consequences = await self._client.starter.start([start])
        await self._tell(consequences)

    async def ask(self, number: int, fact: Fact) -> None:
        """Ask something of a run, as an operator does, as soon as it exists."""
        number %= len(self._accepted)

        async def apply() -> None:
            _, consequences = await self._client.ledger.apply([Entry(_run_id(number), fact)])
            await self._tell(consequences)

        await self._accepted[number].wait()
        self.watch.say(f"somebody asks of run {number}: {type(fact).__name__}")
        await _insist(apply)

    async def _tell(self, consequences: Consequences) -> None:
        if consequences.dispatched:
            await self._client.streams.signals.publish(self._client.names.wake)

    # -- life ----------------------------------------------------------------------------------------------

    async def live(self) -> None:
        """Start everything, let things go wrong, and wait until all has come to rest."""
        for _ in range(self._schedule.workers):
            self._hire()
        timed = [fault for fault in self._schedule.faults if fault.kind not in OWN]
        for fault in timed:
            self.loop.call_later(fault.at / 1000, strike, self, fault)
        self.begin(self._start_all(), "starting")
        last = max((fault.at / 1000 + fault.much for fault in timed), default=0.0)
        await self._pass(last)
        end = self.loop.time() + PATIENCE
        while self.wrong is None and self.loop.time() < end and not self._at_rest():
            await self._pass(1.0)
        if self.wrong is None:
            await self._pass(LEASE.total_seconds())
        if self.wrong is None:
            self._checked(partial(self.watch.at_rest, self.outside.calls, self.streams.left()))

    async def _pass(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopped.wait()

    def _at_rest(self) -> bool:
        tables = self.server.tables
        over = all(run.state.status.final for run in tables.runs.values()) and all(one.done() for one in self._others)
        return over and not tables.outbox and not self.streams.left() and not self.outside.at_work


async def _insist(what: Callable[[], Awaitable[None]]) -> None:
    """Do something again until the servers have taken it."""
    while True:
        try:
            await what()
        except BackendError:
            await asyncio.sleep(0.5)
        else:
            return


def _run_id(number: int) -> UUID:
    return UUID(int=(7 << 76) | (1 << 63) | (number + 1))


def _end(run: Stored) -> str:
    """Return how a run has ended; one that has failed and was undone has done what it was for."""
    undone = any(step.status is StepStatus.COMPENSATED for step in run.state.steps.values())
    return "undone" if undone and run.state.status is RunStatus.FAILED else run.state.status.value


def simulate(schedule: Schedule) -> Result:
    """Run a schedule; the simulation's patches have to be in place (patches.simulated)."""
    loop = VirtualLoop()
    kept = random.getstate()
    random.seed(schedule.seed)
    wrong: str | None = None
    asyncio.set_event_loop(loop)
    world = World(schedule, loop)
    began = loop.time()
    try:
        run(world.live(), loop)
    except (Endless, FlowforgeError) as error:
        wrong = f"{type(error).__name__}: {error}"
    finally:
        random.setstate(kept)
    runs = [_end(one) for one in world.server.tables.runs.values()]
    return Result(
        schedule,
        str(world.wrong) if world.wrong is not None else wrong,
        world.watch.lines(),
        world.watch.overlaps,
        world.watch.commits,
        loop.time() - began,
        {status: runs.count(status) for status in sorted(set(runs))},
    )
