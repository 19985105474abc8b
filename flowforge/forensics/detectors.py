"""What is recognised in the figures of a window: each cause with its evidence in words, and the threshold it takes.

Pure: frames in, findings out. A finding says what happened, how it shows, and what to do next; nothing is found that
the figures in its sentence do not carry.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pandas as pd

from flowforge.forensics import frames
from flowforge.model.card import span

#: A storm: so many retries, and so many attempts for each one that was meant.
STORM_RETRIES, STORM_AMPLIFICATION = 5, 1.5
#: Retries that come together: their share in a sixtieth of the window.
TOGETHER = 0.25
#: Waiting at a gate: the 95th percentile in seconds, and as a multiple of what a run takes once it is in.
GATE_WAIT, GATE_FACTOR = 0.5, 1.0
#: One run that holds a gate: so many times longer than the median.
HOLDER = 3.0
#: A deployment that fails: share of its runs, and how much more than of the version before; runs that have to be there.
FAILING, WORSE, RUNS = 0.3, 0.25, 2
#: A step that became slow: how many times, and by how many seconds.
SLOWER, SLOWER_BY = 3.0, 0.2
#: A step that is slow all the time: its share of all execution, its median in seconds.
HEAVY_SHARE, HEAVY = 0.5, 0.5
#: Waiting for a worker: the 95th percentile in seconds, and as a multiple of executing.
BACKLOG, BACKLOG_FACTOR = 1.0, 2.0
#: Age in seconds from which what lies in the outbox is stuck.
STUCK = 5.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One cause that was recognised."""

    cause: str
    #: Between 0 and 1; what explains most comes first.
    weight: float
    workflow: str | None
    step: str | None
    #: The evidence, as a sentence.
    what: str
    count: int
    example_run: str | None
    #: What to do now.
    next: str


def retry_storm(storms: pd.DataFrame) -> Iterator[Finding]:
    """Steps that were asked much more than they were meant to be."""
    for (workflow, step), some in frames.groups(storms, "workflow", "step"):
        attempts, first, retries = (int(some[name].sum()) for name in ("attempts", "first_attempts", "retries"))
        amplification = attempts / max(first, 1)
        # What follows a lost worker is no answer of the dependency.
        if retries - int(some["lost"].sum()) < STORM_RETRIES or amplification < STORM_AMPLIFICATION:
            continue
        succeeded = (some["first_try_success"] * some["first_attempts"].astype("float64")).sum() / max(first, 1)
        together = float((some["synchronised"] * some["retries"].astype("float64")).sum() / retries)
        at_once = f"; {together:.0%} of the retries came at once, without jitter" if together >= TOGETHER else ""
        meant = f"{attempts} attempts for {first} that were meant, {amplification:.1f} times as many"
        what = f"Retry storm at {workflow}/{step}: {meant}; {succeeded:.0%} of the first attempts succeeded{at_once}."
        yield Finding(
            "retry_storm",
            0.8,
            workflow,
            step,
            what,
            retries,
            None,
            "look at the errors of this step; limit max_attempts or open a breaker",
        )


def worker_lost(expiries: pd.DataFrame) -> Iterator[Finding]:
    """Workers that vanished with what they held; a step that takes down one after the other is the cause itself."""
    if expiries.empty:
        return
    victims: Any = expiries.groupby(["workflow", "step", "run"], as_index=False)["worker"].nunique()
    for (workflow, step), some in frames.groups(victims[victims["worker"] > 1], "workflow", "step"):
        run, workers = some["run"].iloc[0], int(some["worker"].max())
        what = (
            f"Step {workflow}/{step} was lost with {workers} workers in {len(some)} runs: it takes down who "
            "executes it, or takes longer than a worker can stay."
        )
        yield Finding(
            "poison_step", 0.95, workflow, step, what, int(some["worker"].sum()), run, f"flowforge logs {run} {step}"
        )
    lost = sorted(set(expiries["worker"].dropna()))
    taken = expiries["taken_over_at"].notna()
    places = ", ".join(sorted({f"{row.workflow}/{row.step}" for row in frames.rows(expiries)})[:5])
    delay = "" if not taken.any() else f"; taken over after {span(float(expiries['delay_s'].median()))} in the median"
    still = int((~taken).sum())
    rest = f"; {still} not yet" if still else ""
    what = (
        f"{len(lost)} worker{'s were' if len(lost) > 1 else ' was'} lost ({', '.join(lost[:3])}) with {len(expiries)} "
        f"attempts at {places}{delay}{rest}."
    )
    first: Any = expiries.iloc[0]
    yield Finding(
        "worker_lost",
        0.9,
        first["workflow"],
        first["step"],
        what,
        len(expiries),
        first["run"],
        "flowforge worker ls; look for OOM kills and deployments at that time",
    )


