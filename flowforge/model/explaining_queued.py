"""Why nobody has begun with a step that could run: from its queue to the workers that might.

The order of the questions is that of the engine: may the queue be taken from, is somebody there, can they run it, do
they hear of it, have they room.
"""

from __future__ import annotations

from datetime import timedelta

from flowforge.model.circumstances import Busy, RunFacts, Surroundings, WorkerFacts
from flowforge.model.explanation import Cause, CauseKind, Holder, Subject, Weight, command, listed, rough
from flowforge.model.plan import StepPlan
from flowforge.model.state import StepState

#: What is queued for less is on its way.
PATIENCE = timedelta(seconds=3)
#: Holders that are named.
MOST_HOLDERS = 5
#: Somebody whom the history does not name.
nobody = "somebody"


def quoted(name: str) -> str:
    """Return a name as it stands in a sentence."""
    return f"'{name}'"


def start_command(queue: str) -> str:
    """Return what starts a worker for a queue."""
    return command("worker", "start", *(() if queue == "default" else ("--queue", queue)))


def why(facts: RunFacts, step: StepPlan, state: StepState) -> Cause:
    """Say why a queued step is not taken."""
    around = facts.around
    if not around.known:
        return _unknown(step, state)
    return (
        _paused(around, step, state)
        or unserved(around, step, state)
        or _no_streams(around, step, state)
        or _busy(around, step, state)
        or _on_its_way(facts, step, state)
    )


def _unknown(step: StepPlan, state: StepState) -> Cause:
    """Say what is known away from the installation."""
    return Cause(
        CauseKind.QUEUED,
        Subject("queue", step.queue),
        f"step {quoted(step.id)} waits for a worker of queue {quoted(step.queue)}; what workers are at, the capsule "
        "does not say",
        Weight.WAITS,
        state.queued_at,
    )


def _paused(around: Surroundings, step: StepPlan, state: StepState) -> Cause | None:
    pause = around.paused("queue", step.queue)
    if pause is None:
        return None
    because = f": {pause.reason}" if pause.reason else ""
    return Cause(
        CauseKind.QUEUE_PAUSED,
        Subject("queue", step.queue),
        f"step {quoted(step.id)} waits for queue {quoted(step.queue)}, which {pause.paused_by} has paused{because}",
        Weight.BLOCKED,
        max(pause.paused_at, state.queued_at or pause.paused_at),
        holders=(Holder("person", pause.paused_by, pause.reason, pause.paused_at),),
        command=command("queue", "resume", step.queue),
    )


def barred(around: Surroundings, step: StepPlan, state: StepState) -> Cause | None:
    """Say so when nobody would take a step that is about to be queued: its queue is held, or has no worker."""
    return _paused(around, step, state) or unserved(around, step, state)


def unserved(around: Surroundings, step: StepPlan, state: StepState) -> Cause | None:
    """Say so when no worker serves the step's queue, or none that does can run it."""
    if not around.known:
        return None
    serving = around.serving(step.queue)
    if not serving:
        gone = [one for one in around.workers if step.queue in one.queues and one.status != "stopped"]
        return Cause(
            CauseKind.NO_WORKER,
            Subject("queue", step.queue),
            f"step {quoted(step.id)} waits for a worker: none serves queue {quoted(step.queue)}{_gone(around, gone)}",
            Weight.BLOCKED,
            state.queued_at,
            holders=tuple(_absent(one) for one in gone[:MOST_HOLDERS]),
            command=start_command(step.queue),
        )
    if any(step.type in one.step_types for one in serving):
        return None
    return Cause(
        CauseKind.TYPE_NOT_INSTALLED,
        Subject("queue", step.queue),
        f"step {quoted(step.id)} is of type {quoted(step.type)}, which no worker of queue {quoted(step.queue)} has: "
        f"install the package that provides it where workers run, and start one anew",
        Weight.BLOCKED,
        state.queued_at,
        holders=tuple(Holder("worker", one.id, "does not have it") for one in serving[:MOST_HOLDERS]),
        command=start_command(step.queue),
        data={"type": step.type},
    )


def _gone(around: Surroundings, gone: list[WorkerFacts]) -> str:
    """Say what became of those who served a queue."""
    if not gone:
        return ""
    last = max(gone, key=lambda one: one.seen_at)
    if last.status == "draining":
        return f"; worker {last.id} is leaving"
    return f"; worker {last.id} was last seen {rough(around.now - last.seen_at)} ago"


def _absent(one: WorkerFacts) -> Holder:
    return Holder("worker", one.id, one.status, one.seen_at if one.status == "lost" else None)


