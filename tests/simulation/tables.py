"""What Postgres holds in a simulation, what one transaction would change of it, and who waits for whose lock.

The rules are those of READ COMMITTED: a statement sees what is committed, and its own transaction's writes; whoever
wants a row that another transaction has written waits for its end, and then sees the row as it became.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias
from uuid import UUID

from psycopg import errors as pg

from flowforge.model.event import Event
from flowforge.model.state import RunState, StepState
from flowforge.store.outbox import Row

#: What can be locked: ("run", id), ("step", id, number), ("gate", id), ("outbox", id) …
Key: TypeAlias = "tuple[Any, ...]"


class Stored(NamedTuple):
    """A run with all its rows; `state.steps` are those of its steps."""

    state: RunState
    version_id: int
    gate_id: int | None
    workflow_id: int
    idempotency_key: str | None
    priority: int
    #: JSON texts.
    input: str
    outputs: Mapping[int, str | None]
    events: tuple[Event, ...]


class Change(NamedTuple):
    """What one decision changes of a run."""

    #: Without steps.
    state: RunState
    steps: Mapping[int, StepState]
    outputs: Mapping[int, str | None]
    events: tuple[Event, ...]

    def applied(self, run: Stored) -> Stored:
        """Return the run after it."""
        state = self.state._replace(steps={**run.state.steps, **self.steps}, loaded=None)
        return run._replace(state=state, outputs={**run.outputs, **self.outputs}, events=run.events + self.events)


@dataclass(slots=True)
class Tables:
    """What is committed."""

    runs: dict[UUID, Stored] = field(default_factory=dict)
    outbox: dict[int, Row] = field(default_factory=dict)
    #: By id: workflow, key, limit.
    gates: dict[int, tuple[int, str, int]] = field(default_factory=dict)
    epoch: str | None = None
    last_id: int = 0

    def next_id(self) -> int:
        """Take a number from the sequence, as ever outside any transaction."""
        self.last_id += 1
        return self.last_id


class Transaction:
    """One transaction, or one statement by itself."""

    def __init__(self, tables: Tables, locks: Locks, who: str) -> None:
        self.tables, self._locks, self.who = tables, locks, who
        self.held: set[Key] = set()
        self.waits_for: Key | None = None
        self.over = False
        self._changes: dict[UUID, list[Change]] = {}
        self._new: dict[UUID, Stored] = {}
        self._sent: dict[int, Row] = {}
        self._taken: set[int] = set()
        self.epoch: str | None = None

    # -- reading -------------------------------------------------------------------------------------------

    def run(self, run_id: UUID) -> Stored | None:
        """Return a run as this transaction sees it."""
        found = self._new.get(run_id) or self.tables.runs.get(run_id)
        if found is not None:
            for change in self._changes.get(run_id, ()):
                found = change.applied(found)
        return found

    def runs(self) -> Iterator[Stored]:
        """Return all runs as this transaction sees them."""
        for run_id in [*self.tables.runs, *self._new]:
            if (found := self.run(run_id)) is not None:
                yield found

    def outbox(self) -> list[int]:
        """Return the ids of the dispatches that this transaction sees, oldest first."""
        return [no for no in sorted([*self.tables.outbox, *self._sent]) if no not in self._taken]

    # -- writing -------------------------------------------------------------------------------------------

    def insert(self, run: Stored) -> None:
        """Insert a run."""
        self._new[run.state.id] = run

    def change(self, run_id: UUID, change: Change) -> None:
        """Change a run that is locked."""
        self._changes.setdefault(run_id, []).append(change)

    def send(self, row: Row) -> None:
        """Put a dispatch into the outbox."""
        self._sent[self.tables.next_id()] = row

    def take(self, no: int) -> Row:
        """Delete a dispatch."""
        self._taken.add(no)
        return self._sent.get(no) or self.tables.outbox[no]

    def commit(self) -> list[tuple[Stored | None, Stored]]:
        """Make everything visible at once; return the runs that changed, before and after."""
        changed: list[tuple[Stored | None, Stored]] = []
        for run_id in dict.fromkeys([*self._new, *self._changes]):
            before, after = self.tables.runs.get(run_id), self.run(run_id)
            assert after is not None
            changed.append((before, after))
        for _, after in changed:
            self.tables.runs[after.state.id] = after
        self.tables.outbox |= self._sent
        for no in self._taken:
            self.tables.outbox.pop(no, None)
        if self.epoch is not None:
            self.tables.epoch = self.epoch
        self.end()
        return changed

    def end(self) -> None:
        """Let go of everything."""
        self.over = True
        self._locks.release(self)

    # -- locks ---------------------------------------------------------------------------------------------

    async def lock(self, *keys: Key) -> None:
        """Lock rows, one after the other, waiting for whoever has them."""
        for key in keys:
            await self._locks.take(key, self)

    def try_lock(self, key: Key) -> bool:
        """Lock a row unless somebody has it: SKIP LOCKED."""
        return self._locks.try_take(key, self)


class Locks:
    """Row locks: one owner each, and a queue."""

    def __init__(self) -> None:
        self._owners: dict[Key, Transaction] = {}
        self._queues: dict[Key, deque[tuple[Transaction, asyncio.Future[None]]]] = {}

    def free(self, key: Key) -> bool:
        """Say whether nobody has a row."""
        return key not in self._owners

    def try_take(self, key: Key, asker: Transaction) -> bool:
        """Take a lock if that needs no waiting."""
        owner = self._owners.setdefault(key, asker)
        if owner is asker:
            asker.held.add(key)
        return owner is asker

    async def take(self, key: Key, asker: Transaction) -> None:
        """Take a lock, in turn; whoever closes a circle of waiters is refused."""
        if self.try_take(key, asker):
            return
        asker.waits_for = key
        if self._circle(asker):
            asker.waits_for = None
            raise pg.DeadlockDetected("deadlock detected")
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queues.setdefault(key, deque()).append((asker, turn))
        await turn
        asker.waits_for = None

    def _circle(self, asker: Transaction) -> bool:
        one: Transaction | None = asker
        seen: list[Transaction] = []
        while one is not None and one.waits_for is not None and one not in seen:
            seen.append(one)
            one = self._owners.get(one.waits_for)
        return one is asker

    def release(self, owner: Transaction) -> None:
        """Give everything of a transaction to those who wait."""
        for key in sorted(owner.held, key=str):
            del self._owners[key]
            queue = self._queues.get(key)
            while queue:
                following, turn = queue.popleft()
                if not following.over and not turn.done():
                    self._owners[key] = following
                    following.held.add(key)
                    turn.set_result(None)
                    break
        owner.held.clear()
