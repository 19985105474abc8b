"""Attempts retold from a run's events: the same rows that `store/forensics/window.py` has Postgres make.

An attempt begins with `step.started` and ends with the step's next event; it stood in the queue since the last
`step.queued` before it. A step that is queued and was not started is an attempt that has not begun.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

_IGNORED = {"step.decided", "step.woken", "step.compensated"}
_OUTCOMES = {
    "step.completed": "completed",
    "step.waiting": "waiting",
    "step.released": "released",
    "step.cancelled": "cancelled",
    "step.skipped": "skipped",
}
_LOST = {"WORKER_LOST", "POISON"}
_ITEM = re.compile(r"\[\d+\]")

Events = Sequence[Mapping[str, Any]]


def retold(run: Mapping[str, Any], events: Events, now: datetime) -> list[dict[str, Any]]:
    """Return the attempts of a run (`flowforge/run/v1`) from its events, in the order in which they were queued."""
    types = {step["id"]: step["type"] for step in run.get("steps") or ()}
    common = {"run": run["id"], "workflow": run["workflow"], "version": run["version"]}
    by_step: dict[str, list[Mapping[str, Any]]] = {}
    for event in events:
        if event["step"] is not None and event["type"] not in _IGNORED:
            by_step.setdefault(event["step"], []).append(event)
    found = [
        {**common, "step": step, "type": types.get(step), **attempt}
        for step, told in by_step.items()
        for attempt in _attempts(told, now)
    ]
    return sorted(found, key=lambda one: (one["queued_at"] or now, one["step"], one["attempt"]))


def _attempts(told: Events, now: datetime) -> Iterator[dict[str, Any]]:
    queued_at: datetime | None = None
    attempts = 0
    following = [*told[1:], None]
    for event, after in zip(told, following, strict=True):
        if event["type"] == "step.queued":
            queued_at = moment(event["at"])
            if after is None or after["type"] not in ("step.started", "step.queued"):
                yield _unstarted(queued_at, attempts + 1, after, now)
        elif event["type"] == "step.started":
            attempts = max(attempts, event["attempt"] or 0)
            yield _started(event, after, queued_at)


def _unstarted(queued_at: datetime, attempt: int, after: Mapping[str, Any] | None, now: datetime) -> dict[str, Any]:
    ended_at = None if after is None else moment(after["at"])
    outcome = "queued" if after is None else "skipped" if after["type"] == "step.skipped" else "cancelled"
    return {
        "attempt": attempt,
        "queued_at": queued_at,
        "started_at": None,
        "ended_at": ended_at,
        "worker": None,
        "outcome": outcome,
        "queue_s": _between(queued_at, ended_at or now),
        "exec_s": None,
        "error": None,
    }


def _started(event: Mapping[str, Any], after: Mapping[str, Any] | None, queued_at: datetime | None) -> dict[str, Any]:
    started_at = moment(event["at"])
    ended_at = None if after is None else moment(after["at"])
    return {
        "attempt": event["attempt"],
        "queued_at": queued_at or started_at,
        "started_at": started_at,
        "ended_at": ended_at,
        "worker": event["data"].get("worker"),
        "outcome": _outcome(after),
        "queue_s": _between(queued_at or started_at, started_at),
        "exec_s": None if ended_at is None else _between(started_at, ended_at),
        "error": None if after is None else after["data"].get("error") if _failed(after) else None,
    }


def _failed(event: Mapping[str, Any]) -> bool:
    return event["type"] in ("step.retrying", "step.failed")


def _outcome(after: Mapping[str, Any] | None) -> str:
    if after is None:
        return "running"
    if _failed(after):
        code = (after["data"].get("error") or {}).get("code")
        if code in _LOST:
            return "lost"
        return "retried" if after["type"] == "step.retrying" else "failed"
    return _OUTCOMES.get(after["type"], "running")


def moment(text: str | datetime) -> datetime:
    """Return the time of a document."""
    return text if isinstance(text, datetime) else datetime.fromisoformat(text)


def _between(begin: datetime, end: datetime) -> float:
    return (end - begin).total_seconds()


def common_name(step: str) -> str:
    """Return a step's name without the number of its item: what all items of a foreach have in common."""
    return _ITEM.sub("[]", step)
