"""Starting runs: accepted means committed.

A run without a gate is inserted as running, with its entry steps in the outbox. A run with a gate is inserted as
pending and admitted in the same transaction if there is room and nobody waits; otherwise it waits its turn. Where there
is a line, whoever made the room lets in who is first, and may begin with it at once; a start that did so would send it
through the stream. A run whose workflow is held waits too, until somebody lets that go. Starts that come together share
a transaction.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from psycopg import errors as pg

from flowforge.engine.entries import Consequences, Entry
from flowforge.engine.ledger import Ledger
from flowforge.engine.plans import PlannedVersion
from flowforge.engine.tracing import OFF, Tracer
from flowforge.errors import Conflict, GateFull
from flowforge.model import keys
from flowforge.model.decide import decide
from flowforge.model.facts import Admitted, CancelRequested, Created, DuplicatePrevented, Fact, Recorded
from flowforge.model.json import digest
from flowforge.model.plan import OnLimit
from flowforge.model.state import RunState
from flowforge.model.status import RunStatus
from flowforge.model.turn import Terms, Turn
from flowforge.store import gates, runs, transitions
from flowforge.store.database import Connection, Database

TRIES = 4


_newest_id = 0


def uuid7() -> UUID:
    """Return a UUID version 7 (RFC 9562, 6.2 method 2): ids of one process grow, so runs queue in their order."""
    global _newest_id  # noqa: PLW0603 - the order is the process's
    value = (time.time_ns() // 1_000_000 << 80) | int.from_bytes(os.urandom(10), "big")
    value = (value & ~(0xF << 76) & ~(0x3 << 62)) | (0x7 << 76) | (0x2 << 62)
    # The step stays within the random bits below the variant; a carry beyond them would take 2^61 ids a millisecond.
    _newest_id = value if value > _newest_id else _newest_id + 1 + int.from_bytes(os.urandom(4), "big")
    return UUID(int=_newest_id)


@dataclass(slots=True)
class Start:
    """A request to start a run; the input is checked already. Nobody changes one."""

    version: PlannedVersion
    #: JSON text and the value it was made from.
    text: str
    input: Any
    trigger: str = "api"
    idempotency_key: str | None = None
    labels: dict[str, str] | None = None
    priority: int = 0
    replay_of: UUID | None = None
    #: Who wanted a replay, and why.
    actor: str | None = None
    reason: str | None = None
    traceparent: str | None = None
    #: Run and number of the step that starts it.
    parent: tuple[UUID, int] | None = None
    #: What was recorded in another run, and is not executed again.
    recorded: Recorded | None = None
    run_id: UUID = field(default_factory=uuid7)


@dataclass(frozen=True, slots=True)
class Started:
    """The run that answers a start."""

    id: UUID
    #: The run existed already: its idempotency key was the same.
    duplicate: bool = False


class Starter:
    """Turns starts into committed runs."""

    def __init__(
        self,
        database: Database,
        ledger: Ledger,
        terms: Terms | None = None,
        tracer: Tracer = OFF,
        *,
        key_window: timedelta | None = None,
    ) -> None:
        self._database = database
        self._ledger = ledger
        self._terms = terms or Terms()
        self._tracer = tracer
        #: How long an idempotency key answers with the run that it started; None: for ever.
        self._key_window = key_window

    async def start(self, starts: Sequence[Start]) -> tuple[list[Started], Consequences]:
        """Commit runs for all starts, or raise; one answer each, in order."""
        if self._tracer.on:
            starts = [replace(one, traceparent=self._tracer.context_of(one.run_id)) for one in starts]
        for attempt in range(TRIES):
            try:
                return await self._transact(starts)
            except (pg.UniqueViolation, pg.DeadlockDetected, pg.SerializationFailure):
                # Another start with the same key, or the same gate, was quicker: look again.
                if attempt == TRIES - 1:
                    raise
                await asyncio.sleep(random.uniform(0, 0.01 * 2**attempt))  # noqa: S311 - jitter
        raise AssertionError  # pragma: no cover - the loop returns or raises

    async def _transact(self, starts: Sequence[Start]) -> tuple[list[Started], Consequences]:
        consequences = Consequences()
        # Without keys and gates there is one statement, which is a transaction of its own.
        alone = all(start.idempotency_key is None and start.version.plan.gate is None for start in starts)
        async with self._database.connection() as connection, nullcontext() if alone else connection.transaction():
            known = {} if alone else await self._known(connection, starts)
            answers, new = _split(starts, known)
            if new:
                await self._insert(connection, new, consequences)
        duplicates = [
            Entry(answer.id, DuplicatePrevented(start.idempotency_key))
            for start, answer in zip(starts, answers, strict=True)
            if answer.duplicate and start.idempotency_key
        ]
        await self._ledger.apply(duplicates)
        return answers, consequences

    async def _known(self, connection: Connection, starts: Sequence[Start]) -> dict[tuple[int, str], Any]:
        """Return the runs that already have one of the starts' idempotency keys."""
        keys: dict[int, list[str]] = {}
        for start in starts:
            if start.idempotency_key is not None:
                keys.setdefault(start.version.workflow_id, []).append(start.idempotency_key)
        known: dict[tuple[int, str], Any] = {}
        for workflow_id, wanted in keys.items():
            if self._key_window is not None:
                await runs.release_keys(connection, workflow_id, wanted, self._key_window)
            for key, row in (await runs.by_idempotency_key(connection, workflow_id, wanted)).items():
                known[workflow_id, key] = (row[1], row[2])
        return known

    async def _insert(self, connection: Connection, starts: Sequence[Start], consequences: Consequences) -> None:
        clock = self._ledger.clock
        now = clock.now()
        if now is None:
            asked = clock.asks()
            now = await runs.clock(connection)
            clock.see(now, asked)
        gate_ids, changed = await self._gates(connection, starts)
        first: dict[tuple[object, ...], Turn] = {}
        new: list[transitions.NewRun] = []
        for start, gate_id in zip(starts, gate_ids, strict=True):
            # The first decision depends on nothing else: runs of a batch share it.
            kind = (start.version.id, start.trigger, start.actor, start.reason, gate_id is not None)
            if start.recorded is not None:
                turn = self._first(start, now, gated=gate_id is not None)
            else:
                turn = first.get(kind) or first.setdefault(kind, self._first(start, now, gated=gate_id is not None))
            new.append(_new_run(start, turn, gate_id))
        held = await transitions.insert(connection, new)
        consequences.dispatched += sum(len(run.turn.dispatches) for run in new if run.id not in held)
        if held:
            # Accepted, and waiting until somebody lets their workflow go.
            waiting = [start for start in starts if start.run_id in held]
            await transitions.insert(
                connection, [_new_run(start, self._first(start, now, gated=True), None) for start in waiting]
            )
        gated = sorted({gate_id for gate_id in gate_ids if gate_id is not None})
        if gated:
            open_ = changed.union(await gates.without_line(connection, gated, [run.id for run in new]))
            if open_:
                await self._ledger.admit_within(connection, open_, consequences)

    def _first(self, start: Start, now: datetime, *, gated: bool) -> Turn:
        """Decide about a run that was accepted just now: without a gate it is running at once."""
        plan = start.version.plan
        status, steps = RunStatus.PENDING, len(plan.steps)
        turn = Turn(RunState(start.run_id, plan, status, 0, steps, {}, created_at=now), now, self._terms)
        facts: list[Fact] = [Created(start.trigger, start.actor, start.reason)]
        if start.recorded is not None:
            facts.append(start.recorded)
        decide(turn, facts if gated else [*facts, Admitted()])
        return turn

    async def _gates(self, connection: Connection, starts: Sequence[Start]) -> tuple[list[int | None], set[int]]:
        """Return the id of each start's gate, None for a workflow without a limit; and the gates whose limit is new."""
        ids: dict[tuple[int, str], int] = {}
        room: dict[int, int] = {}
        answer: list[int | None] = []
        changed: set[int] = set()
        for start in starts:
            gate = start.version.plan.gate
            if gate is None:
                answer.append(None)
                continue
            where = (start.version.workflow_id, gate_key(start))
            if where not in ids:
                found = await gates.ensure(connection, *where, gate.limit)
                ids[where] = found.id
                if found.changed:
                    changed.add(found.id)
            gate_id = ids[where]
            if gate.on_limit is OnLimit.REJECT:
                if gate_id not in room:
                    room[gate_id] = await gates.room(connection, gate_id)
                room[gate_id] -= 1
                if room[gate_id] < 0:
                    raise _full(start.version.plan.name, gate.limit)
            answer.append(gate_id)
        return answer, changed

    async def make_room(self, start: Start, actor: str) -> list[Entry]:
        """Return the cancellations that a workflow with `on_limit: cancel_oldest` wants before this start."""
        gate = start.version.plan.gate
        if gate is None or gate.on_limit is not OnLimit.CANCEL_OLDEST:
            return []
        async with self._database.transaction() as connection:
            if await self._known(connection, [start]):
                # A repeated start is answered by the run it made before, and needs no room.
                return []
            gate_id = (await gates.ensure(connection, start.version.workflow_id, gate_key(start), gate.limit)).id
            room = await gates.room(connection, gate_id)
            oldest = await gates.oldest(connection, gate_id, 1 - room) if room < 1 else []
        reason = f"makes room for {start.run_id} (on_limit: cancel_oldest)"
        return [Entry(run_id, CancelRequested(actor, reason)) for run_id in oldest]


