"""The outside world of a simulation: steps that have effects, and who may have them at the same time."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from flowforge.model.outcome import Completed, Failed, Outcome, StepError
from flowforge.steps.base import Assignment, Executor, Report
from flowforge.steps.conditional import Conditional
from flowforge.steps.delay import Delay
from flowforge.steps.foreach import Foreach
from flowforge.steps.parallel import Parallel
from flowforge.steps.secret_providers import Providers
from flowforge.steps.settings import StepSettings
from flowforge.steps.transform import Transform
from flowforge.steps.wait_signal import WaitSignal
from tests.simulation.network import Lost, Owner


@dataclass(slots=True, eq=False)
class Call:
    """One attempt at work."""

    owner: Owner
    run_id: UUID
    step: str
    no: int
    token: int
    key: str
    #: It was at work while its process was frozen: nobody could have told it to stop.
    frozen: bool = False
    arrived: bool = False


class Outside:
    """Everything that is called; *began* is told of every attempt that begins."""

    def __init__(self, seed: int, began: Callable[[Call, list[Call]], None]) -> None:
        self._seed, self._began = seed, began
        self.calls: list[Call] = []
        self.at_work: list[Call] = []

    def chance(self, assignment: Assignment) -> random.Random:
        """Return what decides about an attempt, whoever makes it and whenever."""
        return random.Random(f"{self._seed}:{assignment.idempotency_key}:{assignment.attempt}")

    def begin(self, owner: Owner, assignment: Assignment) -> Call:
        """Note that an attempt begins."""
        step = assignment.step
        call = Call(owner, assignment.run_id, step.id, step.no, assignment.token, assignment.idempotency_key)
        others = [one for one in self.at_work if (one.run_id, one.no) == (call.run_id, call.no)]
        self._began(call, others)
        self.at_work.append(call)
        return call

    def end(self, call: Call) -> None:
        """Note that an attempt is over."""
        if call in self.at_work:
            self.at_work.remove(call)

    def died(self, owner: Owner) -> None:
        """End all that a process had under way."""
        self.at_work = [call for call in self.at_work if call.owner is not owner]

    def froze(self, owner: Owner) -> None:
        """Note what a process has under way when it freezes."""
        for call in self.at_work:
            call.frozen = call.frozen or call.owner is owner


class Effect:
    """A step that calls somebody, takes its time, and may fail."""

    def __init__(self, outside: Outside, owner: Owner) -> None:
        self._outside, self._owner = outside, owner

    async def run(self, assignment: Assignment, report: Report) -> Outcome:
        """Have the effect, and say by whom."""
        chance = self._outside.chance(assignment)
        call = self._outside.begin(self._owner, assignment)
        try:
            await self._owner.travel("outside")
            call.arrived = True
            self._outside.calls.append(call)
            await asyncio.sleep(chance.choice([0.0, 0.1, 1.0, 4.0, 9.0, 15.0]))
            await self._owner.travel("outside")
        except Lost:
            return Failed(StepError("NETWORK", "nobody answered", kinds=("network",)))
        finally:
            self._outside.end(call)
        if chance.random() < 0.15:
            return Failed(StepError("BROKEN", "it was refused", retryable=chance.random() < 0.7))
        return Completed({"token": assignment.token, "by": self._owner.name})

    async def close(self) -> None:
        """Do nothing: there is nothing to close."""


class Choice(Conditional):
    """A conditional whose way is the run's chance, and not its input."""

    def __init__(self, outside: Outside) -> None:
        super().__init__()
        self._outside = outside

    def execute(self, assignment: Assignment) -> Outcome:
        """Take a branch, or none."""
        label = self._outside.chance(assignment).choice([*assignment.step.branches, None])
        return Completed({"branch": label}, branch=label)


class SimulatedExecutors:
    """The step types of one worker."""

    def __init__(self, outside: Outside, owner: Owner) -> None:
        self.secrets = Providers.of(StepSettings())
        effect = Effect(outside, owner)
        self._all: dict[str, Executor] = {
            "http": effect,
            "python": effect,
            "conditional": Choice(outside),
            "delay": Delay(),
            "foreach": Foreach(),
            "parallel": Parallel(),
            "transform": Transform(),
            "wait_signal": WaitSignal(),
        }

    def get(self, kind: str) -> Any:
        """Return the executor of a step type."""
        return self._all[kind]

    def serve(self, kind: str, executor: Executor) -> None:
        """Take what the worker serves by itself."""
        self._all[kind] = executor

    async def close(self) -> None:
        """Do nothing: there is nothing to close."""
