"""The aggregates of `store/forensics/statements.py` over the frames of a bundle, which has no server to ask.

Both answer every question alike; the tests put each to a database and to a bundle of it.
"""

from __future__ import annotations

from typing import Any

import pandas as pd

from flowforge.forensics import frames
from flowforge.forensics.frames import TIME
from flowforge.forensics.source import Facts
from flowforge.forensics.tries import common_name

FAILED = ("failed", "retried", "lost")
_WAITING_TYPES = ("delay", "approval", "wait_signal", "foreach", "workflow")
_HOLDING = ("running", "paused", "cancelling", "compensating")


def runs(facts: Facts, *, limit: int) -> pd.DataFrame:
    """Return the runs, newest first."""
    return facts.runs.sort_values("run", ascending=False, ignore_index=True).head(limit)


def attempts(facts: Facts, *, limit: int) -> pd.DataFrame:
    """Return attempts, the newest first."""
    order = ["queued_at", "run", "step", "attempt"]
    latest = facts.runs.sort_values(["finished_at", "run"], ascending=False, na_position="first")["run"].head(limit)
    found = facts.attempts[facts.attempts["run"].isin(latest)]
    return found.sort_values(order, ascending=[False, False, True, False], ignore_index=True).head(limit)


def latency(facts: Facts, *, by: str) -> pd.DataFrame:
    """Return every time of waiting and working, each taken once."""
    found = _grouped(_begun(facts), by)
    found["failed"] = found["outcome"].isin(FAILED).astype(int)
    found["timeouts"] = (found["code"] == "TIMEOUT").astype(int)
    executing = found["exec_s"].where(found["outcome"] != "lost")
    sums = {"queue_sum": found["queue_s"], "queue_max": found["queue_s"], "exec_sum": executing, "exec_max": executing}
    return found.assign(queue=found["queue_s"], exec=executing, count=1, **sums)


def trend(facts: Facts, *, parts: int) -> pd.DataFrame:
    """Return the times of steps by part of the window, each taken once."""
    done = _begun(facts)
    counted = (done["outcome"] != "lost") & ~done["type"].isin(_WAITING_TYPES)
    done = done[done["exec_s"].notna() & counted].copy()
    if done.empty:
        return pd.DataFrame()
    begin, end = facts.runs["created_at"].min(), facts.runs["finished_at"].fillna(facts.now).max()
    begin, end = max(begin, facts.since or begin), min(end, facts.until or end)
    length = max((end - begin).total_seconds(), 0.001)
    place = (done["started_at"] - begin).dt.total_seconds() / length * parts
    done["part"] = (place.astype(int) + 1).clip(lower=1, upper=parts)
    done = done.assign(step=done["step"].map(common_name), since=done["started_at"], until=done["started_at"], count=1)
    return done.assign(queue=done["queue_s"], exec=done["exec_s"])


def queue_depth(facts: Facts, *, bucket: pd.Timedelta) -> pd.DataFrame:
    """Return attempts by queue, and the buckets in which they were queued, begun and ended."""
    found = facts.attempts.copy()
    queues = {run: _queues(case.definition) for run, case in facts.cases.items()}
    found["queue"] = [queues[run](step) for run, step in zip(found["run"], found["step"], strict=True)]
    for name in ("queued_at", "started_at", "ended_at"):
        found[name] = binned(found[name], bucket)
    return found.assign(count=1)


def workers(facts: Facts) -> pd.DataFrame:
    """Return what each worker did; what the register says of it is not in a bundle."""
    found = _begun(facts)
    found = found[found["worker"].notna()].copy()
    found["busy_s"] = (found["ended_at"].fillna(facts.now) - found["started_at"]).dt.total_seconds()
    found["last"] = found["ended_at"].fillna(found["started_at"])
    done = found.groupby("worker").agg(
        attempts=("outcome", "size"),
        completed=("outcome", lambda one: int((one == "completed").sum())),
        failed=("outcome", lambda one: int(one.isin(("failed", "retried")).sum())),
        lost=("outcome", lambda one: int((one == "lost").sum())),
        busy_s=("busy_s", "sum"),
        first_seen=("started_at", "min"),
        last_seen=("last", "max"),
    )
    return done.reset_index().assign(status="unknown").sort_values(["first_seen", "worker"], ignore_index=True)


def lease_expiries(facts: Facts, *, limit: int) -> pd.DataFrame:
    """Return the attempts that were lost with their worker, and who went on."""
    found = _begun(facts).sort_values(["run", "step", "started_at"])
    following = found.groupby(["run", "step"])
    found["taken_over_by"] = following["worker"].shift(-1)
    found["taken_over_at"] = following["started_at"].shift(-1)
    lost = found[found["outcome"] == "lost"].rename(columns={"ended_at": "lost_at", "exec_s": "held_s"})
    lost["delay_s"] = (lost["taken_over_at"] - lost["started_at"]).dt.total_seconds()
    return lost.sort_values(["lost_at", "run"], ascending=False, ignore_index=True).head(limit)


