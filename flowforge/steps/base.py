"""What a step type is: an executor that turns an assignment into an outcome.

An executor never touches the store: it gets all it needs in the assignment and gives back a value. Inline
executors are pure and quick and are called directly; the others are awaited under the attempt's timeout, and
must leave nothing running when they are cancelled.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any, Protocol, TypeAlias, runtime_checkable
from uuid import UUID

from typing_extensions import TypeIs

from flowforge.model.outcome import Outcome
from flowforge.model.plan import StepPlan
from flowforge.store.signals import Received


@dataclass(slots=True)
class Wake:
    """What a step that is executed again knows from before."""

    #: What it gave when it began to wait; None when it has not waited yet.
    waited: Any
    #: The signals and decisions that it was given, in order.
    received: Sequence[Received] = ()
    #: For a foreach that waited: what each item came to, as expressions see a step, in order.
    items: Sequence[Mapping[str, Any]] = ()


@dataclass(slots=True)
class Assignment:
    """One attempt of one step, as given to an executor, which does not change it.

    Not frozen, because that makes one three times as slow to make, and there is one for every attempt.
    """

    run_id: UUID
    workflow: str
    version: int
    step: StepPlan
    #: Counted from 1.
    attempt: int
    #: The fence: grows with every claim of the step.
    token: int
    #: `input`, `steps.<id>.output`, `steps.<id>.error`, `run.id`, `run.attempt` …: what the step's expressions read.
    context: Mapping[str, Any]
    #: When the claim was committed, on the database's clock.
    claimed_at: datetime
    #: W3C trace context of this attempt's span, None when traces are off.
    traceparent: str | None = None
    #: How often the step's effect was undone before, so that it is another one now.
    epoch: int = 0
    #: For the types that wait and are executed again.
    wake: Wake | None = None
    #: What is left of the time that all attempts have together; None: no limit but the step's own.
    time_left: timedelta | None = None

    @property
    def idempotency_key(self) -> str:
        """The key that is the same for every attempt of this step of this run, until its effect is undone."""
        key = f"{self.run_id}:{self.step.id}"
        return f"{key}:{self.epoch}" if self.epoch else key

    @property
    def timeout(self) -> timedelta:
        """Longest time of this attempt."""
        return self.step.timeout if self.time_left is None else min(self.step.timeout, self.time_left)


@dataclass(frozen=True, slots=True)
class Report:
    """What an attempt lets the outside know while it runs, for executors that are not inline."""

    #: Called with the latest progress (a small JSON value); the last one wins.
    progress: Callable[[Any], None]
    #: Called with captured stdout, stderr and log text as it comes.
    log: Callable[[str], None]


@runtime_checkable
class InlineExecutor(Protocol):
    """A step type that needs no waiting: the worker calls it in its own loop."""

    def execute(self, assignment: Assignment) -> Outcome:
        """Return the outcome; an ExpressionError is turned into a failure by the caller."""


@runtime_checkable
class AsyncExecutor(Protocol):
    """A step type that waits for something: network, a child process."""

    async def run(self, assignment: Assignment, report: Report) -> Outcome:
        """Return the outcome. Cancellation (timeout, cancelled run, drain) must stop and reap everything."""

    async def close(self) -> None:
        """Release connections and processes; called once when the worker stops."""


Executor: TypeAlias = InlineExecutor | AsyncExecutor


def is_inline(executor: Executor) -> TypeIs[InlineExecutor]:
    """Say whether an executor is called in the worker's own loop; asked for every attempt, so looked up by class."""
    return _is_inline(type(executor))


def is_pure(executor: Executor) -> TypeIs[InlineExecutor]:
    """Say whether an executor promises, by `pure = True` in its class, that executing again has no effect.

    Such attempts need no commit of their own: a worker may execute them in the transaction that grants them.
    """
    return bool(getattr(type(executor), "pure", False))


@cache
def _is_inline(kind: type[Executor]) -> bool:
    return issubclass(kind, InlineExecutor)
