"""Runs, steps and events as lines of text. Pure: the time is an argument."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from flowforge_cli.text import (
    Row,
    Span,
    age,
    clock,
    compact,
    duration,
    moment,
    one_line,
    short_id,
    state,
    table,
)

if TYPE_CHECKING:
    from flowforge.model.documents import Compensation, Run, RunEvent, Step

Lines = list[list[Span]]

#: Steps of a run that `show` lists at least before it leaves out finished ones.
MOST_STEPS = 200


def headline(run: Run, *, unicode: bool) -> list[Span]:
    """Return state, workflow and id in full: what a run is."""
    return [
        state(run.status.value, unicode=unicode),
        Span("  "),
        Span(f"{run.workflow}@{run.version}", "strong"),
        Span(f"  {run.id}"),
    ]


def outcome(run: Run, *, unicode: bool, now: datetime) -> list[Span]:
    """Return one line on how a run stands or ended."""
    took = (run.finished_at or now) - (run.started_at or run.created_at)
    words = "in" if run.finished_at else "after"
    line = [
        state(run.status.value, unicode=unicode),
        Span(f"  {run.workflow}@{run.version} {short_id(run.id)} {words} {duration(took)}"),
    ]
    return [*line, Span(f"  {error_text(run.error)}")] if run.error else line


def error_text(error: Mapping[str, Any] | None) -> str:
    """Return an error on one line: code, where, message."""
    if not error:
        return ""
    where = f" in step '{error['step']}'" if error.get("step") else ""
    attempt = f" (attempt {error['attempt']})" if error.get("attempt") else ""
    return one_line(f"{error.get('code', 'ERROR')}{where}{attempt}: {error.get('message', '')}", 300)


def steps_done(run: Run) -> str:
    """Return how many steps are done, of how many; those that failed or were cancelled are not."""
    if run.steps is None:
        return "-"
    return f"{sum(1 for step in run.steps if step.status.done)}/{len(run.steps)}"


#: Titles of the list of runs.
RUNS = ("STATE", "RUN", "WORKFLOW", "STEPS", "AGE", "TOOK", "NOTE")


def run_rows(runs: Sequence[Run], short: Mapping[UUID, str], now: datetime, *, unicode: bool) -> list[Row]:
    """Return the rows of a list of runs; *short* has an id for each that no other of the list has."""
    rows: list[Row] = []
    for run in runs:
        took = None if run.started_at is None else (run.finished_at or now) - run.started_at
        rows.append(
            [
                state(run.status.value, unicode=unicode),
                Span(short[run.id], "strong"),
                f"{run.workflow}@{run.version}",
                steps_done(run),
                age(run.created_at, now),
                duration(took),
                one_line(_note(run, now), 100),
            ]
        )
    return rows


def _note(run: Run, now: datetime) -> str:
    if run.status.value == "compensating":
        return f"undoing what was done, after {error_text(run.error)}" if run.error else "undoing what was done"
    if run.error:
        return error_text(run.error)
    if run.status.value == "pending":
        return f"waits to be let in: flowforge explain {short_id(run.id)}"
    if run.status.value == "paused":
        return "held by an operator"
    active = [step for step in run.steps or () if step.status.value in ("running", "waiting", "queued")]
    if not active:
        return ""
    more = f" and {len(active) - 1} more" if len(active) > 1 else ""
    return f"at {active[0].id}{more}: {step_note(active[0], now) or active[0].status.value}"


def details(run: Run, now: datetime) -> Lines:
    """Return what is known of a run beside its steps."""
    facts: list[tuple[str, str]] = [("times", _times(run, now)), ("trigger", run.trigger)]
    if run.parent is not None:
        facts.append(
            ("parent", f"step {run.parent[1]} of run {run.parent[0]}" if run.parent[1] else str(run.parent[0]))
        )
    if run.replay_of is not None:
        facts.append(("replays", str(run.replay_of)))
    if run.labels:
        facts.append(("labels", "  ".join(f"{key}={value}" for key, value in run.labels.items())))
    if run.idempotency_key:
        facts.append(("key", run.idempotency_key))
    if run.priority:
        facts.append(("priority", str(run.priority)))
    if run.deadline_at and not run.status.final:
        facts.append(("deadline", f"in {duration(run.deadline_at - now)}"))
    facts.append(("input", compact(run.input)))
    if run.output is not None:
        facts.append(("output", compact(run.output)))
    lines = [[Span(f"  {name:<9}", "dim"), Span(one_line(value, 400))] for name, value in facts]
    if run.error:
        lines.append([Span("  error    ", "dim"), Span(error_text(run.error), "bad")])
        if run.error.get("hint"):
            lines.append([Span("           "), Span(f"hint: {one_line(run.error['hint'])}", "dim")])
    return lines


def _times(run: Run, now: datetime) -> str:
    times = f"created {moment(run.created_at)} ({age(run.created_at, now)} ago)"
    if run.started_at is None:
        return times
    times += f", started after {duration(run.started_at - run.created_at)}"
    if run.finished_at is None:
        return f"{times}, runs for {duration(now - run.started_at)}"
    return f"{times}, took {duration(run.finished_at - run.started_at)}"


def steps_table(steps: Sequence[Step], now: datetime, *, unicode: bool) -> Lines:
    """Return the steps of a run with attempts, times, errors and what they wait for."""
    rows: list[Row] = []
    for step in steps:
        waited, ran = _step_times(step, now)
        rows.append(
            [
                step.id,
                step.type,
                state(step.status.value, unicode=unicode),
                str(step.attempts) if step.attempts else "-",
                duration(waited),
                duration(ran),
                one_line(step_note(step, now), 160),
            ]
        )
    return table(("STEP", "TYPE", "STATE", "ATT", "QUEUED", "RAN", "NOTE"), rows, indent="  ")


def compensation(made: Compensation, now: datetime, *, unicode: bool) -> Lines:
    """Return what was undone, and what cannot be."""
    lines: Lines = [[Span(f"  undoing is {made.status}", "strong")], *steps_table(made.steps, now, unicode=unicode)]
    if made.not_reversible:
        lines.append([Span("  not reversible: ", "dim"), Span(one_line(", ".join(made.not_reversible), 400), "warn")])
    return lines


def _step_times(step: Step, now: datetime) -> tuple[timedelta | None, timedelta | None]:
    """Return how long the last attempt queued, and how long it ran."""
    waited = ran = None
    if step.queued_at and step.started_at and step.started_at >= step.queued_at:
        waited = step.started_at - step.queued_at
    elif step.queued_at and step.status.value == "queued":
        waited = now - step.queued_at
    if step.started_at and step.status.value != "queued":
        ran = (step.finished_at or now) - step.started_at
    return waited, ran


def step_note(step: Step, now: datetime) -> str:
    """Return what a step waits for, or what went wrong with it."""
    status, left = step.status.value, None if step.due_at is None else step.due_at - now
    error = "" if not step.error else one_line(step.error.get("message", ""))
    if step.error and status != "skipped":
        error = f"{step.error.get('code', '')}: {error}"
    if status == "waiting" and step.waits_for is not None:
        return _waits_for(step.waits_for, left)
    if status == "waiting" and left is not None:
        return f"next attempt in {duration(left)} after {error}" if error else f"until {moment(step.due_at or now)}"
    if status == "running":
        if left is not None and left < timedelta():
            return f"lease ended {duration(-left)} ago on {step.worker}"
        progress = "" if step.progress is None else f"{compact(step.progress, 80)} "
        lease = "" if left is None else f", lease ends in {duration(left)}"
        return f"{progress}on {step.worker}{lease}"
    if status == "queued" and step.queued_at and now - step.queued_at > timedelta(seconds=2):
        return f"no worker has taken it for {duration(now - step.queued_at)}"
    crashes = f" ({step.crashes} workers lost)" if step.crashes > 1 else " (1 worker lost)" if step.crashes else ""
    return f"{error}{crashes}".strip()


def _waits_for(wanted: Mapping[str, Any], left: timedelta | None) -> str:
    """Return what a step waits for that is not a time."""
    limit = "" if left is None else f", for {duration(left)} at most"
    if "approval" in wanted:
        asked = wanted["approval"]
        who = ", ".join(asked.get("approvers") or ()) or "anybody"
        return f"asks {who}: {one_line(asked.get('prompt') or '', 80)} ({wanted['missing']} missing{limit})"
    if "signal" in wanted:
        return f"for signal {wanted['signal']}{limit}"
    if "items" in wanted:
        return f"{wanted['open']} of {wanted['items']} items to go"
    return f"for run {short_id(wanted['run'])}" if wanted.get("run") else "for a run"


#: Characters of the longest type of an event.
EVENT = 28


def event_line(event: RunEvent, started: datetime) -> list[Span]:
    """Return one event as a line: time, time since the run was created, type, step, what else it says."""
    style = {"failed": "bad", "completed": "ok", "retrying": "warn", "cancelled": "dim", "skipped": "dim"}
    step = "" if event.step is None else event.step + (f" #{event.attempt}" if event.attempt else "")
    return [
        Span(clock(event.at), "dim"),
        Span(f" {'+' + duration(event.at - started):>8}  "),
        Span(f"{event.type:<{EVENT}}", style.get(event.type.partition(".")[2], "")),
        Span(f" {step:<20}" if step else ""),
        Span(f" {event_note(event)}"),
    ]


def event_note(event: RunEvent) -> str:
    """Return what an event says beyond its type."""
    data = dict(event.data)
    error = data.pop("error", None)
    parts = []
    if isinstance(error, dict):
        parts.append(f"{error.get('code', '')}: {one_line(error.get('message', ''))}")
    for name, value in data.items():
        if value is not None:
            parts.append(f"{name}={value if isinstance(value, str) else compact(value, 120)}")
    return one_line("  ".join(parts), 300)
