"""The context of an attempt: exactly what its step's expressions read, and nothing else.

What a worker remembers of the run is not read again; the rest is asked for in one go after the commit that granted
the attempts. That is late enough to see what was settled with it, and not too late: what a step may read is final
before the step starts. A context that reads nothing costs nothing.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from flowforge.engine.recent import Memory
from flowforge.model.plan import Plan, StepPlan
from flowforge.model.state import StepState
from flowforge.steps.base import Wake
from flowforge.steps.secrets import Secrets
from flowforge.store import runs, signals, steps
from flowforge.store.database import Connection


class ItemLists:
    """The items of the foreach steps that this process works on.

    Each item's steps read one of them, so the list is kept, with the token under which the foreach made it: whoever
    reads asks for it anew unless the foreach has still that token.
    """

    def __init__(self) -> None:
        self._kept: dict[steps.Key, tuple[int, list[Any]]] = {}

    def token(self, key: steps.Key) -> int:
        """Return the token of the list that is kept, 0 when none is."""
        return self._kept[key][0] if key in self._kept else 0

    def keep(self, key: steps.Key, token: int, items: list[Any]) -> None:
        """Keep a list; the one that came first makes room."""
        self._kept.pop(key, None)
        self._kept[key] = (token, items)
        if len(self._kept) > LISTS:
            del self._kept[next(iter(self._kept))]

    def item(self, key: steps.Key, position: int) -> dict[str, Any]:
        """Return what expressions see of an item: a list that lost it makes the step fail, and not its worker."""
        items = self._kept[key][1] if key in self._kept else []
        return {"item": items[position]} if position < len(items) else {}


#: Lists of items that are kept.
LISTS = 64


class ContextLoader:
    """Collects what several attempts read, and reads it in one go."""

    def __init__(self, lists: ItemLists | None = None) -> None:
        self._lists = lists or ItemLists()
        self._wanted_lists: set[steps.Key] = set()
        self._wanted_signals: set[steps.Key] = set()
        self._received: dict[steps.Key, list[signals.Received]] = {}
        self._inputs: dict[UUID, Any] = {}
        self._wanted_inputs: set[UUID] = set()
        self._wanted_steps: set[steps.Key] = set()
        self._rows: dict[steps.Key, tuple[Any, dict[str, Any] | None, str]] = {}

    def want(self, memory: Memory, state: StepState) -> None:
        """Note what a step's attempt reads and nobody remembers."""
        plan, run_id = memory.version.plan, memory.row.id
        step = plan.steps[state.no]
        if step.reads_steps:
            numbers = tuple(no for no in step.reads_steps if no not in memory.outputs)
            self.want_for(run_id, numbers, reads_input=False)
        if step.reads_input and memory.input is None:
            self._wanted_inputs.add(run_id)
        if step.reads_item and step.foreach is not None:
            self._wanted_lists.add((run_id, step.foreach))
        if step.wakes:
            self._wanted_steps.add((run_id, state.no))
            self._wanted_steps.update((run_id, no) for no in _items(step, state))
            if plan.listens:
                self._wanted_signals.add((run_id, state.no))

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
        if self._wanted_lists:
            known = [(key, self._lists.token(key)) for key in self._wanted_lists]
            for run_id, no, token, output in await steps.newer_outputs(connection, known):
                self._lists.keep((run_id, no), token, output.get("items", []) if isinstance(output, dict) else [])
        if self._wanted_signals:
            self._received = await signals.of_steps(connection, list(self._wanted_signals))

    def wake(self, memory: Memory, state: StepState) -> Wake | None:
        """Return what a step that waits and is executed again knows from before."""
        step, run_id = memory.version.plan.steps[state.no], memory.row.id
        if not step.wakes:
            return None
        untouched = (None, None, "pending")
        items = [seen(*self._rows.get((run_id, no), untouched)) for no in _items(step, state)]
        return Wake(self._rows.get((run_id, state.no), untouched)[0], self._received.get((run_id, state.no), ()), items)

    def context(self, memory: Memory, step: StepState, error: dict[str, Any] | None = None) -> dict[str, Any]:
        """Build an attempt's context; *error* is the run's, which what undoes a step may read."""
        plan = memory.version.plan
        plan_step = plan.steps[step.no]
        context: dict[str, Any] = {"secrets": Secrets(), "steps": {}}
        if plan_step.reads_steps:
            context["steps"] = self._steps(memory, plan, plan_step.reads_steps)
        if plan_step.reads_run:
            context["run"] = {**memory.facts(), "attempt": step.attempt, "error": error}
            if plan_step.item is not None:
                context["run"]["index"] = plan_step.item
        if plan_step.reads_item and plan_step.foreach is not None and plan_step.item is not None:
            context |= self._lists.item((memory.row.id, plan_step.foreach), plan_step.item)
        if plan_step.reads_input:
            context["input"] = self._inputs[memory.row.id] if memory.input is None else memory.input_value()
        return context

    def _steps(self, memory: Memory, plan: Plan, numbers: tuple[int, ...]) -> dict[str, Any]:
        known = self.seen_steps(memory.row.id, plan, numbers)
        for no in numbers:
            if no in memory.outputs:
                known[plan.steps[no].name_in_context] = seen(memory.output_value(no), None, "completed")
        return known

    def input(self, run_id: UUID) -> Any:
        """Return a run's input that was asked for."""
        return self._inputs.get(run_id)

    def seen_steps(self, run_id: UUID, plan: Plan, numbers: tuple[int, ...]) -> dict[str, Any]:
        """Return what expressions see under `steps`: only those that were ever touched."""
        return {
            plan.steps[no].name_in_context: seen(*self._rows[run_id, no])
            for no in numbers
            if (run_id, no) in self._rows
        }

    def output(self, run_id: UUID, no: int) -> Any:
        """Return the stored output of a step, whatever its status."""
        return self._rows[run_id, no][0]


def seen(output: Any, error: dict[str, Any] | None, status: str) -> dict[str, Any]:
    """Return what expressions see of one step: its output only once it completed, its error only if it did not.

    What was undone had an output, and what undoes another step may need it.
    """
    if status in ("completed", "compensated"):
        return {"status": status, "error": None, "output": output}
    return {"status": status, "error": error}


def _items(step: StepPlan, state: StepState) -> list[int]:
    """Return the numbers of the repeated steps of a foreach that knows its items, one for each."""
    if step.body is None or state.label is None:
        return []
    return [step.body.number(item) for item in range(int(state.label))]
