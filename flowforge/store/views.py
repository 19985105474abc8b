"""What surfaces show: runs, found by reference or filter, with their steps.

Read-only.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

from flowforge.model.compensating import irreversible
from flowforge.model.documents import Compensation, Run, Step
from flowforge.model.plan import Body, Plan, StepPlan
from flowforge.model.status import RunStatus, StepStatus
from flowforge.store.database import Connection

_RUN = """r.id, w.name, v.version, r.status::text, r.input, r.output, r.error, r.trigger, r.created_at, r.labels,
       r.priority, r.replay_of, r.idempotency_key, r.started_at, r.finished_at, r.deadline_at, r.seq, r.version_id,
       r.parent_run_id, CASE WHEN r.parent_run_id IS NOT NULL THEN (
           SELECT s.step_id FROM runs p JOIN workflow_steps s ON s.version_id = p.version_id
           WHERE p.id = r.parent_run_id AND s.step_no = greatest(r.parent_step_no, -1 - r.parent_step_no)) END"""
_FROM = "FROM runs r JOIN workflow_versions v ON v.id = r.version_id JOIN workflows w ON w.id = r.workflow_id"

ONE = f"SELECT {_RUN} {_FROM} WHERE r.id = %b"
MANY = f"SELECT {_RUN} {_FROM} WHERE r.id = ANY(%b::uuid[]) ORDER BY r.id DESC"

STEPS = """
SELECT run_id, step_no, status::text, attempt, crashes, worker, output, error, progress, queued_at, started_at,
       finished_at, due_at, label, open_dependencies, skipped_dependencies
FROM steps WHERE run_id = ANY(%b::uuid[])
"""
#: Places in such a row, behind its key: how often it was started, what the outcome said, and of a foreach the items
#: that were entered.
ATTEMPTS, LABEL, ENTERED = 1, 11, 13

STATUSES = "SELECT id, status::text FROM runs WHERE id = ANY(%b::uuid[])"

#: The newest runs of a version that have ended.
FINISHED = """
SELECT id FROM runs WHERE workflow_id = %b::int8 AND version_id = %b::int8 AND finished_at IS NOT NULL
ORDER BY id DESC LIMIT %b::int4
"""

#: Digits of a whole id.
FULL = 32

LAST = "SELECT id FROM runs ORDER BY id DESC LIMIT 1"
LAST_FAILED = "SELECT id FROM runs WHERE status = 'failed' ORDER BY id DESC LIMIT 1"
#: A prefix is a range of the key; a suffix has to look at the newest runs, which is what people mean.
BY_PREFIX = "SELECT id FROM runs WHERE id >= %b::uuid AND id <= %b::uuid ORDER BY id DESC LIMIT 6"
BY_SUFFIX = """
SELECT id FROM (SELECT id FROM runs ORDER BY id DESC LIMIT 100000) AS recent
WHERE right(replace(id::text, '-', ''), %b::int4) = %b LIMIT 6
"""


async def run(connection: Connection, run_id: UUID) -> tuple[Run, int] | None:
    """Return a run without its steps, and the id of its version's row."""
    row = await (await connection.cursor(binary=True).execute(ONE, (run_id,))).fetchone()
    return None if row is None else (_run(row), row[17])


async def runs(connection: Connection, run_ids: Sequence[UUID]) -> list[tuple[Run, int]]:
    """Return runs without their steps, newest first, each with the id of its version's row."""
    cursor = await connection.cursor(binary=True).execute(MANY, (list(run_ids),))
    return [(_run(row), row[17]) for row in await cursor.fetchall()]


async def finished(connection: Connection, workflow_id: int, version_id: int, limit: int) -> list[UUID]:
    """Return the newest runs of a version that have ended, newest first."""
    cursor = await connection.cursor(binary=True).execute(FINISHED, (workflow_id, version_id, limit))
    return [row[0] for row in await cursor.fetchall()]


async def with_steps(connection: Connection, found: Sequence[tuple[Run, Plan]]) -> list[Run]:
    """Return runs with every step, those that were never touched included, in the definition's order."""
    cursor = await connection.cursor(binary=True).execute(STEPS, ([run.id for run, _ in found],))
    rows: dict[UUID, dict[int, Any]] = defaultdict(dict)
    for row in await cursor.fetchall():
        rows[row[0]][row[1]] = row[2:]
    return [_with_steps(run, plan, rows.get(run.id, {})) for run, plan in found]


