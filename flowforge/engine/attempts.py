"""The attempts of a worker: from a delivery to a settled outcome.

The rules that keep an effect from happening twice are here: an attempt starts only after its claim is committed, a
delivery is acknowledged only after the settlement is committed, and an attempt whose lease is gone settles nothing.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

import psycopg

from flowforge.engine import clock
from flowforge.engine.crash import crash_point
from flowforge.engine.entries import Applied, Entry
from flowforge.engine.fence import STOP_AFTER
from flowforge.engine.holdings import Held, Key, Stop
from flowforge.engine.message import Malformed, Message, decode
from flowforge.model.facts import Accepted, Claimed, Granted, Refusal, Refused, Settled
from flowforge.model.outcome import Cancelled, Deferred, Failed, Outcome, Released, StepError
from flowforge.steps.base import Executor, Report, is_inline
from flowforge.steps.limits import storable
from flowforge.steps.run import attempt, attempt_inline
from flowforge.steps.secrets import named
from flowforge.store import logs
from flowforge_streams.delivery import Delivery

if TYPE_CHECKING:
    from flowforge.engine.worker import Worker

log = logging.getLogger(__name__)

#: Successors a worker goes on with before the run goes through the stream again, so that others get their turn.
CHAIN = 500
#: How long a step waits for a worker that has its type.
NOT_INSTALLED_DELAY = timedelta(seconds=5)


#: Answers to a claim whose delivery stays, for whoever may take it later.
_LEFT_PENDING = (Refused(Refusal.LEASED), Refused(Refusal.UNREADABLE))


class _Claim(NamedTuple):
    """A claim under way."""

    entry_id: str
    dispatch_no: int
    #: It came through a lane of python steps.
    python: bool


class Attempts:
    """Claims deliveries, runs what was granted, settles what came out."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._tracer = worker.engine.tracer
        self._claims: dict[Key, _Claim] = {}
        #: Newer dispatches of steps that are being claimed or run here; their turn comes when that has ended.
        self._later: dict[Key, tuple[Delivery, Message]] = {}
        self._ended = asyncio.Event()
        #: Child processes promised: to claims, and to the successors of attempts that are being settled.
        self._claiming_python = 0
        self._promised = 0
        settings = worker.engine.settings
        self._lease, self._max_bytes = settings.lease, settings.max_step_bytes
        #: The readers will be told that there is room again.
        self._freed = False

    @property
    def claiming(self) -> int:
        """Claims under way."""
        return len(self._claims)

    @property
    def claiming_python(self) -> int:
        """Child processes promised to claims and continuations under way."""
        return self._claiming_python + self._promised

    async def one_ended(self, seconds: float) -> None:
        """Wait until an attempt ends, for a time."""
        self._ended.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._ended.wait()

    # -- claiming ------------------------------------------------------------------------------------------

    def take(self, deliveries: Sequence[Delivery]) -> None:
        """Claim the steps that deliveries ask for."""
        for delivery in deliveries:
            message = decode(delivery)
            if isinstance(message, Malformed):
                self._worker.acker.bury(delivery, message.reason)
            else:
                self._claim(delivery, message)

    def _claim(self, delivery: Delivery, message: Message) -> None:
        key = (message.run_id.int, message.step)
        held = self._worker.holdings.get(key)
        if held is not None:
            entry_id = None if held.delivery is None else held.delivery.entry_id
            self._repeated(delivery, message, entry_id, held.dispatch_no)
            return
        claim = self._claims.get(key)
        if claim is not None:
            self._repeated(delivery, message, claim.entry_id, claim.dispatch_no)
            return
        python = delivery.stream.endswith(".python")
        self._claims[key] = _Claim(delivery.entry_id, message.dispatch_no, python)
        self._claiming_python += python
        fact = Claimed(message.step, message.dispatch_no, self._worker.id, self._lease, reclaimed=delivery.reclaimed)
        self._worker.committer.submit(Entry(message.run_id, fact), partial(self._claimed, delivery, key))

    def _repeated(self, delivery: Delivery, message: Message, entry_id: str | None, dispatch_no: int) -> None:
        """Finish a repetition of what is under way here; keep a newer dispatch until that has ended."""
        if message.dispatch_no > dispatch_no:
            self._later[message.run_id.int, message.step] = (delivery, message)
        elif delivery.entry_id != entry_id:
            self._worker.acker.ack(delivery)

    def _resume(self, key: Key) -> None:
        """Claim the newer dispatch that waited for the end of an older one."""
        waited = self._later.pop(key, None)
        if waited is not None and not self._worker.stopping:
            self._claim(*waited)

    def _claimed(self, delivery: Delivery, key: Key, applied: Applied | psycopg.Error) -> None:
        self._claiming_python -= self._claims.pop(key).python
        if not isinstance(applied, psycopg.Error) and isinstance(applied.answer, Granted):
            self._begin(applied, delivery, chain=0)
            return
        if isinstance(applied, psycopg.Error):
            self._worker.acker.bury(delivery, f"the claim was refused: {applied}")
        elif applied.answer == Refused(Refusal.UNKNOWN):
            self._worker.acker.bury(delivery, "no such run or step")
        elif applied.answer not in _LEFT_PENDING:
            self._worker.acker.ack(delivery)
            # What only computes is settled with its claim, and we are given what comes behind it.
            self._begin(applied, None, chain=1)
        self._free()
        self._resume(key)

    def recover(self, given: Sequence[tuple[UUID, Claimed]]) -> None:
        """Ask for steps that we may have been given in a transaction whose answer was lost."""
        for run_id, claim in given:
            self._worker.committer.submit(Entry(run_id, claim), self._recovered)

    def _recovered(self, applied: Applied | psycopg.Error) -> None:
        if not isinstance(applied, psycopg.Error):
            self._begin(applied, None, chain=0)

    # -- running -------------------------------------------------------------------------------------------

    def begin(self, given: Sequence[Applied]) -> None:
        """Execute steps that were given with their runs' admission."""
        for applied in given:
            self._begin(applied, None, chain=0)

    def _begin(self, applied: Applied, delivery: Delivery | None, chain: int) -> None:
        assignment, plan = applied.assignment, applied.plan
        if assignment is None or plan is None:
            return
        key = (assignment.run_id.int, assignment.step.no)
        known = self._worker.holdings.get(key)
        if known is not None and known.assignment.token == assignment.token:
            return
        if self._tracer.on:
            assignment = self._tracer.begin(assignment, self._worker.id)
        held = Held(key, assignment, plan, applied.dispatch_no, delivery, renewed=applied.asked, chain=chain)
        self._worker.holdings.add(held)
        crash_point("worker.after_claim")
        if assignment.step.type not in self._worker.step_types:
            self._settle(held, _not_installed(assignment.step.type))
            return
        executor = self._worker.executors.get(assignment.step.type)
        if self._worker.stopping or clock.now() - applied.asked >= self._lease.total_seconds() * STOP_AFTER:
            # The second: the answer was so long on its way that somebody else may start the step any moment.
            self._settle(held, Released())
        elif is_inline(executor) and not named(assignment.step):
            with self._tracer.active(assignment):
                outcome = attempt_inline(executor, assignment)
            self._settle(held, outcome)
        else:
            held.task = asyncio.create_task(self._attempt(held, executor))

    async def _attempt(self, held: Held, executor: Executor) -> None:
        providers = self._worker.executors.secrets
        report = Report(progress=partial(setattr, held, "progress"), log=held.log.append)
        try:
            with self._tracer.active(held.assignment):
                outcome = await attempt(executor, held.assignment, report, None, providers, held.plan.secrets)
        except asyncio.CancelledError:
            stopped = _stopped(held.stop)
            if stopped is None:
                self._end(held)
                return
            outcome = stopped
        held.settling = True
        crash_point("worker.before_settle")
        self._settle(held, outcome)

    # -- settling ------------------------------------------------------------------------------------------

    def _settle(self, held: Held, outcome: Outcome) -> None:
        outcome, text = storable(outcome, self._max_bytes)
        if self._tracer.on:
            self._tracer.decided(held.assignment, outcome)
        held.settling = True
        python = self._promise(held)
        fact = Settled(
            step=held.assignment.step.no,
            token=held.assignment.token,
            worker=self._worker.id,
            lease=self._lease,
            outcome=outcome,
            output=text,
            lanes=self._worker.lanes_with_room(python=python) if held.chain < CHAIN else frozenset(),
            jitter=random.random(),  # noqa: S311 - jitter
        )
        run_id, no = held.assignment.run_id, held.assignment.step.no
        log = logs.Log(run_id, no, held.assignment.attempt, "".join(held.log)) if held.log else None
        entry = Entry(run_id, fact, held.plan, log)
        self._worker.committer.submit(entry, partial(self._settled, held, outcome))

    def _promise(self, held: Held) -> bool:
        """Keep a child process free for a successor that needs one; say whether there is one."""
        steps = held.plan.steps
        if not any(steps[edge.step].type == "python" for edge in held.assignment.step.successors):
            return False
        python = held.assignment.step.type == "python" or self._worker.python_room() > 0
        if python:
            held.promised = True
            self._promised += held.assignment.step.type != "python"
        return python

    def _settled(self, held: Held, outcome: Outcome, applied: Applied | psycopg.Error) -> None:
        if held.promised:
            held.promised = False
            self._promised -= held.assignment.step.type != "python"
        if isinstance(applied, psycopg.Error):
            self._refused(held, outcome, applied)
            return
        crash_point("worker.before_ack")
        self._worker.acker.ack(held.delivery)
        if self._tracer.on and isinstance(applied.answer, Refused):
            self._tracer.dropped(held.assignment, applied.answer.why.value)
        self._end(held)
        match applied.answer:
            case Accepted(next=successor) if successor is not None:
                self._begin(applied, None, held.chain + 1)
            case Refused(why):
                log.warning("outcome of %s is dropped: its lease was lost (%s)", held.name, why.value)

    def _refused(self, held: Held, outcome: Outcome, error: psycopg.Error) -> None:
        """Settle an outcome that Postgres will not store as a failure that says so; a second refusal is final."""
        code = "INVALID_OUTPUT"
        if isinstance(outcome, Failed) and outcome.error.code == code:
            self._end(held)
            return
        reason = str(error).strip().splitlines()[0]
        message = f"Postgres cannot store the outcome: {reason}"
        self._settle(held, Failed(StepError(code=code, message=message, retryable=False)))

    def _end(self, held: Held) -> None:
        self._worker.holdings.remove(held)
        if self._later:
            self._resume(held.key)
        if self._tracer.on:
            self._tracer.end(held.assignment)
        self._free()

    def _free(self) -> None:
        """Let those be told who wait for room: attempts end by the hundred, so once for all of them."""
        if not self._freed:
            self._freed = True
            asyncio.get_running_loop().call_soon(self._tell)

    def _tell(self) -> None:
        """Tell who waits for attempts to end."""
        self._freed = False
        self._ended.set()
        self._worker.freed()


def _stopped(why: Stop | None) -> Outcome | None:
    """Return what to settle for an attempt that was stopped; None: nothing, the step is not ours any more."""
    if why is Stop.CANCEL:
        return Cancelled()
    return None if why is Stop.LOST else Released()


def _not_installed(kind: str) -> Deferred:
    error = StepError(
        code="STEP_TYPE_NOT_INSTALLED",
        message=f"waits for a worker that has the step type '{kind}'",
        hint=f"install the package that provides '{kind}' where workers run, and restart one",
    )
    return Deferred(error, NOT_INSTALLED_DELAY)
