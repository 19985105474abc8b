"""What is stuck in an installation, worst first: sets of runs and steps, each with what would move them.

What goes on by itself soon is left out: delays, steps at work, steps that wait for other steps.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, TypeVar

from flowforge.model.circumstances import GateGroup, RunGroup, Standstill, StepGroup, WorkerFacts
from flowforge.model.explaining import gate_name
from flowforge.model.explaining_queued import MOST_HOLDERS, PATIENCE, no_worker_at_all, quoted, start_command
from flowforge.model.explaining_steps import NOT_INSTALLED, reason
from flowforge.model.explanation import Cause, CauseKind, Explanation, Holder, Subject, Weight, command, ranked
from flowforge.model.pausing import Pause
from flowforge.model.status import RunStatus
from flowforge.model.waiting import ASKED

T = TypeVar("T")
#: Examples of a set that are named, and signals of one step that are told apart.
MOST, MOST_SIGNALS = 5, 3


def explain_all(facts: Standstill) -> Explanation:
    """Say what is stuck, worst first; no cause means that nothing is."""
    makers = (_nobody, _streams, _paused_queues, _queued, _waiting, _lost, _overdue, _runs, _paused_workflows, _gates)
    causes = [cause for maker in (*makers, _outbox, _to_look_at) for cause in maker(facts)]
    return Explanation(facts.around.now, ranked(causes))


def _nobody(facts: Standstill) -> Iterator[Cause]:
    if facts.active and not facts.around.alive:
        yield no_worker_at_all(facts.around, f"{_many(facts.active, 'run')} under way {_wait(facts.active)} for one")


def _streams(facts: Standstill) -> Iterator[Cause]:
    around = facts.around
    if around.streams_down is not None:
        text = f"Redis is down ({around.streams_down}): workers take dispatches straight from Postgres, slowly"
        subject = Subject("server", around.streams or "redis")
        yield Cause(CauseKind.STREAMS_DOWN, subject, text, Weight.BLOCKED, command=command("status"))


# -- queued steps ----------------------------------------------------------------------------------------------


def _paused_queues(facts: Standstill) -> Iterator[Cause]:
    for pause in _pauses(facts, "queue"):
        count = sum(one.count for one in facts.steps if one.status == "queued" and one.queue == pause.name)
        text = (
            f"queue {quoted(pause.name)} is paused by {pause.paused_by}{reason(pause.reason)}: {_many(count, 'step')} "
            f"{_wait(count)} in it"
        )
        yield _held(CauseKind.QUEUE_PAUSED, pause, text, count, command("queue", "resume", pause.name))


def _queued(facts: Standstill) -> Iterator[Cause]:
    paused = {pause.name for pause in facts.around.pauses if pause.kind == "queue"}
    queued = [one for one in facts.steps if one.status == "queued" and one.queue not in paused]
    for queue, groups in _by(queued, lambda one: one.queue):
        serving = facts.around.serving(queue)
        if not serving:
            gone = [one for one in facts.around.workers if queue in one.queues and one.status != "stopped"]
            count = _count(groups)
            text = f"{_many(count, 'step')} {_wait(count)} on queue {quoted(queue)}, and no worker serves it"
            yield _of_steps(CauseKind.NO_WORKER, queue, text, groups, Weight.BLOCKED, gone)
            continue
        yield from _not_installed(queue, groups, serving)
        yield from _busy(queue, [one for one in groups if _able(one, serving)], serving)


def _able(one: StepGroup, serving: Iterable[WorkerFacts]) -> list[WorkerFacts]:
    return [worker for worker in serving if one.type in worker.step_types]


def _not_installed(queue: str, groups: list[StepGroup], serving: list[WorkerFacts]) -> Iterator[Cause]:
    for kind, some in _by([one for one in groups if not _able(one, serving)], lambda one: one.type):
        count = _count(some)
        text = (
            f"{_many(count, 'step')} on queue {quoted(queue)} {_wait(count)} for a worker that has the type "
            f"{quoted(kind)}: install its package where workers run"
        )
        yield _of_steps(CauseKind.TYPE_NOT_INSTALLED, queue, text, some, Weight.BLOCKED, serving)


def _busy(queue: str, groups: list[StepGroup], serving: list[WorkerFacts]) -> Iterator[Cause]:
    """Say that a queue is short of workers; what was queued just now is not worth a word."""
    full = [
        one for one in groups if not any(worker.room(python=one.type == "python") for worker in _able(one, serving))
    ]
    if full:
        slots, taken = sum(one.concurrency for one in serving), sum(one.taken for one in serving)
        count = _count(full)
        text = (
            f"{_many(count, 'step')} {_wait(count)} on queue {quoted(queue)} for room: {taken} of {slots} slots of "
            f"{_many(len(serving), 'worker')} are taken"
        )
        yield _of_steps(CauseKind.WORKERS_BUSY, queue, text, full, Weight.WAITS, serving)


def _outbox(facts: Standstill) -> Iterator[Cause]:
    now = facts.around.now
    for lane, one in facts.around.lanes.items():
        queue = lane.removesuffix(".python")
        late = one.oldest is not None and now - one.oldest > PATIENCE
        if late and facts.around.streams_down is None and facts.around.serving(queue):
            many, lie = _many(one.outbox, "dispatch", "dispatches"), "lies" if one.outbox == 1 else "lie"
            text = f"{many} of queue {quoted(queue)} {lie} in the outbox, and no worker publishes there"
            subject, start = Subject("queue", queue), start_command(queue)
            yield Cause(CauseKind.OUTBOX_LAG, subject, text, Weight.WAITS, one.oldest, command=start, count=one.outbox)


# -- steps that have started -----------------------------------------------------------------------------------


def _waiting(facts: Standstill) -> Iterator[Cause]:
    """Yield what waits for people and for another try."""
    waiting = [one for one in facts.steps if one.status == "waiting" and not one.over]
    for (workflow, step, kind, code, label), some in _by(waiting, _alike(waiting)):
        where, count = f"step {quoted(step)} of workflow {quoted(workflow)}", _count(some)
        # A run may wait for many of its items.
        one = "step" if "[]" in step else "run"
        first = min(some, key=_since)
        if code == NOT_INSTALLED:
            yield from _still_not_installed(facts, some)
        elif code is not None:
            text = f"{_many(count, one)} {_wait(count)} to try {where} again, after {code}"
            yield _of_steps(CauseKind.RETRY, step, text, some, Weight.WAITS, (), command("explain", str(first.run)))
        elif kind == "approval" and label == ASKED:
            text = f"{_many(count, one)} {_wait(count)} for approval, in {where}"
            how = command("approve", str(first.run), step)
            yield _of_steps(CauseKind.APPROVAL, step, text, some, Weight.BLOCKED, (), how)
        elif kind == "wait_signal":
            which = f"the signal {quoted(str(label))}" if label else f"signals, one for {quoted(str(first.label))}"
            text = f"{_many(count, one)} {_wait(count)} for {which}, in {where}"
            how = command("signal", str(first.run), str(first.label))
            yield _of_steps(CauseKind.SIGNAL, step, text, some, Weight.BLOCKED, (), how)


def _alike(waiting: Iterable[StepGroup]) -> Callable[[StepGroup], Hashable]:
    """Return what waiting steps have in common that are told as one: where they are, and what they wait for.

    Signals that are named after what they are about are as many as there are of that: they are told together.
    """
    names: dict[tuple[str, str], set[str | None]] = {}
    for one in waiting:
        if one.type == "wait_signal":
            names.setdefault((one.workflow, one.step), set()).add(one.label)

    def alike(one: StepGroup) -> Hashable:
        few = len(names.get((one.workflow, one.step), ())) <= MOST_SIGNALS
        label = one.label if one.type == "approval" or (one.type == "wait_signal" and few) else None
        return (one.workflow, one.step, one.type, one.code, label)

    return alike


def _still_not_installed(facts: Standstill, groups: list[StepGroup]) -> Iterator[Cause]:
    for queue, some in _by(groups, lambda one: one.queue):
        serving = facts.around.serving(queue)
        if serving:
            yield from _not_installed(queue, some, serving)
        else:
            text = f"{_many(_count(some), 'step')} of queue {quoted(queue)} cannot start, and no worker serves it"
            yield _of_steps(CauseKind.NO_WORKER, queue, text, some, Weight.BLOCKED, ())


def _lost(facts: Standstill) -> Iterator[Cause]:
    lost = [one for one in facts.steps if one.status == "running" and (one.lost or one.over)]
    for queue, groups in _by(lost, lambda one: one.queue):
        served = bool(facts.around.serving(queue))
        then = "others take over when their leases end" if served else "no other serves the queue"
        count = _count(groups)
        text = f"{_many(count, 'step')} on queue {quoted(queue)} lost {'its' if count == 1 else 'their'} worker: {then}"
        yield _of_steps(CauseKind.WORKER_LOST, queue, text, groups, Weight.WAITS if served else Weight.BLOCKED, ())


def _overdue(facts: Standstill) -> Iterator[Cause]:
    late = [one for one in facts.steps if one.status == "waiting" and one.over]
    if late:
        count = _count(late)
        are = "is" if count == 1 else "are"
        first = min(late, key=_since)
        text = (
            f"{_many(count, 'step')} {are} overdue, first step {quoted(first.step)} of workflow "
            f"{quoted(first.workflow)}: the time has come, and no worker has looked"
        )
        weight = Weight.WAITS if facts.around.alive else Weight.BLOCKED
        # A worker that died a moment ago still counts as alive: the list shows how long each has been silent.
        how = command("worker", "ls" if facts.around.alive else "start")
        yield _of_steps(CauseKind.OVERDUE, "timers", text, late, weight, (), how)


# -- runs ------------------------------------------------------------------------------------------------------


def _runs(facts: Standstill) -> Iterator[Cause]:
    for one in facts.runs:
        name = quoted(one.workflow)
        match one.status:
            case RunStatus.PAUSED:
                text = f"{_many(one.count, 'run')} of workflow {name} {'is' if one.count == 1 else 'are'} paused"
                how = command("resume", str(one.run)) if one.count == 1 else command("ps", "--status", "paused")
                yield _of_runs(CauseKind.RUN_PAUSED, one, text, Weight.BLOCKED, how)
            case RunStatus.CANCELLING:
                text = f"{_many(one.count, 'run')} of workflow {name} {_wait(one.count)} for steps to stop"
                yield _of_runs(CauseKind.CANCELLING, one, text, Weight.WAITS, command("explain", str(one.run)))
            case RunStatus.PENDING if facts.around.paused("workflow", one.workflow) is None:
                text = f"{_many(one.count, 'run')} of workflow {name} {_wait(one.count)} to be let in by a worker"
                yield _of_runs(CauseKind.NOT_ADMITTED, one, text, Weight.WAITS, None)


def _paused_workflows(facts: Standstill) -> Iterator[Cause]:
    for pause in _pauses(facts, "workflow"):
        gated = sum(one.waiting for one in facts.gates if one.workflow == pause.name)
        free = sum(one.count for one in facts.runs if (one.workflow, one.status) == (pause.name, RunStatus.PENDING))
        count = gated + free
        text = (
            f"workflow {quoted(pause.name)} is paused by {pause.paused_by}{reason(pause.reason)}: "
            f"{_many(count, 'new run')} {_wait(count)}"
        )
        yield _held(CauseKind.WORKFLOW_PAUSED, pause, text, count, command("workflow", "resume", pause.name))


def _gates(facts: Standstill) -> Iterator[Cause]:
    for gate in facts.gates:
        if facts.around.paused("workflow", gate.workflow) is None:
            yield _gate(gate)


def _gate(gate: GateGroup) -> Cause:
    name, full = gate_name(gate.workflow, gate.key), gate.active >= gate.limit
    held = f", {gate.paused} of them paused" if gate.paused else ""
    state = f"{gate.active} of {gate.limit} are in{held}" if full else "it has room, and a worker lets them in"
    who, how = "", None
    holders: tuple[Holder, ...] = ()
    if full and gate.oldest is not None:
        run_id, status, since = gate.oldest
        who, how = f"; {run_id}, {status}, has been in longest", command("explain", str(run_id))
        if gate.limit == 1:
            state, who = f"its only place is taken by {run_id}, {status}", ""
        holders = (Holder("run", str(run_id), status, since),)
    weight = Weight.HELD if full and gate.paused >= gate.active else Weight.WAITS
    text = f"{_many(gate.waiting, 'run')} {_wait(gate.waiting)} at gate {quoted(name)}: {state}{who}"
    data = {"limit": gate.limit, "active": gate.active, "paused": gate.paused, "waiting": gate.waiting}
    kind = CauseKind.GATE_FULL if full else CauseKind.NOT_ADMITTED
    subject = Subject("gate", name)
    return Cause(kind, subject, text, weight, gate.since, None, holders, how, gate.waiting, data=data)


def _to_look_at(facts: Standstill) -> Iterator[Cause]:
    here = Subject("installation", "incidents")
    if facts.incidents:
        text = f"{_many(facts.incidents, 'incident')} {'is' if facts.incidents == 1 else 'are'} open"
        how = command("incident", "ls")
        yield Cause(CauseKind.INCIDENTS, here, text, Weight.NOTES, command=how, count=facts.incidents)
    for queue, count in facts.dead_letters.items():
        text = f"{_many(count, 'dead letter')} of queue {quoted(queue)}: messages that nobody could use"
        how, subject = command("queue", "dead", queue), Subject("queue", queue)
        yield Cause(CauseKind.DEAD_LETTERS, subject, text, Weight.NOTES, command=how, count=count)


# -- how -------------------------------------------------------------------------------------------------------


def _pauses(facts: Standstill, kind: str) -> Iterator[Pause]:
    return (pause for pause in facts.around.pauses if pause.kind == kind)


def _held(kind: CauseKind, pause: Pause, text: str, count: int, how: str) -> Cause:
    weight = Weight.HELD if count else Weight.NOTES
    holder = Holder("person", pause.paused_by, pause.reason, pause.paused_at)
    subject = Subject(pause.kind, pause.name)
    return Cause(kind, subject, text, weight, pause.paused_at, holders=(holder,), command=how, count=count)


def _of_runs(kind: CauseKind, one: RunGroup, text: str, weight: Weight, how: str | None) -> Cause:
    members = (str(one.run),)
    subject = Subject("workflow", one.workflow)
    return Cause(kind, subject, text, weight, one.since, command=how, count=one.count, members=members)


def _of_steps(
    kind: CauseKind,
    subject: str,
    text: str,
    groups: Sequence[StepGroup],
    weight: Weight,
    workers: Iterable[WorkerFacts],
    how: str | None = None,
) -> Cause:
    """Make the cause of a set of steps; without a command of its own, more workers would move it."""
    on_queue = kind in (CauseKind.NO_WORKER, CauseKind.TYPE_NOT_INSTALLED, CauseKind.WORKERS_BUSY)
    on_queue = on_queue or kind is CauseKind.WORKER_LOST
    dues = [one.due for one in groups if one.due is not None]
    names = dict.fromkeys(f"{one.workflow}/{one.step}" for one in groups)
    return Cause(
        kind,
        Subject("queue" if on_queue else "step", subject),
        text,
        weight,
        min((one.since for one in groups if one.since is not None), default=None),
        min(dues, default=None) if kind in (CauseKind.RETRY, CauseKind.WORKER_LOST) else None,
        tuple(_worker(one) for one in list(workers)[:MOST_HOLDERS]),
        start_command(subject) if how is None and on_queue else how,
        _count(groups),
        tuple(names)[:MOST],
        data={"run": str(groups[0].run)},
    )


def _worker(one: WorkerFacts) -> Holder:
    return Holder(
        "worker",
        one.id,
        f"{one.status}, {one.taken} of {one.concurrency} slots taken",
        one.seen_at if one.status == "lost" else None,
    )


def _by(items: Iterable[T], key: Callable[[T], Hashable]) -> Iterator[tuple[Any, list[T]]]:
    """Yield items in groups, in the order in which the groups appear."""
    groups: dict[Hashable, list[T]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    yield from groups.items()


def _count(groups: Iterable[StepGroup]) -> int:
    return sum(one.count for one in groups)


def _since(one: StepGroup) -> tuple[bool, float]:
    at: datetime | None = one.since
    return (at is None, 0.0 if at is None else at.timestamp())


def _many(count: int, one: str, several: str | None = None) -> str:
    return f"{count:,} {one if count == 1 else several or one + 's'}"


def _wait(count: int) -> str:
    return "waits" if count == 1 else "wait"