def gate_starvation(gates: pd.DataFrame) -> Iterator[Finding]:
    """Gates at which runs waited longer than they then took."""
    for gate in frames.rows(gates):
        if pd.isna(gate.limit) or gate.runs <= 1:
            continue
        active = 0.0 if pd.isna(gate.active_p50_s) else float(gate.active_p50_s)
        if gate.wait_p95_s < max(GATE_WAIT, GATE_FACTOR * active):
            continue
        held = ""
        if not pd.isna(gate.active_max_s) and gate.active_max_s >= HOLDER * max(active, 0.001):
            held = (
                f" Run {gate.longest_holder} ({gate.holder_status}) held a place for {span(float(gate.active_max_s))}, "
                f"the median is {span(active)}."
            )
        waiting = f", {gate.waiting} wait still" if gate.waiting else ""
        name = f"{gate.workflow}/{gate.key}" if gate.key else str(gate.workflow)
        what = (
            f"Runs starved at the gate of {name} (limit {gate.limit}): {gate.runs} runs, they waited "
            f"{span(float(gate.wait_p50_s))} in the median and up to {span(float(gate.wait_max_s))}{waiting}.{held}"
        )
        yield Finding(
            "gate_starvation",
            0.9,
            gate.workflow,
            None,
            what,
            int(gate.runs),
            gate.longest_holder,
            f"flowforge show {gate.longest_holder}; raise concurrency.limit, or end what holds the gate",
        )


def bad_deploy(versions: pd.DataFrame) -> Iterator[Finding]:
    """Versions that fail, or take much longer, where the one before them did not."""
    for workflow, some in frames.groups(versions, "workflow"):
        rows = [row for row in frames.rows(some.sort_values("version")) if row.completed + row.failed >= RUNS]
        for before, after in pairwise(rows):
            if after.failure_rate >= FAILING and after.failure_rate - before.failure_rate >= WORSE:
                what = (
                    f"Version {after.version} of {workflow} is bad: {after.failed} of {after.completed + after.failed} "
                    f"runs failed ({after.failure_rate:.0%}), of version {before.version} {before.failure_rate:.0%}; "
                    f"the first came at {after.first_run_at:%H:%M:%S}."
                )
                yield Finding(
                    "bad_deploy",
                    0.95,
                    str(workflow),
                    None,
                    what,
                    int(after.failed),
                    after.example_failed,
                    f"flowforge workflow archive {workflow}@{after.version}; retry --to-version {before.version}",
                )
            elif _slower(before.duration_p50_s, after.duration_p50_s):
                what = (
                    f"Version {after.version} of {workflow} is slower: runs take {span(after.duration_p50_s)} in the "
                    f"median, those of version {before.version} {span(before.duration_p50_s)}."
                )
                yield Finding(
                    "bad_deploy",
                    0.6,
                    str(workflow),
                    None,
                    what,
                    int(after.runs),
                    after.example_completed,
                    "compare a run of each: notebooks/03_good_vs_bad",
                )


def slow_dependency(trend: pd.DataFrame, latency: pd.DataFrame) -> Iterator[Finding]:
    """Steps that became slow, that ran out of time, or that are slow all the time."""
    became = set()
    for (workflow, step), some in frames.groups(trend, "workflow", "step"):
        ordered = some.sort_values("exec_p50_s")
        best, worst = ordered.iloc[0], ordered.iloc[-1]
        if not _slower(best["exec_p50_s"], worst["exec_p50_s"]):
            continue
        became.add((workflow, step))
        queue = float(some["queue_p50_s"].max())
        workers = (
            f"waiting for a worker took {span(queue)} at most in the median: what the step calls or computes was slow"
            if queue < worst["exec_p50_s"]
            else f"waiting for a worker took up to {span(queue)} in the median as well"
        )
        verb = "became" if worst["part"] > best["part"] else "was"
        times = worst["exec_p50_s"] / max(best["exec_p50_s"], 0.001)
        what = (
            f"{workflow}/{step} {verb} slow: {span(best['exec_p50_s'])} in the median around {best['since']:%H:%M:%S}, "
            f"{span(worst['exec_p50_s'])} around {worst['since']:%H:%M:%S} ({times:.0f}x); {workers}."
        )
        # What was slow first and is not any more may only have been warming up.
        weight = 0.75 if verb == "became" else 0.5
        yield Finding("slow_dependency", weight, workflow, step, what, int(worst["attempts"]), None, _LOOK)
    for row in frames.rows(latency):
        if (row.workflow, row.step) in became:
            continue
        if row.timeouts >= RUNS:
            what = f"{row.workflow}/{row.step} ran out of time in {row.timeouts} of {row.attempts} attempts."
            yield Finding("slow_dependency", 0.65, row.workflow, row.step, what, int(row.timeouts), None, _LOOK)
        elif row.exec_share >= HEAVY_SHARE and row.exec_p50_s >= HEAVY:
            what = (
                f"{row.workflow}/{row.step} takes {row.exec_share:.0%} of all execution time: {span(row.exec_p50_s)} "
                f"in the median, {span(row.exec_p95_s)} at the 95th percentile."
            )
            yield Finding("slow_dependency", 0.55, row.workflow, row.step, what, int(row.attempts), None, _LOOK)


