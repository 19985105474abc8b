"""The kill switches: holding a workflow, so that none of its new runs starts, or a queue, so that nobody takes from it.

Durable and on the record with who, why and when. Both say the same when they are asked twice. What runs already goes
on: stopping it is what `cancel` and `pause` of runs are for.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import replace

from flowforge.client.explaining import in_sets
from flowforge.client.lanes import dead_letters, with_streams
from flowforge.client.portions import cut
from flowforge.engine.engine import Engine
from flowforge.engine.entries import Consequences, Entry
from flowforge.engine.names import GROUP, lanes_of
from flowforge.errors import NotFound, StreamUnavailable
from flowforge.model.circumstances import LaneFacts, StepGroup, Surroundings, WorkerFacts
from flowforge.model.diagnostics import closest
from flowforge.model.facts import Admitted
from flowforge.model.pausing import Held, Pause, QueueFacts, Queues
from flowforge.store import pauses, queues, workflows
from flowforge_streams.errors import StreamError
from flowforge_streams.letters import DeadLetter
from flowforge_streams.seam import Group

#: Runs that are let in at once when a workflow is let go; workers let in the others.
TOGETHER = 500
#: Queues that are named to whoever asks for one that is not there.
MOST_NAMED = 20


class Holding(ABC):
    """The kill switches; a part of the client."""

    @property
    @abstractmethod
    def engine(self) -> Engine:
        """What it works with."""

    @abstractmethod
    def actor(self) -> str:
        """Who is acting, for the record."""

    # -- workflows -----------------------------------------------------------------------------------------

    async def pause_workflow(self, name: str, *, reason: str | None = None) -> Held:
        """Let no new run of a workflow start until it is resumed: starts are accepted, and wait; what runs goes on."""
        await self._known_workflow(name)
        return await self._pause("workflow", name, reason)

    async def resume_workflow(self, name: str, *, reason: str | None = None) -> Held:
        """Let the runs of a workflow start again, and those that waited for it."""
        await self._known_workflow(name)
        held = await self._resume("workflow", name, reason)
        waiting = 0
        if held.changed:
            async with self.engine.database.connection() as connection:
                gate_ids = await pauses.gates_of(connection, name)
                released = await pauses.released(connection, TOGETHER)
            consequences = Consequences()
            if gate_ids:
                await self.engine.ledger.admit(gate_ids, consequences)
            if released:
                _, more = await self.engine.ledger.apply([Entry(run_id, Admitted()) for run_id in released])
                consequences.add(more)
            waiting = len(released)
            if consequences.dispatched:
                await self.engine.streams.signals.publish(self.engine.names.wake)
        return Held("workflow", name, held.paused, held.changed, held.pause, waiting)

    async def _known_workflow(self, name: str) -> None:
        async with self.engine.database.connection() as connection:
            names = await workflows.names(connection)
        if name not in names:
            meant = closest(name, names)
            hint = f"did you mean '{meant}'?" if meant else "flowforge workflow ls"
            raise NotFound(f"there is no workflow '{name}'", hint=hint)

    # -- queues --------------------------------------------------------------------------------------------

    async def pause_queue(self, name: str, *, reason: str | None = None) -> Held:
        """Let no worker take from a queue until it is resumed; workers hear of it with their next heartbeat."""
        await self._known_queue(name)
        return await self._pause("queue", name, reason)

    async def resume_queue(self, name: str, *, reason: str | None = None) -> Held:
        """Let workers take from a queue again."""
        await self._known_queue(name)
        return await self._resume("queue", name, reason)

    async def _known_queue(self, name: str) -> None:
        """Raise NotFound for a queue that neither a worker, nor a step, nor a pause has ever named."""
        async with self.engine.database.connection() as connection:
            known = await queues.known(connection)
        known |= set(self.engine.settings.queues)
        if name not in known:
            meant = closest(name, sorted(known))
            more = f" and {len(known) - MOST_NAMED:,} more: flowforge queue ls" if len(known) > MOST_NAMED else ""
            there = f"there are: {', '.join(sorted(known)[:MOST_NAMED])}{more}"
            hint = f"did you mean '{meant}'?" if meant else there
            raise NotFound(f"no step and no worker has a queue '{name}'", hint=hint)

    async def queues(self) -> Queues:
        """Return every queue with what lies in it, who serves it, and whether it is held."""
        parts = [part async for part in self.queue_parts()]
        return Queues(tuple(one for part in parts for one in part.queues), parts[-1].streams_down)

    async def queue_parts(self) -> AsyncIterator[Queues]:
        """Yield what `queues` returns, by name, some hundred at a time; once Redis is down it is not asked again."""
        async with self.engine.database.connection() as connection:
            names = sorted(await queues.known(connection) | set(self.engine.settings.queues))
            around, steps, _ = await in_sets(self.engine, connection)
        standing, down = _Standing(around, steps), None
        for some in cut(names):
            lanes = [lane for name in some for lane in lanes_of(name)]
            here = {lane: around.lanes[lane] for lane in lanes if lane in around.lanes}
            letters: dict[str, int] = {}
            if down is None:
                found = await with_streams(self.engine, replace(around, lanes=here), lanes)
                here, down = dict(found.lanes), found.streams_down
            if down is None:
                try:
                    letters = await dead_letters(self.engine, lanes)
                except StreamError as error:
                    down = str(error)
            facts = [standing.queue(name, here, None if down else letters.get(name, 0)) for name in some]
            yield Queues(tuple(facts), down)

    async def dead_letters(self, queue: str = "default", *, limit: int = 100) -> list[DeadLetter]:
        """Return the messages of a queue that nobody could use, the newest first; StreamUnavailable without Redis."""
        await self._known_queue(queue)
        found: list[DeadLetter] = []
        for lane in lanes_of(queue):
            group = self._group(lane)
            try:
                found += await group.dead(limit)
            except StreamError as error:
                raise StreamUnavailable(f"Redis cannot be reached: {error}", hint="flowforge status") from error
            finally:
                await group.close()
        return sorted(found, key=lambda letter: letter.buried_at, reverse=True)[:limit]

    def _group(self, lane: str) -> Group:
        return self.engine.streams.group(self.engine.names.lane(lane), GROUP)

    # -- both ----------------------------------------------------------------------------------------------

    async def pauses(self) -> list[Pause]:
        """Return everything that is held, the longest first."""
        async with self.engine.database.connection() as connection:
            return await pauses.present(connection)

    async def pause_history(self, kind: str, name: str) -> list[Pause]:
        """Return who held a workflow or a queue, and let it go, the newest first."""
        async with self.engine.database.connection() as connection:
            return await pauses.history(connection, kind, name)

    async def _pause(self, kind: str, name: str, reason: str | None) -> Held:
        async with self.engine.database.connection() as connection:
            changed = await pauses.pause(connection, kind, name, self.actor(), reason)
            (now, *_) = await pauses.history(connection, kind, name, 1)
        return Held(kind, name, now.resumed_at is None, changed, now)

    async def _resume(self, kind: str, name: str, reason: str | None) -> Held:
        async with self.engine.database.connection() as connection:
            ended = await pauses.resume(connection, kind, name, self.actor(), reason)
            last = ended or next(iter(await pauses.history(connection, kind, name, 1)), None)
        return Held(kind, name, paused=False, changed=ended is not None, pause=last)


class _Standing:
    """What the database knows of queues, by their names: there may be as many as there are workers."""

    def __init__(self, around: Surroundings, steps: Iterable[StepGroup]) -> None:
        self._now = around.now
        self._held = {one.name: one for one in around.pauses if one.kind == "queue"}
        self._serving: dict[str, list[WorkerFacts]] = defaultdict(list)
        for worker in around.workers:
            for queue in dict.fromkeys(worker.queues) if worker.status == "active" else ():
                self._serving[queue].append(worker)
        self._queued: dict[str, list[StepGroup]] = defaultdict(list)
        for one in steps:
            if one.status == "queued":
                self._queued[one.queue].append(one)

    def queue(self, name: str, lanes: Mapping[str, LaneFacts], dead_letters: int | None) -> QueueFacts:
        """Return how a queue stands; without a number of dead letters, Redis is down."""
        mine = [lanes[lane] for lane in lanes_of(name) if lane in lanes]
        serving, queued = self._serving.get(name, ()), self._queued.get(name, ())
        oldest = min((one.since for one in queued if one.since is not None), default=None)
        down = dead_letters is None
        return QueueFacts(
            name,
            sum(one.count for one in queued),
            sum(lane.outbox for lane in mine),
            None if down else sum(lane.waiting or 0 for lane in mine),
            None if down else sum(lane.pending or 0 for lane in mine),
            None if oldest is None else self._now - oldest,
            len(serving),
            sum(worker.concurrency for worker in serving),
            sum(worker.taken for worker in serving),
            self._held.get(name),
            dead_letters,
        )
