"""Two runs side by side: a good one and a bad one, or a run and its replay."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from flowforge.errors import NotFound
from flowforge.forensics import frames, tries
from flowforge.forensics.frames import flag, number, seconds, text, value
from flowforge.forensics.runs import runs
from flowforge.forensics.source import Case, Reference, Source, current

COMPARE = {
    "step": text("the step"),
    "good_status": text("where it stands in the good run; missing: that run has no such step"),
    "bad_status": text("where it stands in the bad run"),
    "good_attempts": number("attempts in the good run"),
    "bad_attempts": number("attempts in the bad run"),
    "good_queue_s": seconds("waiting for a worker in the good run, all attempts"),
    "bad_queue_s": seconds("waiting for a worker in the bad run, all attempts"),
    "good_exec_s": seconds("executing in the good run, all attempts"),
    "bad_exec_s": seconds("executing in the bad run, all attempts"),
    "delta_s": seconds("from first dispatched to last settled, bad less good"),
    "delta_ms": seconds("the same in milliseconds"),
    "bad_code": text("code of the error in the bad run"),
    "bad_message": text("text of the error in the bad run"),
    "same_output": flag("both completed with the same output"),
}
DIFFERENCES = {
    "where": text("definition, version, input, labels, output or status"),
    "path": text("place in it"),
    "good": value("what the good run has"),
    "bad": value("what the bad run has"),
}
REPLAY_DIFF = {
    "step": text("the step"),
    "before": text("where it stands in the run"),
    "after": text("where it stands in the replay"),
    "same": flag("both came to the same"),
    "output_before": value("what it came to in the run"),
    "output_after": value("what it came to in the replay"),
}

#: Differences of one kind that are listed.
MOST = 200


def compare(good: Reference, bad: Reference, *, source: Source | None = None) -> pd.DataFrame:
    """Return two runs aligned by step, what got slower most first. Columns: `fx.columns("compare")`.

    `fx.differences(good, bad)` says in what their inputs and definitions differ.
    """
    chosen = source or current()
    one, other = (_steps(chosen.case(run)) for run in (good, bad))
    rows = [_compared(step, one.get(step), other.get(step)) for step in dict.fromkeys([*one, *other])]
    made = frames.frame(rows, COMPARE)
    return made.sort_values("delta_s", ascending=False, na_position="last", ignore_index=True, kind="stable")


def differences(good: Reference, bad: Reference, *, source: Source | None = None) -> pd.DataFrame:
    """Return in what two runs differ that could explain it. Columns: `fx.columns("differences")`."""
    chosen = source or current()
    one, other = chosen.case(good), chosen.case(bad)
    rows: list[tuple[str, str, Any, Any]] = []
    for where in ("workflow", "version", "status", "labels", "input", "output"):
        found = _differing(one.run.get(where), other.run.get(where), "")
        rows += [(where, path, left, right) for path, left, right in found][:MOST]
    found = _differing(one.definition, other.definition, "")
    rows += [("definition", path, left, right) for path, left, right in found][:MOST]
    return frames.frame(rows, DIFFERENCES)


def replay_diff(run: Reference, replay: Reference, *, source: Source | None = None) -> pd.DataFrame:
    """Return what a replay came to beside what its run had come to. Columns: `fx.columns("replay_diff")`."""
    chosen = source or current()
    one, other = (
        {step["id"]: step for step in chosen.case(reference).run.get("steps") or ()} for reference in (run, replay)
    )
    rows = []
    for step in dict.fromkeys([*one, *other]):
        before, after = one.get(step, {}), other.get(step, {})
        same = (before.get("status"), before.get("output")) == (after.get("status"), after.get("output"))
        outputs = (before.get("output"), after.get("output"))
        rows.append((step, before.get("status"), after.get("status"), same, *outputs))
    return frames.frame(rows, REPLAY_DIFF)


def _steps(case: Case) -> dict[str, dict[str, Any]]:
    """Return each step with what its attempts took together."""
    found: dict[str, dict[str, Any]] = {
        step["id"]: {**step, "queue": 0.0, "exec": 0.0, "first": None, "last": None}
        for step in case.run.get("steps") or ()
    }
    for attempt in tries.retold(case.run, case.events, case.seen_at):
        step = found.setdefault(attempt["step"], {"queue": 0.0, "exec": 0.0, "first": None, "last": None})
        step["queue"] += attempt["queue_s"] or 0.0
        step["exec"] += attempt["exec_s"] or 0.0
        step["first"] = step["first"] or attempt["queued_at"]
        step["last"] = attempt["ended_at"] or step["last"]
        step.setdefault("attempts", attempt["attempt"])
    return found


def _compared(step: str, good: dict[str, Any] | None, bad: dict[str, Any] | None) -> dict[str, Any]:
    one, other = good or {}, bad or {}
    error = other.get("error") or {}
    took = [None if not run.get("last") else (run["last"] - run["first"]).total_seconds() for run in (one, other)]
    delta = None if None in took else took[1] - took[0]  # type: ignore[operator]
    completed = one.get("status") == other.get("status") == "completed"
    return {
        "step": step,
        "good_status": one.get("status"),
        "bad_status": other.get("status"),
        "good_attempts": one.get("attempts"),
        "bad_attempts": other.get("attempts"),
        "good_queue_s": one.get("queue"),
        "bad_queue_s": other.get("queue"),
        "good_exec_s": one.get("exec"),
        "bad_exec_s": other.get("exec"),
        "delta_s": delta,
        "delta_ms": None if delta is None else delta * 1000,
        "bad_code": error.get("code"),
        "bad_message": error.get("message"),
        "same_output": one.get("output") == other.get("output") if completed else None,
    }


def _differing(good: Any, bad: Any, path: str) -> Iterator[tuple[str, Any, Any]]:
    """Walk two JSON values; steps of a definition are matched by their id, not by their place."""
    good, bad = _keyed(good), _keyed(bad)
    if isinstance(good, dict) and isinstance(bad, dict):
        for key in dict.fromkeys([*good, *bad]):
            yield from _differing(good.get(key), bad.get(key), f"{path}.{key}" if path else str(key))
    elif isinstance(good, list) and isinstance(bad, list) and len(good) == len(bad):
        for at, (one, other) in enumerate(zip(good, bad, strict=True)):
            yield from _differing(one, other, f"{path}[{at}]")
    elif good != bad:
        yield path, good, bad


def _keyed(value: Any) -> Any:
    if isinstance(value, list) and value and all(isinstance(one, dict) and "id" in one for one in value):
        return {one["id"]: one for one in value}
    return value


def pair(
    good: Reference | None = None, bad: Reference | None = None, *, source: Source | None = None
) -> tuple[str, str]:
    """Return a good run and a bad one to compare, chosen where they are not given.

    The bad one is the newest that failed, else the one that took longest; the good one is of the same workflow: the
    newest that completed, of an earlier version if there is one, else the one that took the shortest time.
    """
    chosen = source or current()
    wrong = _bad(chosen) if bad is None else chosen.resolve(bad)
    if good is not None:
        return chosen.resolve(good), wrong
    run = chosen.case(wrong).run
    others = runs(workflow=run["workflow"], status="completed", source=chosen)
    others = others[others["run"] != wrong]
    if others.empty:
        raise NotFound(f"no other run of {run['workflow']} has completed", hint="name a good run yourself")
    earlier = others[others["version"] < run["version"]]
    if len(earlier):
        return str(earlier["run"].iloc[0]), wrong
    return str(others.sort_values("duration_s")["run"].iloc[0]), wrong


def _bad(source: Source) -> str:
    failed = runs(status="failed", limit=1, source=source)
    found = failed if len(failed) else runs(source=source).sort_values("duration_s", ascending=False)
    if found.empty:
        raise NotFound("there is no run to compare", hint="flowforge demo makes some")
    return str(found["run"].iloc[0])
