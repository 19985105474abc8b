"""Errors, and effects that may have happened twice, over the frames of a bundle; see tallies.py."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence

import pandas as pd

from flowforge.forensics.source import Facts
from flowforge.forensics.tallies import FAILED
from flowforge.forensics.tries import common_name

#: What makes texts of the same error different, in the order in which it is taken out; Postgres does the same.
_PLAIN = (
    (re.compile(r"w-[0-9a-z._-]{1,20}-[0-9]+-[0-9a-f]{6}", re.IGNORECASE), "<worker>"),
    (re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE), "<id>"),
    (re.compile(r"0x[0-9a-f]+", re.IGNORECASE), "<hex>"),
    (re.compile(r"[0-9]+([.][0-9]+)?"), "<n>"),
)


def plain(message: str) -> str:
    """Return an error's text without ids and numbers."""
    found = message[:2000]
    for pattern, mark in _PLAIN:
        found = pattern.sub(mark, found)
    return found


def errors(facts: Facts, *, limit: int) -> pd.DataFrame:
    """Return the distinct texts of errors, each with how often it came."""
    found = facts.attempts[facts.attempts["outcome"].isin(FAILED) & facts.attempts["code"].notna()].copy()
    found["text"] = found["message"].fillna("").map(plain)
    found["step"] = found["step"].map(common_name)
    found = found.sort_values(["ended_at", "run"])
    made = found.groupby(["workflow", "version", "step", "code", "text"]).agg(
        message=("message", "min"),
        traceback=("traceback", lambda one: min((text for text in one if isinstance(text, str)), default=None)),
        count=("run", "size"),
        final=("outcome", lambda one: int((one == "failed").sum())),
        runs=("run", "nunique"),
        first_seen=("ended_at", "min"),
        last_seen=("ended_at", "max"),
        example_run=("run", "last"),
    )
    return made.reset_index().sort_values("count", ascending=False, ignore_index=True, kind="stable").head(limit)


def duplicates(facts: Facts, *, unknown: Sequence[str], unsent: str, types: Sequence[str], limit: int) -> pd.DataFrame:
    """Return steps whose effect may have happened more than once."""
    found = facts.attempts
    found = found[found["started_at"].notna() & ~found["outcome"].isin(("released", "waiting", "skipped"))]
    found = found[found["type"].isna() | found["type"].isin(types)].copy()
    found["done"] = (found["outcome"] == "completed").astype(int)
    told = found["message"].fillna("").str.contains(unsent, regex=False)
    found["unknown"] = ((found["outcome"] == "lost") | (found["code"].isin(unknown) & ~told)).astype(int)
    made = found.groupby(["run", "workflow", "version", "step"]).agg(
        type=("type", lambda one: next((kind for kind in one if isinstance(kind, str)), None)),
        executions=("done", "size"),
        completed=("done", "sum"),
        unknown=("unknown", "sum"),
        codes=("code", lambda one: ", ".join(sorted({code for code in one if isinstance(code, str)})) or None),
        first_at=("started_at", "min"),
        last_at=("started_at", "max"),
    )
    twice = (made["completed"] > 1) | ((made["executions"] > 1) & (made["unknown"] > 0))
    order = ["last_at", "run", "step"]
    return made[twice].reset_index().sort_values(order, ascending=[False, False, True], ignore_index=True).head(limit)


def repeated(facts: Facts, *, limit: int) -> pd.DataFrame:
    """Return inputs that several runs were started with."""
    first = facts.runs[facts.runs["replay_of"].isna() & facts.runs["parent"].isna()].sort_values("run").copy()
    first["input_md5"] = [_digest(facts.cases[run].run["input"]) for run in first["run"]]
    first = first[first["input_md5"].notna()]
    made = first.groupby(["workflow", "input_md5"]).agg(
        starts=("run", "size"),
        keys=("idempotency_key", "nunique"),
        first_at=("created_at", "min"),
        last_at=("created_at", "max"),
        first_run=("run", "first"),
        last_run=("run", "last"),
    )
    several: pd.DataFrame = made[made["starts"] > 1].reset_index()
    return several.sort_values(["starts", "last_at"], ascending=False, ignore_index=True).head(limit)


def _digest(value: object) -> str | None:
    """Return what tells inputs apart; None for an empty one."""
    text = json.dumps(value, sort_keys=True)
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest() if len(text) > len("{}") else None