def _full(name: str, limit: int) -> GateFull:
    return GateFull(
        f"workflow '{name}' has its {limit} runs active and is set to reject more",
        hint=f"wait for one to end: flowforge ps --workflow {name} --status running",
    )


def gate_key(start: Start) -> str:
    """Return the key of the gate that a start belongs to; its template sees the input."""
    gate = start.version.plan.gate
    if gate is None or gate.key is None:
        return ""
    value = gate.key.render({"input": start.input, "steps": {}, "run": {"id": str(start.run_id)}})
    return value if isinstance(value, str) else digest(value)


def _split(
    starts: Sequence[Start], known: dict[tuple[int, str], tuple[UUID, str | None]]
) -> tuple[list[Started], list[Start]]:
    """Answer starts whose key is known, and return those that need a run of their own."""
    answers: list[Started] = []
    new: list[Start] = []
    for start in starts:
        key = start.idempotency_key
        if key is None:
            answers.append(Started(start.run_id))
            new.append(start)
            continue
        where = (start.version.workflow_id, key)
        if where in known:
            run_id, other = known[where]
            if other is not None and other != digest(start.input):
                raise Conflict(
                    f"idempotency key '{key}' was used with another input, by run {run_id}",
                    hint="use a new key for a new request, or send the same input again",
                )
            answers.append(Started(run_id, duplicate=True))
            continue
        known[where] = (start.run_id, digest(start.input))
        answers.append(Started(start.run_id))
        new.append(start)
    return answers, new


def _new_run(start: Start, turn: Turn, gate_id: int | None) -> transitions.NewRun:
    key = start.idempotency_key
    return transitions.NewRun(
        start.run_id,
        turn,
        start.version.workflow_id,
        start.version.id,
        gate_id,
        start.text,
        start.trigger,
        start.priority,
        start.replay_of,
        key,
        None if key is None else digest(start.input),
        start.traceparent,
        start.parent,
        start.labels,
        _keys(start),
    )


def _keys(start: Start) -> tuple[tuple[str, str], ...]:
    """Return what the run is found by from its beginning."""
    declared = start.version.plan.search
    if not declared and not start.labels:
        return ()
    return (*keys.of_labels(start.labels), *keys.of_fields(declared, "input", start.input))
