"""What must hold of one run's rows at rest: it has ended with nothing open, or something will wake it.

Invariants 1 and 7 (checker.py), as far as they are about one run.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from psycopg.rows import DictRow

from flowforge.model.plan import Plan

FINAL = ("completed", "failed", "cancelled")
_FINAL_STEP = ("completed", "failed", "cancelled", "skipped", "compensated")


@dataclass(frozen=True, slots=True)
class Rows:
    """One run's row and those of its steps."""

    row: DictRow
    plan: Plan
    steps: Sequence[DictRow]

    def violations(self, *, ended: bool) -> Iterator[str]:
        """Yield what is wrong; with *ended* the run must have ended."""
        if ended and self.row["status"] not in FINAL:
            yield f"has not ended; steps: {[(s['step_no'], s['status'], s['due_at']) for s in self.steps]}"
        yield from self._open_steps()
        yield from self._alarm()

    def _own(self) -> list[DictRow]:
        """Return the rows of steps that the run has: not those of compensations, nor of items it did not come to."""
        rows = {row["step_no"]: row for row in self.steps}
        own = []
        for row in self.steps:
            step = self.plan.steps[row["step_no"]]
            if step.compensates is not None:
                continue
            around = None if step.foreach is None else rows.get(step.foreach)
            if step.foreach is not None and (around is None or (step.item or 0) >= around["skipped_dependencies"]):
                continue
            own.append(row)
        return own

    def _steps(self) -> int:
        """Return how many steps the run has, with those of its items."""
        entered = sum(
            row["skipped_dependencies"] * body.size
            for row in self.steps
            if (body := self.plan.steps[row["step_no"]].body) is not None and row["label"] is not None
        )
        return len(self.plan.steps) + int(entered)

    def _open_steps(self) -> Iterator[str]:
        own = self._own()
        status, statuses = self.row["status"], [row["status"] for row in own]
        final = sum(one in _FINAL_STEP for one in statuses)
        running = statuses.count("running")
        if status in FINAL:
            for row in own:
                open_row = row["status"] in ("queued", "running", "waiting")
                # A pending row of a completed run would be a step that was forgotten.
                if open_row or (row["status"] == "pending") or row["due_at"] is not None:
                    yield f"step {row['step_no']} is {row['status']} (due {row['due_at']}) in a run that has ended"
            if status == "completed" and final != self._steps():
                yield f"completed with {final} of {self._steps()} steps final"
            expected = 0
        elif status == "compensating":
            expected = 1
        elif status == "pending" and self.row["error"] is not None:
            expected = 0
        elif status == "cancelling" or (status == "running" and self.row["error"] is not None):
            expected = running
        else:
            expected = self._steps() - final
        if self.row["open_steps"] != expected:
            yield f"open_steps is {self.row['open_steps']}, there are {expected}"

    def _alarm(self) -> Iterator[str]:
        """1: whatever has a time has an alarm that goes off no later."""
        if self.row["status"] in (*FINAL, "pending"):
            return
        held = self.row["status"] == "paused"
        steps = [row for row in self.steps if not (held and row["status"] == "queued")]
        times = [row["due_at"] for row in steps if row["due_at"] is not None]
        times += [self.row["deadline_at"]] if self.row["deadline_at"] and not (self.row["error"] or held) else []
        waits = any(row["status"] == "waiting" and row["due_at"] is None for row in self.steps)
        if not times and (waits or self.row["status"] == "paused"):
            return
        if not times:
            yield "nothing will ever wake it: no step has a time"
        elif self.row["wake_at"] is None or self.row["wake_at"] > min(times):
            yield f"the alarm is at {self.row['wake_at']}, the first time at {min(times)}"
