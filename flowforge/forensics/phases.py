"""Where the time of one run went: the ledger of its phases, its critical path, and what had time to spare.

The ledger is flowforge.model.phases; here it becomes frames. Invariant: the parts of a run, and those of every step,
sum to the run's wall time.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

import pandas as pd

from flowforge.forensics import frames
from flowforge.forensics.frames import flag, number, seconds, share, text, time
from flowforge.forensics.source import Case, Reference, Source, current
from flowforge.model.critical import NOT_ITS_OWN
from flowforge.model.phase import Kind, Phase, Phases, totals
from flowforge.model.plan import Plan

#: The columns of kinds of time.
PARTS = {
    Kind.GATE: "gate_s",
    Kind.OUTBOX: "outbox_s",
    Kind.QUEUE: "queue_s",
    Kind.EXECUTION: "exec_s",
    Kind.BACKOFF: "backoff_s",
    Kind.TIMER: "timer_s",
    Kind.SIGNAL: "signal_s",
    Kind.CHILD: "child_s",
    Kind.BLOCKED: "blocked_s",
    Kind.PAUSED: "paused_s",
    Kind.INFRASTRUCTURE: "infrastructure_s",
    Kind.COMPENSATION: "compensation_s",
    Kind.ENDED: "ended_s",
}
PHASES = {
    "step": text("the step; missing in the first row: the run as a whole"),
    "gate_s": seconds("waiting for a free place under the workflow's limit"),
    "outbox_s": seconds("ready and not published yet"),
    "queue_s": seconds("published and taken by no worker"),
    "exec_s": seconds("executing"),
    "backoff_s": seconds("between a failed attempt and the next one"),
    "timer_s": seconds("waiting for a time that the step names"),
    "signal_s": seconds("waiting for a signal or a decision of people"),
    "child_s": seconds("waiting for a run that it started"),
    "blocked_s": seconds("waiting for other steps"),
    "paused_s": seconds("held by an operator"),
    "infrastructure_s": seconds("attempts whose worker was lost or had to stop"),
    "compensation_s": seconds("undoing what was done"),
    "ended_s": seconds("the run was over, until an operator let it go on"),
    "done_s": seconds("the step had ended and the run went on"),
    "wall_s": seconds("sum of all: the wall time of the run"),
    "critical": flag("whether it is on the critical path"),
}
TIMELINE = {
    "step": text("the step; missing: the run as a whole"),
    "kind": text("what the time went into: gate, queue, execution, back-off, blocked …"),
    "start_at": time("when it began"),
    "end_at": time("when it ended"),
    "seconds": seconds("how long it took"),
    "attempt": number("the attempt that executes, failed or was lost"),
    "critical": flag("whether the end of the run was waiting for it"),
}
CRITICAL_PATH = {
    "step": text("the step that the end was waiting for"),
    "start_at": time("from when it was ready"),
    "end_at": time("until it let go on what came after it"),
    "seconds": seconds("how long that took"),
    "share": share("part of the wall time"),
}
SLACK = {
    "step": text("the step"),
    "ended_at": time("when it ended"),
    "slack_s": seconds("how much later it could have ended without the run ending later"),
    "critical": flag("whether it is on the critical path"),
}


def ledger(case: Case) -> Phases:
    """Return the ledger of a run."""
    return case.capsule.phases(case.seen_at)


def phases(run: Reference, *, source: Source | None = None) -> pd.DataFrame:
    """Return what the time of a run went into: in the first row as a whole, then for each step.

    Every row sums to the wall time. Columns: `fx.columns("phases")`.
    """
    chosen = source or current()
    found = ledger(chosen.case(run))
    critical = {stretch.step for stretch in found.critical}
    wall = found.wall.total_seconds()
    rows: list[dict[str, object]] = [{"step": None, "critical": None, "done_s": 0.0, **_parts(found.parts)}]
    for step, some in found.steps.items():
        parts = _parts(totals(some))
        rows.append(
            {
                "step": step,
                "critical": step in critical,
                "done_s": max(round(wall - sum(parts.values()), 6), 0.0),
                **parts,
            }
        )
    return frames.frame([{**row, "wall_s": wall} for row in rows], PHASES)


def timeline(run: Reference, *, source: Source | None = None) -> pd.DataFrame:
    """Return every phase of a run and of its steps, in order. Columns: `fx.columns("timeline")`."""
    chosen = source or current()
    found = ledger(chosen.case(run))
    rows: list[tuple[str | None, Phase, bool | None]] = [(None, phase, None) for phase in found.timeline]
    rows += [(step, phase, _on_path(found, step, phase.start)) for step, some in found.steps.items() for phase in some]
    return frames.frame(
        [
            (step, phase.kind.value, phase.start, phase.end, phase.duration.total_seconds(), phase.attempt, critical)
            for step, phase, critical in rows
        ],
        TIMELINE,
    )


def critical_path(run: Reference, *, source: Source | None = None) -> pd.DataFrame:
    """Return the steps that the end of a run, or its present, was waiting for, oldest first.

    Making any other step faster would not have helped. Columns: `fx.columns("critical_path")`.
    """
    chosen = source or current()
    found = ledger(chosen.case(run))
    made = frames.frame([stretch._asdict() for stretch in found.critical], _RENAMED)
    made = made.rename(columns={"start": "start_at", "end": "end_at"})
    made["seconds"] = (made["end_at"] - made["start_at"]).dt.total_seconds()
    wall = found.wall.total_seconds()
    made["share"] = made["seconds"] / wall if wall else 0.0
    return frames.frame(made, CRITICAL_PATH)


_RENAMED = {"step": CRITICAL_PATH["step"], "start": CRITICAL_PATH["start_at"], "end": CRITICAL_PATH["end_at"]}


def slack(run: Reference, *, source: Source | None = None) -> pd.DataFrame:
    """Return how much time each step had to spare, the most first. Columns: `fx.columns("slack")`."""
    chosen = source or current()
    case = chosen.case(run)
    plan, found = case.capsule.plan, ledger(case)
    own = {step: [phase for phase in some if phase.kind not in NOT_ITS_OWN] for step, some in found.steps.items()}
    ready = {step: some[0].start for step, some in own.items() if some}
    ended = {step: some[-1].end for step, some in own.items() if some}
    spare: dict[str, float] = {}
    for step in sorted(ended, key=lambda one: ended[one], reverse=True):
        after = [name for name in _successors(plan, step) if name in ready]
        ways = [(ready[name] - ended[step]).total_seconds() + spare.get(name, 0.0) for name in after]
        spare[step] = max(min(ways, default=(found.end - ended[step]).total_seconds()), 0.0)
    critical = {stretch.step for stretch in found.critical}
    rows = [(step, ended[step], spare[step], step in critical) for step in found.steps if step in ended]
    made = frames.frame(rows, SLACK)
    return made.sort_values("slack_s", ascending=False, ignore_index=True, kind="stable")


def critical_steps(case: Case) -> set[str]:
    """Return the ids of the steps on the critical path."""
    return {stretch.step for stretch in ledger(case).critical}


def _on_path(found: Phases, step: str, start: datetime) -> bool:
    return any(one.step == step and one.start <= start < one.end for one in found.critical)


def _parts(parts: Mapping[Kind, timedelta]) -> dict[str, float]:
    return {name: parts[kind].total_seconds() if kind in parts else 0.0 for kind, name in PARTS.items()}


def _successors(plan: Plan, step: str) -> list[str]:
    no = plan.find(step)
    return [] if no is None else [plan.steps[edge.step].id for edge in plan.steps[no].successors]