def _with_steps(run: Run, plan: Plan, rows: dict[int, Any]) -> Run:
    steps: list[Step] = []
    for step in plan.steps:
        row = rows.get(step.no)
        steps.append(_step(run, step, row))
        if step.body is not None and row is not None and row[LABEL] is not None:
            steps += [_step(run, plan.steps[no], rows.get(no)) for no in _items(step.body, row[ENTERED])]
    if not plan.compensates:
        return replace(run, steps=tuple(steps))
    return replace(run, steps=tuple(steps), compensation=_compensation(run, plan, rows))


def _items(body: Body, entered: int) -> list[int]:
    return [body.number(item, position) for item in range(entered) for position in range(body.size)]


def _compensation(run: Run, plan: Plan, rows: dict[int, Any]) -> Compensation:
    undoing = [
        _step(run, plan.steps[no], row)
        for no, row in rows.items()
        if plan.steps[no].compensates is not None and row[0] not in ("pending", "cancelled")
    ]
    stays = [
        plan.steps[no].id
        for no, row in sorted(rows.items())
        if irreversible(plan.steps[no], StepStatus(row[0]), row[ATTEMPTS])
    ]
    return Compensation.of(run.status, undoing, stays)


def _step(run: Run, step: StepPlan, row: Any) -> Step:
    if row is None:
        untouched = StepStatus.CANCELLED if run.status.final else StepStatus.PENDING
        return Step(step.id, step.name, step.type, untouched)
    status, attempts, crashes, worker, output, error, *times, label, waits, _ = row
    completed = status in ("completed", "compensated")
    made = Step(
        step.id,
        step.name,
        step.type,
        StepStatus(status),
        attempts,
        crashes,
        worker,
        output if completed else None,
        None if completed else error,
        *times,
    )
    waits_for = status == "waiting" and error is None and step.wakes
    return replace(made, waits_for=_waits_for(step, label, waits, output)) if waits_for else made


def _waits_for(step: StepPlan, label: str | None, waits: int, output: Any) -> dict[str, Any] | None:
    """Say what a step waits for that is executed again when it has come."""
    kept = output if isinstance(output, dict) else {}
    match step.type:
        case "foreach":
            return {"items": int(label or 0), "open": waits}
        case "approval":
            return {"approval": {name: kept.get(name) for name in ("prompt", "details", "approvers")}, "missing": waits}
        case "wait_signal":
            return {"signal": label}
        case _:
            return {"run": kept.get("run")}


async def statuses(connection: Connection, run_ids: Sequence[UUID]) -> dict[UUID, RunStatus]:
    """Return the statuses of runs; unknown ones are not in it."""
    cursor = await connection.cursor(binary=True).execute(STATUSES, (list(run_ids),))
    return {row[0]: RunStatus(row[1]) for row in await cursor.fetchall()}


async def matching(connection: Connection, reference: str) -> list[UUID]:
    """Return up to six runs that a reference may mean: an id, a prefix or suffix of 4+ digits, @last, @last-failed."""
    cursor = connection.cursor(binary=True)
    if reference in ("@last", "@last-failed"):
        await cursor.execute(LAST if reference == "@last" else LAST_FAILED)
        return [row[0] for row in await cursor.fetchall()]
    digits = reference.replace("-", "").lower()
    if len(digits) == FULL:
        await cursor.execute("SELECT id FROM runs WHERE id = %b::uuid", (UUID(hex=digits),))
        return [row[0] for row in await cursor.fetchall()]
    low, high = UUID(hex=digits.ljust(FULL, "0")), UUID(hex=digits.ljust(FULL, "f"))
    await cursor.execute(BY_PREFIX, (low, high))
    found = [row[0] for row in await cursor.fetchall()]
    if not found:
        await cursor.execute(BY_SUFFIX, (len(digits), digits))
        found = [row[0] for row in await cursor.fetchall()]
    return found


def _run(row: Any) -> Run:
    return Run(
        id=row[0],
        workflow=row[1],
        version=row[2],
        status=RunStatus(row[3]),
        input=row[4],
        output=row[5],
        error=row[6],
        trigger=row[7],
        created_at=row[8],
        labels=row[9] or {},
        priority=row[10],
        replay_of=row[11],
        idempotency_key=row[12],
        started_at=row[13],
        finished_at=row[14],
        deadline_at=row[15],
        seq=row[16],
        parent=None if row[18] is None else (row[18], row[19]),
    )
