"""A bundle as a source: runs that were exported with their history, asked without any server."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Self
from uuid import UUID

import pandas as pd

from flowforge.client import bundles
from flowforge.errors import NotFound, UsageError
from flowforge.forensics import frames, tries
from flowforge.forensics.attempts import ATTEMPTS
from flowforge.forensics.filters import Wanted
from flowforge.forensics.runs import RUNS
from flowforge.forensics.source import Case, Facts, Question, Reference

#: Fewest digits that name a run.
DIGITS = 4


class Bundle:
    """Answers from exported runs."""

    def __init__(self, cases: list[Case], exported_at: datetime, name: str = "bundle") -> None:
        self._cases = {case.id: case for case in sorted(cases, key=lambda case: case.id)}
        self._exported_at, self._name = exported_at, name

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a bundle, or the capsule of a single run; CapsuleError says what is wrong with the file."""
        found = bundles.read(path)
        return cls([Case(one) for one in found], max(one.exported_at for one in found), str(path))

    @property
    def name(self) -> str:
        """The file."""
        return f"bundle {self._name}"

    def __repr__(self) -> str:
        return f"<FlowForge {self.name}: {len(self._cases)} runs, exported {self._exported_at:%Y-%m-%d %H:%M:%S} UTC>"

    def now(self) -> datetime:
        """Return when it was exported."""
        return self._exported_at

    def resolve(self, reference: Reference) -> str:
        """Return the full id of the run that is meant."""
        text = str(reference).strip().lower()
        if text in ("@last", "@last-failed"):
            found = [id_ for id_, case in self._cases.items() if text == "@last" or case.run["status"] == "failed"][-1:]
        else:
            digits = text.replace("-", "")
            plain = {id_: id_.replace("-", "") for id_ in self._cases}
            found = [id_ for id_, whole in plain.items() if whole.startswith(digits)] or [
                id_ for id_, whole in plain.items() if whole.endswith(digits)
            ]
            found = found if len(digits) >= DIGITS else []
        if not found:
            raise NotFound(f"there is no run '{reference}' in {self.name}", hint="fx.runs() lists those it has")
        if len(found) > 1:
            raise UsageError(f"'{reference}' means several runs: {', '.join(found[:5])}", hint="give more digits")
        return found[0]

    def case(self, reference: str | UUID) -> Case:
        """Return a run with its history."""
        return self._cases[self.resolve(reference)]

    def answer(self, question: Question, wanted: Wanted, **options: Any) -> pd.DataFrame:
        """Answer from the frames."""
        chosen = _created(self._facts, wanted) if question.by_creation else _lived(self._facts, wanted)
        return question.frames(chosen, **options)

    def close(self) -> None:
        """Nothing is open."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @cached_property
    def _facts(self) -> Facts:
        runs = frames.frame([_run(case.run) for case in self._cases.values()], RUNS)
        seen_at = pd.Series([case.seen_at for case in self._cases.values()], dtype=frames.TIME)
        begun = (runs["finished_at"].fillna(seen_at) - runs["started_at"]).dt.total_seconds()
        waited = (runs["started_at"] - runs["created_at"]).dt.total_seconds()
        runs = runs.assign(duration_s=begun, gate_wait_s=waited)
        told = [
            {**attempt, **_error(attempt["error"])}
            for case in self._cases.values()
            for attempt in tries.retold(case.run, case.events, case.seen_at)
        ]
        attempts = frames.frame(told, {**ATTEMPTS, "traceback": frames.text("of the error, for functions")})
        return Facts(runs, attempts, self._cases, self._exported_at)


def _run(run: Mapping[str, Any]) -> dict[str, Any]:
    error = run["error"] or {}
    return {
        **{name: run.get(name) for name in RUNS},
        "run": run["id"],
        "code": error.get("code"),
        "failed_step": error.get("step"),
        "message": error.get("message"),
        "parent": (run.get("parent") or {}).get("run"),
    }


def _error(error: Mapping[str, Any] | None) -> dict[str, Any]:
    if not error:
        return {"code": None, "message": None, "traceback": None}
    details = error.get("details")
    traceback = details.get("traceback") if isinstance(details, Mapping) else None
    return {"code": error.get("code"), "message": error.get("message"), "traceback": traceback}


def _created(facts: Facts, wanted: Wanted) -> Facts:
    """Keep the runs that were created in the window, as a list of runs means it."""
    chosen = _chosen(facts.runs, wanted)
    if wanted.since is not None:
        chosen &= facts.runs["created_at"] >= wanted.since
    return _narrowed(facts, facts.runs[chosen], Wanted())


def _lived(facts: Facts, wanted: Wanted) -> Facts:
    """Keep the runs that were there at some moment of the window, and the attempts that were."""
    chosen = _chosen(facts.runs, wanted)
    if wanted.since is not None:
        chosen &= facts.runs["finished_at"].isna() | (facts.runs["finished_at"] >= wanted.since)
    return _narrowed(facts, facts.runs[chosen], wanted)


def _chosen(runs: pd.DataFrame, wanted: Wanted) -> pd.Series[bool]:
    chosen = pd.Series(data=True, index=runs.index)
    if wanted.until is not None:
        chosen &= runs["created_at"] < wanted.until
    if wanted.workflow is not None:
        chosen &= runs["workflow"] == wanted.workflow
    if wanted.statuses is not None:
        chosen &= runs["status"].isin(wanted.statuses)
    if wanted.runs is not None:
        chosen &= runs["run"].isin([str(one) for one in wanted.runs])
    for key, value in (wanted.labels or {}).items():
        chosen &= runs["labels"].map(lambda labels, key=key, value=value: (labels or {}).get(key) == value)
    return chosen


def _narrowed(facts: Facts, runs: pd.DataFrame, wanted: Wanted) -> Facts:
    attempts = facts.attempts[facts.attempts["run"].isin(runs["run"])]
    if wanted.until is not None:
        attempts = attempts[attempts["queued_at"] < wanted.until]
    if wanted.since is not None:
        attempts = attempts[attempts["ended_at"].isna() | (attempts["ended_at"] >= wanted.since)]
    kept = set(runs["run"])
    return Facts(
        runs.reset_index(drop=True),
        attempts.reset_index(drop=True),
        {id_: case for id_, case in facts.cases.items() if id_ in kept},
        facts.now,
        wanted.since,
        wanted.until,
    )
