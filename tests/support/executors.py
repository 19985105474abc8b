"""Step types whose executors a test holds in its hands."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta

from flowforge.model.outcome import Completed, Outcome
from flowforge.steps.base import Assignment, Executor, Report
from flowforge.steps.registry import Executors
from flowforge.steps.settings import StepSettings


class Held:
    """An executor whose attempts run until the test lets them go."""

    def __init__(self) -> None:
        self.started: list[Assignment] = []
        self.cancelled: list[Assignment] = []
        self.release = asyncio.Event()
        self.closed = False

    async def run(self, assignment: Assignment, report: Report) -> Outcome:
        """Wait, then complete."""
        self.started.append(assignment)
        try:
            await self.release.wait()
        except asyncio.CancelledError:
            self.cancelled.append(assignment)
            raise
        return Completed("released")

    async def close(self) -> None:
        """Note that the worker closed it."""
        self.closed = True


class Counting:
    """An executor that notes what it executed, at once."""

    def __init__(self, outcome: Callable[[Assignment], Outcome] = lambda _: Completed(1)) -> None:
        self.executed: list[tuple[str, str, int]] = []
        self._outcome = outcome

    def execute(self, assignment: Assignment) -> Outcome:
        """Complete."""
        self.executed.append((str(assignment.run_id), assignment.step.id, assignment.attempt))
        return self._outcome(assignment)


class Scripted(Executors):
    """The real executors, but for some types."""

    def __init__(self, **mine: Executor) -> None:
        super().__init__(StepSettings(allow_loopback=True, python_processes=2, kill_grace=timedelta(seconds=1)))
        self._made.update(mine)
