"""The context of an attempt: exactly what its step's expressions read, and nothing else.

What a worker remembers of the run is not read again; the rest is asked for in one go after the commit that granted
the attempts. That is late enough to see what was settled with it, and not too late: what a step may read is final
before the step starts. A context that reads nothing costs nothing.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from flowforge.engine.recent import Memory
from flowforge.model.plan import Plan
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

    def want(self, memory: Memory, no: int) -> None:
        """Note what a step's attempt reads and nobody remembers."""
        step = memory.version.plan.steps[no]
        if step.reads_steps:
            numbers = tuple(no for no in step.reads_steps if no not in memory.outputs)
            self.want_for(memory.row.id, numbers, reads_input=False)
        if step.reads_input and memory.input is None:
            self._wanted_inputs.add(memory.row.id)

    def want_for(self, run_id: UUID, numbers: tuple[int, ...], *, reads_input: bool) -> None:
        """Note steps and input of a run to be read."""
        if reads_input:
            self._wanted_inputs.add(run_id)
        self._wanted_steps.update((run_id, no) for no in numbers)

    async def load(self, connection: Connection) -> None:
        """Read everything that was noted."""
        if self._wanted_inputs:
            self._inputs = await runs.inputs(connection, list(self._wanted_inputs))
        if self._wanted_steps:
            for run_id, no, output, error, status in await steps.outputs(connection, list(self._wanted_steps)):
                self._rows[run_id, no] = (output, error, status)

    def context(self, memory: Memory, step: StepState) -> dict[str, Any]:
        """Build an attempt's context."""
        plan = memory.version.plan
        plan_step = plan.steps[step.no]
        context: dict[str, Any] = {"secrets": Secrets(), "steps": {}}
        if plan_step.reads_steps:
            context["steps"] = self._steps(memory, plan, plan_step.reads_steps)
        if plan_step.reads_run:
            context["run"] = {**memory.facts(), "attempt": step.attempt}
        if plan_step.reads_input:
            context["input"] = self._inputs[memory.row.id] if memory.input is None else memory.input_value()
        return context

    def _steps(self, memory: Memory, plan: Plan, numbers: tuple[int, ...]) -> dict[str, Any]:
        known = self.seen_steps(memory.row.id, plan, numbers)
        for no in numbers:
            if no in memory.outputs:
                known[plan.steps[no].id] = seen(memory.output_value(no), None, "completed")
        return known

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
