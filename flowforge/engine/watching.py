"""The watch over work on its way: what somebody should have done by now, in the outbox, the rows and the streams.

    look ─▶ suspects ─▶ look again ─▶ those that are left ─▶ … ─▶ findings
                            ▲                │
                            └── a second ────┘   while somebody may be about to do it

Dispatches are published after their commit, room is given after it was made, a worker that dies or leaves hands on
what it had: at any moment something is between two of these. So nothing is a finding that is gone a moment later, and
while a worker was seen lately, who may be at it or be followed by another, what is left is given its time. Where
nobody was, waiting tells nothing. Streams are read before Postgres: what a delivery is about was committed before it
was published, so its row can only be further than it, never behind. Invariant: what is found is there at rest, too.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Hashable
from typing import TYPE_CHECKING, NamedTuple

from flowforge.engine.gate_audit import audit_gates
from flowforge.engine.names import Names, lanes_of
from flowforge.engine.plans import Plans
from flowforge.engine.stream_audit import Carried, audit_streams
from flowforge.errors import FlowforgeError
from flowforge.model.audit import Violation
from flowforge.model.explanation import clock, rough
from flowforge.store import passing, pauses, workers
from flowforge.store.database import Connection
from flowforge.store.passing import Overdue
from flowforge_streams.errors import StreamError

if TYPE_CHECKING:
    from flowforge.model.plan import StepPlan
    from flowforge_streams.redis_log import RedisLog

#: What may be on its way at any moment.
PASSING = frozenset(
    {
        *("outbox.stale", "outbox.late", "lease.over", "timer.late", "step.unclaimed", "gate.idle", "receipt.due"),
        *("stream.pending", "stream.group"),
    }
)
#: Seconds between two looks, and for which what is left is given its time at least.
AGAIN_AFTER, LEAST = 1.0, 10.0
#: Seconds without any receipt after which those that are due have nobody who makes them: work that waits goes first,
#: and receipts take a twentieth of the time then (receipting.py).
RECEIPTS_STAND = 180.0

_WHAT = {
    "running": ("lease.over", "is running on {worker}, and its lease ended"),
    "waiting": ("timer.late", "is waiting, and was due"),
    "queued": ("step.unclaimed", "is queued, and should have been taken"),
}


class Terms(NamedTuple):
    """What a watch goes by."""

    #: Seconds that what is on its way may take.
    patience: float = 30.0
    #: Seconds for which a worker keeps what it had when it dies.
    lease: float = 30.0
    #: Ended runs must have receipts.
    receipts: bool = True


class Watch:
    """Looks at what is on its way, as often as it takes."""

    def __init__(
        self,
        connection: Connection,
        streams: RedisLog | None,
        plans: Plans,
        names: Names,
        terms: Terms,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._connection, self._streams, self._plans, self._names = connection, streams, plans, names
        self._terms, self._pause = terms, pause
        #: Why the streams could not be looked into, once they could not.
        self.streams_failed: StreamError | None = None

    async def confirmed(self) -> list[Violation]:
        """Return what is wrong, and is still so when whoever may be about to do it has had the time."""
        found = await self.look()
        certain = [one for one in found if one.kind not in PASSING]
        suspects = [one for one in found if one.kind in PASSING]
        looks = math.ceil(max(LEAST, self._terms.lease) / AGAIN_AFTER)
        while suspects and looks > 0:
            await self._pause(AGAIN_AFTER)
            still = {_key(one): one for one in await self.look()}
            suspects = [still[_key(one)] for one in suspects if _key(one) in still]
            looks = looks - 1 if await self._somebody() else 0
        return certain + suspects

    async def look(self) -> list[Violation]:
        """Return what is on its way and should not be, at one moment."""
        carried, found = await self._streamed()
        found += await self._dispatches()
        found += await self._overdue(carried)
        found += await audit_gates(self._connection, self._plans)
        if self._terms.receipts:
            found += await self._receipts()
        return found

    async def _somebody(self) -> bool:
        return await passing.seen_within(self._connection, self._terms.patience)

    async def _streamed(self) -> tuple[Carried | None, list[Violation]]:
        if self._streams is None or self.streams_failed is not None:
            return None, []
        try:
            return await audit_streams(self._connection, self._streams, self._names, patience=self._terms.patience)
        except StreamError as error:
            self.streams_failed = error
            return None, []

    async def _dispatches(self) -> list[Violation]:
        found = []
        for row in await passing.stale(self._connection):
            what = "has no row" if row["status"] is None else f"is {row['status']}, at dispatch {row['newest']}"
            detail = f"dispatch {row['dispatch_no']} is in the outbox, and its step {what}"
            found.append(Violation("outbox.stale", detail, row["run_id"], (row["lane"], row["id"])))
        for row in await passing.late(self._connection, self._terms.patience):
            detail = f"a dispatch of {clock(row['queued_at'])} for lane {row['lane']} is in the outbox"
            found.append(Violation("outbox.late", detail, row["run_id"], row["lane"]))
        return found

    async def _overdue(self, carried: Carried | None) -> list[Violation]:
        rows = await passing.overdue(self._connection, self._terms.patience)
        if not rows:
            return []
        held = set(await pauses.queues(self._connection))
        alive = [one for one in await workers.all_workers(self._connection) if one.status == "active"]
        served = {queue for one in alive for queue in one.queues}
        found = []
        for row in rows:
            step = await self._step(row)
            if step is not None and row.status == "queued" and _may_wait(row, step, held, served, carried):
                continue
            kind, what = _WHAT[row.status]
            detail = f"{_name(row, step)} {what.format(worker=row.worker)} {rough(row.now - row.due_at)} ago"
            said, name = f"{detail}, at {clock(row.due_at)}", None if step is None else step.id
            found.append(Violation(kind, said, row.run_id, row.step_no, name))
        return found

    async def _step(self, row: Overdue) -> StepPlan | None:
        """Return what a step is; None where the audit of its run will say why that is not known."""
        try:
            return (await self._plans.get(self._connection, row.version_id)).plan.steps[row.step_no]
        except (FlowforgeError, LookupError):
            return None

    async def _receipts(self) -> list[Violation]:
        rows = await passing.without_receipt(self._connection, self._terms.patience)
        if not rows:
            return []
        stands = await passing.line_stands(self._connection, RECEIPTS_STAND)
        return [
            Violation("receipt.due", f"it ended at {clock(row['finished_at'])} and has no receipt of that", row["id"])
            for row in rows
            if stands or not row["in_line"]
        ]


def _key(one: Violation) -> Hashable:
    return one.kind, one.run, one.about


def _name(row: Overdue, step: StepPlan | None) -> str:
    name = f"number {row.step_no}" if step is None else f"'{step.id}'"
    return f"step {name} (attempt {row.attempt})" if row.attempt else f"step {name} (not tried yet)"


def _may_wait(row: Overdue, step: StepPlan, held: set[str], served: set[str], carried: Carried | None) -> bool:
    """Say whether a queued step only waits until its queue is let go, or a worker comes, who finds its dispatch."""
    if step.queue in held or step.queue in served:
        return step.queue in held
    return row.unpublished or (carried is not None and not carried.isdisjoint(lanes_of(step.queue)))
