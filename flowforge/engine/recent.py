"""What a worker remembers of the runs it works on, so that the next step of a run needs no reading.

A memory is a guess with a date: the run's revision. Nothing is refused on the strength of it, and nothing is written
unless the run is still at that revision (store/transitions.py); a run that others change too is remembered as
contested, and is read under its lock from then on.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from flowforge.engine.plans import PlannedVersion
from flowforge.model.outcome import Completed, Outcome
from flowforge.model.plan import StepPlan
from flowforge.model.state import RunState
from flowforge.store.runs import RunRow

#: Runs remembered.
KEPT = 4096
#: Characters of an output, and outputs of a run, that are kept for the steps that read them.
SMALL_OUTPUT, OUTPUTS = 8_000, 32


@dataclass(slots=True)
class Memory:
    """One run."""

    row: RunRow
    version: PlannedVersion
    #: The time of this worker's last commit about the run: what is decided next is not earlier.
    at: datetime
    #: The run with its open steps, as that commit left it; None if that is not worth remembering.
    state: RunState | None = None
    #: Others change the run too.
    contested: bool = False
    #: JSON text; None when it was not read along.
    input: str | None = None
    #: JSON texts of what steps came to that were settled here, by number.
    outputs: dict[int, str] = field(default_factory=dict)
    _values: dict[int, Any] = field(default_factory=dict)

    def facts(self) -> dict[str, Any]:
        """Return what expressions see as `run`, but for the attempt."""
        return {
            "id": str(self.row.id),
            "workflow": self.version.plan.name,
            "version": self.version.version,
            "created_at": self.row.created_at.isoformat(),
        }

    def input_value(self) -> Any:
        """Return the input; there is a text of it."""
        assert self.input is not None
        return self._value(-1, self.input)

    def output_value(self, no: int) -> Any:
        """Return what a step that is in `outputs` came to."""
        return self._value(no, self.outputs[no])

    def holds(self, step: StepPlan) -> bool:
        """Say whether all that a step's expressions read is remembered."""
        if step.reads_input and self.input is None:
            return False
        return all(no in self.outputs for no in step.reads_steps)

    def settle(self, no: int, outcome: Outcome, output: str | None) -> None:
        """Keep what a step came to for the steps behind it, if it is small."""
        self._values.pop(no, None)
        if output is not None and isinstance(outcome, Completed) and len(output) <= SMALL_OUTPUT:
            self.outputs[no] = output
            while len(self.outputs) > OUTPUTS:
                del self.outputs[next(iter(self.outputs))]
        else:
            self.outputs.pop(no, None)

    def contest(self) -> None:
        """Note that others change the run, too: what was decided on this memory was not written."""
        self.state, self.contested = None, True
        self.forget_outputs()

    def forget_outputs(self) -> None:
        """Remember no more what steps came to: it may not have been written."""
        self.outputs.clear()
        self._values.clear()

    def _value(self, no: int, text: str) -> Any:
        if no not in self._values:
            self._values[no] = json.loads(text)
        return self._values[no]


class Recent:
    """The runs that one process works on."""

    def __init__(self) -> None:
        #: By number, and not by UUID, whose hash is a function written in Python.
        self._kept: dict[int, Memory] = {}

    def get(self, run_id: UUID) -> Memory | None:
        """Return what is remembered of a run."""
        return self._kept.get(run_id.int)

    def keep(self, run_id: UUID, memory: Memory) -> None:
        """Remember a run; the one that came first makes room."""
        self._kept[run_id.int] = memory
        if len(self._kept) > KEPT:
            del self._kept[next(iter(self._kept))]

    def forget(self, run_id: UUID) -> None:
        """Forget a run."""
        self._kept.pop(run_id.int, None)