def _no_streams(around: Surroundings, step: StepPlan, state: StepState) -> Cause | None:
    if around.streams_down is None:
        return None
    return Cause(
        CauseKind.STREAMS_DOWN,
        Subject("server", around.streams or "redis"),
        f"step {quoted(step.id)} waits to be taken, and Redis is down ({around.streams_down}): "
        "workers take dispatches straight from Postgres, slowly",
        Weight.WAITS,
        state.queued_at,
        command=command("status"),
    )


def _busy(around: Surroundings, step: StepPlan, state: StepState) -> Cause | None:
    able = [one for one in around.serving(step.queue) if step.type in one.step_types]
    python = step.type == "python"
    if any(one.room(python=python) for one in able):
        return None
    slots = sum(one.concurrency for one in able)
    taken = sum(one.taken for one in able)
    what = "child processes for python steps" if python and taken < slots else f"{taken} of {slots} slots"
    return Cause(
        CauseKind.WORKERS_BUSY,
        Subject("queue", step.queue),
        f"step {quoted(step.id)} waits for room: {_everyone(able)} of queue {quoted(step.queue)} {_is(able)} busy, "
        f"{what} taken{_most(able, taken)}",
        Weight.WAITS,
        state.queued_at,
        holders=tuple(_doing(one) for one in able[:MOST_HOLDERS]),
        command=start_command(step.queue),
        data={"slots": slots, "taken": taken},
    )


def _everyone(able: list[WorkerFacts]) -> str:
    return "the worker" if len(able) == 1 else f"all {len(able)} workers"


def _is(able: list[WorkerFacts]) -> str:
    return "is" if len(able) == 1 else "are"


def _most(able: list[WorkerFacts], taken: int) -> str:
    """Say which step takes the most slots."""
    counts: dict[str, int] = {}
    for worker in able:
        for one in worker.busy:
            name = f"{one.workflow}/{one.step}"
            counts[name] = counts.get(name, 0) + one.count
    if not counts:
        return ""
    name, count = max(counts.items(), key=lambda item: item[1])
    return f", {'all' if count == taken else f'{count} of them'} by {name}"


def _doing(worker: WorkerFacts) -> Holder:
    busy = sorted(worker.busy, key=lambda one: -one.count)
    what = listed([f"{one.workflow}/{one.step} {_whose(one)}" for one in busy])
    since = min((one.since for one in busy), default=None)
    return Holder("worker", worker.id, f"{worker.taken} of {worker.concurrency} slots: {what or 'nothing'}", since)


def _whose(one: Busy) -> str:
    return f"of run {one.run}" if one.count == 1 else f"x{one.count}"


def _on_its_way(facts: RunFacts, step: StepPlan, state: StepState) -> Cause:
    """Say how far a dispatch has come that somebody could take."""
    waited = facts.now - (state.queued_at or facts.now)
    lane = facts.around.lanes.get(step.lane)
    kind, weight, until = CauseKind.QUEUED, Weight.WORKS, None
    if state.no in facts.unpublished:
        count = 1 if lane is None else max(1, lane.outbox)
        text = f"waits to be dispatched, {count} in the outbox of its queue"
        if waited > PATIENCE:
            kind, weight = CauseKind.OUTBOX_LAG, Weight.WAITS
            beside = "" if count == 1 else f", one of {count:,},"
            text = f"is not dispatched: it lies in the outbox{beside} and no worker publishes it"
    elif lane is not None and lane.waiting:
        text = f"is dispatched, and waits its turn: {lane.waiting} in the stream of its queue"
    elif lane is not None and lane.waiting == lane.pending == 0 and waited > PATIENCE:
        kind, weight, until = CauseKind.DISPATCH_LOST, Weight.WAITS, state.due_at
        where = facts.around.streams
        text = f"was dispatched, but its message is not in the stream at {where}: it is dispatched again"
    else:
        text = "is dispatched, and about to be taken"
    return Cause(
        *(kind, Subject("queue", step.queue), f"step {quoted(step.id)} {text}", weight, state.queued_at, until),
        command=start_command(step.queue) if kind is CauseKind.OUTBOX_LAG else None,
    )


def no_worker_at_all(around: Surroundings, what: str) -> Cause:
    """Say that nobody is there, to whom all else is left."""
    gone = [one for one in around.workers if one.status != "stopped"]
    return Cause(
        CauseKind.NO_WORKER,
        Subject("installation", "workers"),
        f"no worker is there, and {what}{_gone(around, gone)}",
        Weight.HELD,
        max((one.seen_at for one in gone), default=None),
        holders=tuple(_absent(one) for one in gone[:MOST_HOLDERS]),
        command=command("worker", "start"),
        count=0,
    )
