"""Which runs, and what time, a question is about: the words of `flowforge ps`, read in the same way.

A time that is given as a duration (`1h`) is reckoned back from the source's clock: for a bundle that is the moment it
was exported, so what was asked on the day of the incident gets the same answer a month later.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias, TypedDict
from uuid import UUID

import pandas as pd

from flowforge.errors import UsageError
from flowforge.model import duration
from flowforge.model.status import RunStatus

#: A moment: a time, its RFC 3339 text, or how long ago: `30m`, `1h`, `7d`.
Moment: TypeAlias = "datetime | timedelta | str | None"
#: Runs: ids, or a frame with a column `run`.
Runs: TypeAlias = "pd.DataFrame | Iterable[str | UUID] | str | UUID | None"

_AGO = re.compile(r"(\d+(\.\d+)?(ms|[smhd]))+")
_WEEKS = re.compile(r"(\d+)w")


class Filters(TypedDict, total=False):
    """The keywords that every question about many runs takes, beside `since` and `runs`.

    - `since`, `until`: the time it is about.
    - `workflow`: a name. `status`: one or several of `failed`, `running` …, or `active`, `done`.
    - `label`: `{"region": "eu"}`, or `"region=eu"`.
    - `runs`: only these; ids, or a frame with a column `run`.
    - `flow`, `state`: the dashboard's words for `workflow` and `status`.
    """

    until: Moment
    workflow: str | None
    status: str | Iterable[str] | None
    label: Mapping[str, str] | str | Iterable[str] | None
    flow: str | None
    state: str | Iterable[str] | None


class Given(Filters, total=False):
    """A whole filter, as it was given."""

    since: Moment
    runs: Runs


@dataclass(frozen=True, slots=True)
class Wanted:
    """A filter that was read; what is None does not filter."""

    since: datetime | None = None
    until: datetime | None = None
    workflow: str | None = None
    statuses: tuple[str, ...] | None = None
    labels: Mapping[str, str] | None = None
    runs: tuple[UUID, ...] | None = None

    def values(self) -> dict[str, Any]:
        """Return what the statements take."""
        return {
            "since": self.since,
            "until": self.until,
            "workflow": self.workflow,
            "statuses": None if self.statuses is None else list(self.statuses),
            "labels": None if self.labels is None else json.dumps(self.labels),
            "runs": None if self.runs is None else list(self.runs),
        }


def read(now: datetime, filters: Given) -> Wanted:
    """Read the filters of a question; raise UsageError for one that makes no sense."""
    unknown = set(filters) - set(Given.__annotations__)
    if unknown:
        raise UsageError(f"there is no filter '{min(unknown)}'", hint=f"there are: {', '.join(Given.__annotations__)}")
    return Wanted(
        since=moment(filters.get("since"), now),
        until=moment(filters.get("until"), now),
        workflow=filters.get("workflow") or filters.get("flow"),
        statuses=_statuses(filters.get("status") or filters.get("state")),
        labels=_labels(filters.get("label")),
        runs=run_ids(filters.get("runs")),
    )


def moment(given: Moment, now: datetime) -> datetime | None:
    """Return the moment that is meant, in UTC; a time without a zone is in UTC."""
    if given is None:
        return None
    if isinstance(given, timedelta):
        return now - given
    if isinstance(given, str):
        spelling = _WEEKS.sub(lambda match: f"{7 * int(match[1])}d", given.strip().lower())
        if _AGO.fullmatch(spelling):
            return now - duration.parse(spelling)
        try:
            given = datetime.fromisoformat(given.strip())
        except ValueError:
            raise UsageError(
                f"'{given}' is not a time", hint="write how long ago (30m, 1h, 7d) or 2026-01-31T12:00:00Z"
            ) from None
    return given.replace(tzinfo=UTC) if given.tzinfo is None else given.astimezone(UTC)


def run_ids(given: Runs) -> tuple[UUID, ...] | None:
    """Return the ids of runs that are given one way or another."""
    if given is None:
        return None
    if isinstance(given, pd.DataFrame):
        if "run" not in given:
            raise UsageError("the frame has no column 'run'", hint="fx.runs(...) returns one that has")
        given = given["run"].dropna().unique().tolist()
    if isinstance(given, str | UUID):
        given = [given]
    try:
        return tuple(one if isinstance(one, UUID) else UUID(str(one)) for one in given)
    except ValueError:
        raise UsageError("runs are given by their full ids", hint="fx.runs(...) returns them") from None


def _statuses(given: str | Iterable[str] | None) -> tuple[str, ...] | None:
    if given is None:
        return None
    words = given.split(",") if isinstance(given, str) else list(given)
    found: dict[str, None] = {}
    for word in (str(word).strip().lower() for word in words):
        if word == "active":
            found |= dict.fromkeys(status.value for status in RunStatus if not status.final)
        elif word == "done":
            found[RunStatus.COMPLETED.value] = None
        elif word in {status.value for status in RunStatus}:
            found[word] = None
        else:
            known = ", ".join([*(status.value for status in RunStatus), "active"])
            raise UsageError(f"'{word}' is not a status of runs", hint=f"there are: {known}")
    return tuple(found)


def _labels(given: Mapping[str, str] | str | Iterable[str] | None) -> Mapping[str, str] | None:
    if given is None or isinstance(given, Mapping):
        return given
    pairs = [given] if isinstance(given, str) else list(given)
    found = {}
    for pair in pairs:
        key, sign, text = pair.partition("=")
        if not sign or not key:
            raise UsageError(f"'{pair}' is not a label: write key=value")
        found[key] = text
    return found
