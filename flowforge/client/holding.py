"""The kill switches: holding a workflow, so that none of its new runs starts, or a queue, so that nobody takes from it.

Durable and on the record with who, why and when. Both say the same when they are asked twice. What runs already goes
on: stopping it is what `cancel` and `pause` of runs are for.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from flowforge.client.explaining import in_sets, with_streams
from flowforge.engine.engine import Engine
from flowforge.engine.entries import Consequences, Entry
from flowforge.engine.names import GROUP, lanes_of
from flowforge.errors import NotFound, StreamUnavailable
from flowforge.model.circumstances import StepGroup, Surroundings
from flowforge.model.diagnostics import closest
from flowforge.model.facts import Admitted
from flowforge.model.pausing import Held, Pause, QueueFacts, Queues
from flowforge.store import pauses, queues, workflows
from flowforge_streams.errors import StreamError
from flowforge_streams.letters import DeadLetter
from flowforge_streams.seam import Group

#: Runs that are let in at once when a workflow is let go; workers let in the others.
TOGETHER = 500


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
            hint = f"did you mean '{meant}'?" if meant else f"there are: {', '.join(sorted(known))}"
            raise NotFound(f"no step and no worker has a queue '{name}'", hint=hint)

    async def queues(self) -> Queues:
        """Return every queue with what lies in it, who serves it, and whether it is held."""
        async with self.engine.database.connection() as connection:
            names = sorted(await queues.known(connection) | set(self.engine.settings.queues))
            around, steps, _ = await in_sets(self.engine, connection)
        queued = [one for one in steps if one.status == "queued"]
        around = await with_streams(self.engine, around, [lane for name in names for lane in lanes_of(name)])
        letters = {name: await self._letters(name, around) for name in names}
        facts = [_queue(name, around, [one for one in queued if one.queue == name], letters[name]) for name in names]
        return Queues(tuple(facts), around.streams_down)

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

    async def _letters(self, queue: str, around: Surroundings) -> int | None:
        if around.streams_down is not None:
            return None
        try:
            return len(await self.dead_letters(queue))
        except StreamUnavailable:
            return None

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


def _queue(name: str, around: Surroundings, queued: list[StepGroup], dead_letters: int | None) -> QueueFacts:
    lanes = [around.lanes[lane] for lane in lanes_of(name) if lane in around.lanes]
    serving = around.serving(name)
    oldest = min((one.since for one in queued if one.since is not None), default=None)
    down = around.streams_down is not None
    return QueueFacts(
        name,
        sum(one.count for one in queued),
        sum(lane.outbox for lane in lanes),
        None if down else sum(lane.waiting or 0 for lane in lanes),
        None if down else sum(lane.pending or 0 for lane in lanes),
        None if oldest is None else around.now - oldest,
        len(serving),
        sum(worker.concurrency for worker in serving),
        sum(worker.taken for worker in serving),
        around.paused("queue", name),
        dead_letters,
    )
