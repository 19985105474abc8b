"""Why a step that has been taken does not end: who executes it, or has gone without a word.

A lease is renewed four times while it lasts. So a worker that has been silent for half of it may be dead, and is told
to be before anybody may act on it.
"""

from __future__ import annotations

from flowforge.model import duration, explaining_queued
from flowforge.model.circumstances import RunFacts, WorkerFacts
from flowforge.model.explaining_queued import quoted
from flowforge.model.explanation import Cause, CauseKind, Holder, Subject, Weight, rough
from flowforge.model.plan import StepPlan
from flowforge.model.state import StepState


def why(facts: RunFacts, step: StepPlan, state: StepState) -> Cause:
    """Say who executes a step, or that nobody does any more."""
    if lost := _lost(facts, step, state):
        return lost
    holders = (Holder("worker", state.worker or "", f"attempt {state.attempt}", state.started_at),)
    if state.cancel_requested:
        text = f"step {quoted(step.id)} was asked to stop, and runs on {state.worker} until it has"
        kind, weight, until = CauseKind.STOPPING, Weight.WAITS, state.due_at
    else:
        limit = duration.text(step.timeout)
        text = (
            f"step {quoted(step.id)} is running on {state.worker}, attempt {attempt(step, state.attempt)}, "
            f"and is stopped after {limit}"
        )
        kind, weight = CauseKind.RUNNING, Weight.WORKS
        until = None if state.started_at is None else state.started_at + step.timeout
    return Cause(
        kind, Subject("step", step.id), text, weight, state.started_at, until, holders, data={"worker": state.worker}
    )


def _lost(facts: RunFacts, step: StepPlan, state: StepState) -> Cause | None:
    """Say so when the worker of a running step is not there any more."""
    worker, now = facts.around.worker(state.worker), facts.now
    over = state.due_at is not None and state.due_at < now
    gone = worker is not None and worker.status in ("lost", "stopped")
    if not over and not gone:
        silent = worker is not None and now - worker.seen_at > worker.lease / 2
        return _silent(facts, step, state, worker) if worker is not None and silent else None
    unserved = explaining_queued.unserved(facts.around, step, state)
    then = (
        "its lease is over, and another worker takes it over" if over else "another one takes over when its lease ends"
    )
    if unserved is not None:
        then = "nobody is there to take it over"
    return Cause(
        CauseKind.WORKER_LOST,
        Subject("step", step.id),
        f"step {quoted(step.id)} was running on {state.worker}, which is lost: {then}",
        Weight.WAITS if unserved is None else Weight.BLOCKED,
        state.started_at if worker is None else worker.seen_at,
        None if over else state.due_at,
        (Holder("worker", state.worker or "", f"attempt {state.attempt}", state.started_at),),
        None if unserved is None else unserved.command,
        because=() if unserved is None else (unserved,),
    )


def _silent(facts: RunFacts, step: StepPlan, state: StepState, worker: WorkerFacts) -> Cause:
    """Say so when a worker has missed two of its heartbeats: it may be dead, and its lease says when that is known."""
    others = [one for one in facts.around.serving(step.queue) if one.id != worker.id and step.type in one.step_types]
    then = "another one takes over" if others else f"no other one serves queue {quoted(step.queue)}"
    return Cause(
        CauseKind.WORKER_LOST,
        Subject("step", step.id),
        f"step {quoted(step.id)} is with {worker.id}, which has been silent for {rough(facts.now - worker.seen_at)}: "
        f"unless it is heard of before its lease ends, {then}",
        Weight.WAITS,
        worker.seen_at,
        state.due_at,
        (Holder("worker", worker.id, f"attempt {state.attempt}", state.started_at),),
        None if others else explaining_queued.start_command(step.queue),
        data={"worker": worker.id},
    )


def attempt(step: StepPlan, number: int) -> str:
    """Return the number of an attempt; those that were lost with their workers are not counted by the policy."""
    return str(number) if number > step.retry.max_attempts else f"{number} of {step.retry.max_attempts}"
