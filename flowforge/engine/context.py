"""The context of an attempt: exactly what its step's expressions read, and nothing else.

What has to be read is asked for in the transaction that grants the attempt, so a settled output is seen by the
successor that is claimed with it. A context that reads nothing costs nothing.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from psycopg import AsyncCursor
from psycopg.rows import TupleRow

from flowforge.engine.plans import PlannedVersion
from flowforge.model.plan import Plan, StepPlan
from flowforge.model.state import StepState
from flowforge.steps.secrets import Secrets
from flowforge.store import runs, steps
from flowforge.store.database import Connection


class ContextLoader:
    """Collects what several attempts read, and reads it in one go."""

    def __init__(self) -> None:
        self._inputs: dict[UUID, Any] = {}
        self._wanted_inputs: set[UUID] = set()
        self._wanted_steps: set[steps.Key] = set()
        self._rows: dict[steps.Key, tuple[Any, dict[str, Any] | None, str]] = {}
        self._input_cursor: AsyncCursor[TupleRow] | None = None
        self._output_cursor: AsyncCursor[TupleRow] | None = None

    def want(self, run_id: UUID, step: StepPlan) -> None:
        """Note what a step's attempt reads."""
        self.want_for(run_id, step.reads_steps, reads_input=step.reads_input)

    def want_for(self, run_id: UUID, numbers: tuple[int, ...], *, reads_input: bool) -> None:
        """Note steps and input of a run to be read."""
        if reads_input:
            self._wanted_inputs.add(run_id)
        self._wanted_steps.update((run_id, no) for no in numbers)

    async def send(self, connection: Connection) -> None:
        """Ask for everything, as part of the caller's pipeline."""
        if self._wanted_inputs:
            self._input_cursor = await runs.inputs(connection, list(self._wanted_inputs))
        if self._wanted_steps:
            self._output_cursor = await steps.outputs(connection, list(self._wanted_steps))

    async def receive(self) -> None:
        """Take in the answers."""
        if self._input_cursor is not None:
            self._inputs = dict(await self._input_cursor.fetchall())
        if self._output_cursor is not None:
            for run_id, no, *row in await self._output_cursor.fetchall():
                self._rows[run_id, no] = (row[0], row[1], row[2])

    def context(self, row: runs.LockedRun, version: PlannedVersion, step: StepState) -> dict[str, Any]:
        """Build an attempt's context."""
        plan_step = version.plan.steps[step.no]
        context: dict[str, Any] = {
            "run": {
                "id": str(row.id),
                "workflow": version.plan.name,
                "version": version.version,
                "attempt": step.attempt,
                "created_at": row.created_at.isoformat(),
            },
            "secrets": Secrets(),
            "steps": self.seen_steps(row.id, version.plan, plan_step.reads_steps),
        }
        if plan_step.reads_input:
            context["input"] = self._inputs.get(row.id)
        return context

    def input(self, run_id: UUID) -> Any:
        """Return a run's input that was asked for."""
        return self._inputs.get(run_id)

    def seen_steps(self, run_id: UUID, plan: Plan, numbers: tuple[int, ...]) -> dict[str, Any]:
        """Return what expressions see under `steps`: only those that were ever touched."""
        return {plan.steps[no].id: seen(*self._rows[run_id, no]) for no in numbers if (run_id, no) in self._rows}

    def output(self, run_id: UUID, no: int) -> Any:
        """Return the stored output of a step, whatever its status."""
        return self._rows[run_id, no][0]


def seen(output: Any, error: dict[str, Any] | None, status: str) -> dict[str, Any]:
    """Return what expressions see of one step: its output only once it completed, its error only if it did not."""
    if status == "completed":
        return {"status": status, "error": None, "output": output}
    return {"status": status, "error": error}
