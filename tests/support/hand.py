"""A worker played by hand: claims and settles through the ledger, one fact at a time, without Redis."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from flowforge.client import publishing
from flowforge.engine.engine import Engine
from flowforge.engine.entries import Applied, Entry
from flowforge.engine.plans import PlannedVersion
from flowforge.engine.starting import Start
from flowforge.model.facts import CancelRequested, Claimed, Fact, RetryRequested, Settled, Woke
from flowforge.model.json import encode
from flowforge.model.outcome import Completed, Expanded, Failed, Outcome, StepError, Waiting

LEASE = timedelta(seconds=30)


class Hand:
    """Drives runs of one engine as the worker *name*."""

    def __init__(self, engine: Engine, name: str = "hand", lease: timedelta = LEASE) -> None:
        self.engine, self.name, self.lease = engine, name, lease

    # -- starting ------------------------------------------------------------------------------------------

    async def publish(self, definition: Any) -> PlannedVersion:
        """Publish a definition; return it compiled."""
        return await publishing.planned(self.engine, definition)

    async def request(self, definition: Any, value: Any = None, **more: Any) -> Start:
        """Make the request of a run."""
        value = {} if value is None else value
        return Start(await self.publish(definition), encode(value), value, **more)

    async def start(self, definition: Any, value: Any = None, **more: Any) -> UUID:
        """Start one run."""
        started, _ = await self.engine.starter.start([await self.request(definition, value, **more)])
        return started[0].id

    async def start_many(self, definition: Any, count: int, value: Any = None) -> list[UUID]:
        """Start runs in one transaction."""
        requests = [await self.request(definition, value) for _ in range(count)]
        started, _ = await self.engine.starter.start(requests)
        return [one.id for one in started]

    # -- facts ---------------------------------------------------------------------------------------------

    async def apply(self, run_id: UUID, fact: Fact) -> Applied:
        """Apply one fact."""
        (applied,), _ = await self.engine.ledger.apply([Entry(run_id, fact)])
        return applied

    async def claiming(self, run_id: UUID, step: str | int, *, dispatch_no: int | None = None, **how: bool) -> Entry:
        """Make the claim of a step's newest dispatch, or of another one."""
        no = step if isinstance(step, int) else await self._number(run_id, step)
        if dispatch_no is None:
            async with self.engine.database.connection() as connection:
                query = "SELECT dispatch_no FROM steps WHERE run_id = %s AND step_no = %s"
                row = await (await connection.execute(query, (run_id, no))).fetchone()
                dispatch_no = row[0] if row else 1
        return Entry(run_id, Claimed(no, dispatch_no, self.name, self.lease, **how))

    async def claim(self, run_id: UUID, step: str | int, **how: Any) -> Applied:
        """Claim a step."""
        (applied,), _ = await self.engine.ledger.apply([await self.claiming(run_id, step, **how)])
        return applied

    def settling(
        self,
        claimed: Applied,
        outcome: Outcome,
        *,
        lanes: Sequence[str] = (),
        token: int | None = None,
        repeated: bool = False,
    ) -> Entry:
        """Make the settlement of a granted attempt."""
        assignment = claimed.assignment
        assert assignment is not None, f"not granted: {claimed.answer}"
        text = encode(outcome.output) if isinstance(outcome, Completed | Expanded | Waiting) else None
        fact = Settled(
            step=assignment.step.no,
            token=assignment.token if token is None else token,
            worker=self.name,
            lease=self.lease,
            outcome=outcome,
            output=text,
            lanes=frozenset(lanes),
            repeated=repeated,
        )
        return Entry(assignment.run_id, fact, claimed.plan)

    async def settle(self, claimed: Applied, outcome: Outcome, **how: Any) -> Applied:
        """Settle a granted attempt."""
        (applied,), _ = await self.engine.ledger.apply([self.settling(claimed, outcome, **how)])
        return applied

    async def complete(
        self, run_id: UUID, step: str | int, output: Any = None, *, branch: str | None = None
    ) -> Applied:
        """Claim a step and settle it as completed."""
        return await self.settle(await self.claim(run_id, step), Completed(output, branch))

    async def fail(self, run_id: UUID, step: str | int, *, retryable: bool = False) -> Applied:
        """Claim a step and settle it as failed."""
        return await self.settle(await self.claim(run_id, step), Failed(error(retryable=retryable)))

    async def cancel(self, run_id: UUID) -> Applied:
        """Ask a run to stop."""
        return await self.apply(run_id, CancelRequested("tester"))

    async def retry(self, run_id: UUID, from_step: int | None = None) -> Applied:
        """Let a finished run go on."""
        return await self.apply(run_id, RetryRequested("tester", None, from_step))

    async def wake(self, run_id: UUID, **how: Any) -> Applied:
        """Let the sweeper look at a run."""
        return await self.apply(run_id, Woke(**how))

    async def queued(self, run_id: UUID) -> list[int]:
        """Return the numbers of a run's queued steps."""
        async with self.engine.database.connection() as connection:
            query = "SELECT step_no FROM steps WHERE run_id = %s AND status = 'queued' ORDER BY step_no"
            return [row[0] for row in await (await connection.execute(query, (run_id,))).fetchall()]

    async def finish(self, run_id: UUID, output: Any = None) -> None:
        """Complete whatever is queued, until nothing is."""
        while numbers := await self.queued(run_id):
            for no in numbers:
                await self.complete(run_id, no, output)

    async def _number(self, run_id: UUID, step: str) -> int:
        async with self.engine.database.connection() as connection:
            query = "SELECT version_id FROM runs WHERE id = %s"
            row = await (await connection.execute(query, (run_id,))).fetchone()
            assert row is not None, f"there is no run {run_id}"
            number = (await self.engine.plans.get(connection, row[0])).plan.find(step)
        assert number is not None, f"run {run_id} has no step {step}"
        return number


def error(code: str = "TEST", message: str = "it was meant to fail", *, retryable: bool = False) -> StepError:
    """Make an error."""
    return StepError(code=code, message=message, retryable=retryable)