_LOOK = "ask who runs what this step calls; give it a timeout, and the workflow a concurrency limit"


def duplicate_effects(duplicates: pd.DataFrame) -> Iterator[Finding]:
    """Effects that happened twice, or may have."""
    found = duplicates[duplicates["verdict"] != "single"]
    for (workflow, step, verdict), some in frames.groups(found, "workflow", "step", "verdict"):
        codes = ", ".join(sorted({code for codes in some["codes"].dropna() for code in codes.split(", ")})) or "nothing"
        key = some.iloc[0]["key"]
        if verdict == "duplicate":
            how = (
                "the other side counts more than one for the same idempotency key"
                if some["effects"].notna().any()
                else "the step completed more than once"
            )
            what = f"{len(some)} effects of {workflow}/{step} happened twice: {how}; in between: {codes}."
            doing = "undo the second ones; make the other side honour the Idempotency-Key it is sent"
        else:
            what = (
                f"{len(some)} effects of {workflow}/{step} may have happened twice: {codes} left attempts without an "
                "answer, and others followed with the same idempotency key."
            )
            doing = f"ask the other side about key {key}, then: fx.duplicates(effects=...)"
        weight = 0.97 if verdict == "duplicate" else 0.7
        yield Finding("duplicate_effects", weight, workflow, step, what, len(some), some.iloc[0]["run"], doing)


def duplicate_starts(repeated: pd.DataFrame) -> Iterator[Finding]:
    """Inputs that several runs were started with, without a key that would have made them one."""
    for workflow, some in frames.groups(repeated[repeated["keys"] < repeated["starts"]], "workflow"):
        runs = int(some["starts"].sum())
        what = (
            f"{len(some)} inputs of {workflow} were started more than once, {runs} runs in all, without an idempotency "
            "key."
        )
        yield Finding(
            "duplicate_starts",
            0.35,
            str(workflow),
            None,
            what,
            runs,
            some.iloc[0]["last_run"],
            "if that was not meant: start with --idempotency-key",
        )


def error_cluster(clusters: pd.DataFrame, most: int = 3) -> Iterator[Finding]:
    """The errors that came most often."""
    for cluster in frames.rows(clusters.head(most)):
        what = (
            f"{cluster.code} at {cluster.steps}: {cluster.count} attempts, {cluster.final} of them for good, from "
            f"{cluster.first_seen:%H:%M:%S} to {cluster.last_seen:%H:%M:%S}: {brief(cluster.message)}"
        )
        weight = 0.64 if cluster.final else 0.4
        yield Finding(
            "error_cluster",
            weight,
            cluster.workflows,
            cluster.steps,
            what,
            int(cluster.count),
            cluster.example_run,
            f"flowforge show {cluster.example_run}",
        )


def queue_backlog(latency: pd.DataFrame, depth: pd.DataFrame) -> Iterator[Finding]:
    """Attempts that waited for a worker longer than they took, or wait still."""
    last = depth.sort_values("at").groupby("queue").tail(1)
    for row in frames.rows(last[last["depth"] > 0]):
        nobody = not row.running
        what = f"{row.depth} attempts wait at queue {row.queue}" + (", and nobody executes any." if nobody else ".")
        yield Finding(
            "queue_backlog",
            0.8 if nobody else 0.5,
            None,
            None,
            what,
            int(row.depth),
            None,
            f"flowforge worker start --queue {row.queue}",
        )
    slow = latency[
        (latency["queue_p95_s"] >= BACKLOG) & (latency["queue_p95_s"] >= BACKLOG_FACTOR * latency["exec_p95_s"])
    ]
    for row in frames.rows(slow.head(3)):
        what = (
            f"{row.workflow}/{row.step} waited for a worker: {span(row.queue_p95_s)} at the 95th percentile, for "
            f"{span(row.exec_p95_s)} of executing."
        )
        yield Finding(
            "queue_backlog",
            0.6,
            row.workflow,
            row.step,
            what,
            int(row.attempts),
            None,
            "more workers, or more concurrency: flowforge worker start",
        )


def outbox_stuck(lag: pd.DataFrame) -> Iterator[Finding]:
    """Dispatches that were committed and that nobody publishes."""
    stuck = lag[(lag["unpublished"] > 0) & (lag["oldest_s"] > STUCK)]
    if not stuck.empty:
        count, oldest = int(stuck["unpublished"].sum()), float(stuck["oldest_s"].max())
        what = f"{count} dispatches lie in the outbox, the oldest for {span(oldest)}: no relay reaches the streams."
        yield Finding("outbox_stuck", 0.9, None, None, what, count, None, "flowforge status; flowforge doctor")


def _slower(before: Any, after: Any) -> bool:
    if pd.isna(before) or pd.isna(after):
        return False
    return bool(after >= SLOWER * before and after - before >= SLOWER_BY)


def brief(message: object, most: int = 160) -> str:
    """Return the beginning of a text on one line."""
    text = " ".join(str(message).split())
    return text if len(text) <= most else text[: most - 1] + "…"
