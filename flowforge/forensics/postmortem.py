"""Findings about one run, and about two runs side by side."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pandas as pd

from flowforge.forensics.compare import compare, differences
from flowforge.forensics.detectors import Finding
from flowforge.forensics.effects import duplicates
from flowforge.forensics.filters import Given
from flowforge.forensics.findings import findings, made
from flowforge.forensics.phases import PARTS, critical_path, phases
from flowforge.forensics.source import Reference, Source, current
from flowforge.forensics.tries import moment
from flowforge.forensics.view import RunView
from flowforge.forensics.workers import lease_expiries
from flowforge.model.card import span
from flowforge.model.phase import Kind

#: A kind of time that a run's wall time mostly went into, and what that is called as a cause.
MOSTLY = 0.4
_CAUSES = {
    Kind.GATE: "gate_starvation",
    Kind.OUTBOX: "queue_backlog",
    Kind.QUEUE: "queue_backlog",
    Kind.EXECUTION: "slow_step",
    Kind.BACKOFF: "retries",
    Kind.SIGNAL: "waits_for_people",
    Kind.PAUSED: "paused",
    Kind.INFRASTRUCTURE: "worker_lost",
}
#: How far around a run its workflow is looked at.
AROUND = timedelta(hours=1)
#: What a finding about the whole workflow weighs for one of its runs.
LESS = 0.9


def postmortem(run: Reference, *, source: Source | None = None) -> pd.DataFrame:
    """Return what happened to one run, and to its workflow around it, the weightiest first.

    Columns: `fx.columns("findings")`.
    """
    chosen = source or current()
    view = RunView(chosen.case(run), chosen)
    own = list(_own(view))
    told = {(one.cause, one.step) for one in own}
    around = [one for one in _around(view) if (one.cause, one.step) not in told]
    return made([*own, *around])


def contrast(good: Reference, bad: Reference, *, source: Source | None = None) -> pd.DataFrame:
    """Return in what a bad run differs from a good one, the weightiest first. Columns: `fx.columns("findings")`."""
    chosen = source or current()
    compared = compare(good, bad, source=chosen)
    differing = differences(good, bad, source=chosen)
    view = RunView(chosen.case(bad), chosen)
    return made([*_changed(view, differing), *_parting(view, compared)] or [_alike(view)])


def _own(view: RunView) -> Iterator[Finding]:
    yield _end(view)
    yield from _time(view)
    here: Given = {"runs": view.id}
    lost = lease_expiries(source=view.source, **here)
    if len(lost):
        workers = ", ".join(sorted(set(lost["worker"].dropna())))
        what = f"{len(lost)} of its attempts were lost with their worker ({workers}), at {_steps(lost)}."
        yield _finding(view, "worker_lost", 0.9, what, f"flowforge logs {view.id}", step=lost["step"].iloc[0])
    twice = duplicates(source=view.source, **here)
    if len(twice):
        why = twice["codes"].iloc[0]
        what = f"The effects of {_steps(twice)} may have happened twice: {why} left them without an end."
        doing = f"ask the other side about key {twice['key'].iloc[0]}"
        yield _finding(view, "duplicate_effects", 0.8, what, doing, step=twice["step"].iloc[0])


def _end(view: RunView) -> Finding:
    error = view.error
    if error is None:
        what = f"Run {view.id} of {view.workflow} is {view.status} after {span(view.wall_s)}."
        return _finding(view, view.status, 0.3, what, f"flowforge events {view.id}")
    step = error.get("step")
    attempts = next((one["attempts"] for one in view.case.run["steps"] if one["id"] == step), None)
    tries = f" after {attempts} attempts" if attempts and attempts > 1 else ""
    what = f"Run {view.id} of {view.workflow} {view.status} at {step}{tries}: {error['code']}, {error['message']}"
    return _finding(view, "failed_step", 1.0, what, error.get("hint") or f"flowforge retry {view.id}", step=step)


def _time(view: RunView) -> Iterator[Finding]:
    """Say what most of the time went into, and in which step."""
    whole = phases(view.id, source=view.source).iloc[0]
    wall = float(whole["wall_s"])
    if not wall:
        return
    kind = max(PARTS, key=lambda one: whole[PARTS[one]])
    took = float(whole[PARTS[kind]])
    path = critical_path(view.id, source=view.source)
    longest = None if path.empty else path.sort_values("seconds").iloc[-1]
    where = "" if longest is None else f"; the critical path spent {span(longest['seconds'])} at {longest['step']}"
    what = f"Of {span(wall)}, {took / wall:.0%} went into {kind.value}{where}."
    cause = _CAUSES.get(kind, "time") if took / wall >= MOSTLY else "time"
    yield _finding(view, cause, 0.5, what, "fx.plot.gantt(run)", step=None if longest is None else longest["step"])


def _around(view: RunView) -> Iterator[Finding]:
    """Find what happened to the workflow around the run, as far as it concerns its steps."""
    if view.case.foreign:
        return
    created = moment(view.case.run["created_at"])
    ended = moment(view.case.run["finished_at"] or view.case.seen_at)
    known = {step["id"] for step in view.case.run["steps"]}
    found = findings(created - AROUND, until=ended + AROUND, workflow=view.workflow, source=view.source)
    for row in found.to_dict("records"):
        step = row["step"] if isinstance(row["step"], str) else None
        if row["cause"] != "nothing" and (step is None or step in known):
            words = f"In its workflow: {row['what']}"
            example = row["example_run"] if isinstance(row["example_run"], str) else None
            weight = float(row["weight"]) * LESS
            yield Finding(row["cause"], weight, view.workflow, step, words, int(row["count"]), example, row["next"])


def _changed(view: RunView, differing: pd.DataFrame) -> Iterator[Finding]:
    versions = differing[differing["where"] == "version"]
    definition = differing[differing["where"] == "definition"]
    if len(versions) and len(definition):
        shown = "; ".join(
            f"{row['path']}: {row['good']} -> {row['bad']}" for row in definition.head(5).to_dict("records")
        )
        good, bad = versions.iloc[0][["good", "bad"]]
        what = f"They ran different versions, {good} and {bad}; what changed: {shown}."
        failed = view.status == "failed"
        doing = f"replay the bad run on version {good}: flowforge replay {view.id} --version {good}"
        yield _finding(view, "bad_deploy" if failed else "different_version", 0.9 if failed else 0.6, what, doing)
    inputs = differing[differing["where"] == "input"]
    if len(inputs):
        paths = ", ".join(str(path) or "all of it" for path in inputs["path"].head(8))
        what = f"Their inputs differ in {len(inputs)} places: {paths}."
        yield _finding(view, "different_input", 0.4, what, "fx.differences(good, bad) shows them")


def _parting(view: RunView, compared: pd.DataFrame) -> Iterator[Finding]:
    """Name the first step that ended otherwise, and the one that took longest more."""
    ends = compared[(compared["bad_status"] != compared["good_status"]) & (compared["bad_status"] == "failed")]
    for row in ends.head(3).to_dict("records"):
        error = f"{row['bad_code']}, {row['bad_message']}"
        what = f"{row['step']} {row['good_status']} in the good run and failed in the bad one: {error}"
        yield _finding(view, "failed_step", 0.85, what, f"flowforge show {view.id}", step=row["step"])
    slower = compared[compared["delta_s"] > 0].head(1)
    for row in slower.to_dict("records"):
        queue, executing = row["bad_queue_s"] - row["good_queue_s"], row["bad_exec_s"] - row["good_exec_s"]
        more = "waiting for a worker" if queue > executing else "executing"
        again = row["bad_attempts"] != row["good_attempts"]
        retries = f", {row['bad_attempts']} attempts instead of {row['good_attempts']}" if again else ""
        what = f"{row['step']} took {span(row['delta_s'])} longer, most of it {more}{retries}."
        cause = "queue_backlog" if queue > executing else "slow_step"
        yield _finding(view, cause, 0.6, what, "fx.plot.compare(fx.compare(good, bad))", step=row["step"])


def _alike(view: RunView) -> Finding:
    return _finding(view, "nothing", 0.0, "The two runs do not differ.", "compare it with another run")


def _steps(found: pd.DataFrame) -> str:
    return ", ".join(sorted(set(found["step"])))


def _finding(view: RunView, cause: str, weight: float, what: str, doing: str, step: str | None = None) -> Finding:
    return Finding(cause, weight, view.workflow, step, what, 1, view.id, doing)