def retry_storms(facts: Facts, *, window: pd.Timedelta) -> pd.DataFrame:
    """Return attempts by window and step, where any was a retry."""
    found = _begun(facts)
    found = found[~found["outcome"].isin(("released", "waiting"))].copy()
    found["at"] = binned(found["started_at"], window)
    # Postgres rounds a sixtieth to whole microseconds, pandas would cut it off.
    instant = pd.Timedelta(microseconds=round(window / pd.Timedelta(microseconds=1) / 60))
    found["instant"] = binned(found["started_at"], instant)
    found["step"] = found["step"].map(common_name)
    first = found["attempt"] == 1
    found["attempts"] = 1
    found["first_attempts"] = first.astype(int)
    found["first_try_completed"] = (first & (found["outcome"] == "completed")).astype(int)
    found["retries"] = (~first).astype(int)
    found["failed"] = found["outcome"].isin(FAILED).astype(int)
    found["lost"] = (found["outcome"] == "lost").astype(int)
    counts = ["attempts", "first_attempts", "first_try_completed", "retries", "failed", "lost"]
    keys = ["at", "workflow", "step"]
    by_instant = found.groupby([*keys, "instant"], as_index=False)[counts].sum()
    made = by_instant.groupby(keys)[counts].sum()
    made["burst"] = by_instant.groupby(keys)["retries"].max()
    return made[made["retries"] > 0].reset_index()


def outbox_lag(facts: Facts, *, bucket: pd.Timedelta) -> pd.DataFrame:
    """Return how long dispatches took to reach a worker; the outbox itself is not in a bundle."""
    found = facts.attempts.assign(at=binned(facts.attempts["queued_at"], bucket))
    made = found.groupby("at").agg(
        dispatched=("queued_at", "size"),
        delivered=("started_at", "count"),
        p50_s=("queue_s", "median"),
        p95_s=("queue_s", lambda one: one.quantile(0.95)),
        max_s=("queue_s", "max"),
    )
    return made.reset_index().assign(unpublished=0)


def gates(facts: Facts) -> pd.DataFrame:
    """Return how long runs waited for admission; a bundle knows the limit from the definition, and no keys."""
    found = facts.runs.copy()
    end = found["finished_at"].fillna(facts.now)
    found["wait_s"] = (found["started_at"].fillna(end) - found["created_at"]).dt.total_seconds()
    found["active_s"] = (end - found["started_at"]).dt.total_seconds()
    rows = [_gate(name, some, facts) for name, some in frames.groups(found, "workflow")]
    made = pd.DataFrame(rows)
    return made if made.empty else made.sort_values("wait_sum_s", ascending=False, ignore_index=True, kind="stable")


def _gate(workflow: Any, some: pd.DataFrame, facts: Facts) -> dict[str, Any]:
    longest = some.sort_values(["active_s", "run"], ascending=[False, True], na_position="last").iloc[0]
    definition = facts.cases[longest["run"]].definition or {}
    concurrency = definition.get("concurrency") or {}
    return {
        "workflow": workflow,
        "key": "",
        "limit": concurrency.get("limit") if isinstance(concurrency, dict) else concurrency,
        "runs": len(some),
        "waiting": int((some["status"] == "pending").sum()),
        "active": int(some["status"].isin(_HOLDING).sum()),
        "wait_p50_s": some["wait_s"].median(),
        "wait_p95_s": some["wait_s"].quantile(0.95),
        "wait_max_s": some["wait_s"].max(),
        "wait_sum_s": some["wait_s"].sum(),
        "active_p50_s": some["active_s"].median(),
        "active_max_s": some["active_s"].max(),
        "longest_holder": longest["run"],
        "holder_status": longest["status"],
    }


def versions(facts: Facts) -> pd.DataFrame:
    """Return what became of the runs of each version."""
    rows = []
    for (workflow, version), some in frames.groups(facts.runs.sort_values("run"), "workflow", "version"):
        counts = some["status"].value_counts()
        well = some[some["status"] == "completed"]
        took = (well["finished_at"] - well["started_at"]).dt.total_seconds()
        row = {"workflow": workflow, "version": version, "runs": len(some), "duration_p50_s": took.median()}
        row |= {name: int(counts.get(name, 0)) for name in ("completed", "failed", "cancelled")}
        row |= {"active": int(some["finished_at"].isna().sum())}
        row |= {"first_run_at": some["created_at"].min(), "last_run_at": some["created_at"].max()}
        for name in ("failed", "completed"):
            row[f"example_{name}"] = next(iter(some.loc[some["status"] == name, "run"].iloc[::-1]), None)
        rows.append(row)
    return pd.DataFrame(rows)


def binned(times: pd.Series[Any], width: pd.Timedelta) -> pd.Series[Any]:
    """Return the beginnings of the buckets that times fall into, counted from 1970 as Postgres does it."""
    floored: pd.Series[Any] = times.dt.floor(width).astype(TIME)
    return floored


def _begun(facts: Facts) -> pd.DataFrame:
    return facts.attempts[facts.attempts["started_at"].notna()].copy()


def _grouped(found: pd.DataFrame, by: str) -> pd.DataFrame:
    """Keep what is grouped by, and forget the rest."""
    found["step"] = found["step"].map(common_name) if by in ("step", "version") else None
    found["version"] = found["version"] if by == "version" else None
    found["worker"] = found["worker"] if by == "worker" else None
    return found


def _queues(definition: dict[str, Any] | None) -> Any:
    """Return the function from a step's id to its queue."""
    known = definition or {}
    general = known.get("queue") or "default"
    own = {step.get("id"): step["queue"] for step in known.get("steps") or () if step.get("queue")}
    return lambda step: own.get(step, general)
