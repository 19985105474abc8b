"""The filter language of the list of runs: `state:failed,running flow:etl since:1h label:region=eu !text`.

All terms have to hold; `!` turns one round. The seam of the list: whatever gives a Query with `matches` and `wanted`
can stand in for `parse`.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import NamedTuple, TypeAlias

from flowforge.errors import UsageError
from flowforge.model.documents import RunFilter
from flowforge.model.duration import parse as parse_duration
from flowforge.model.overview import RunSummary
from flowforge.model.status import FINAL_RUN, RunStatus
from flowforge.model.text import LOOKS

FIELDS = ("state", "flow", "since", "until", "label", "trigger", "step", "id", "error")
#: States that are more than one, or none of the statuses.
GROUPS = ("active", "ended", "waiting", "retrying", "trouble")
EXAMPLE = "state:failed,running flow:etl since:1h label:region=eu !text"


Condition: TypeAlias = "Callable[[RunSummary, datetime], bool]"


class Term(NamedTuple):
    """One condition."""

    field: str
    value: str
    negated: bool
    holds: Condition


@dataclass(frozen=True, slots=True)
class Query:
    """What to list."""

    text: str = ""
    terms: tuple[Term, ...] = ()

    def matches(self, run: RunSummary, now: datetime) -> bool:
        """Say whether a run is one of those."""
        return all(term.holds(run, now) is not term.negated for term in self.terms)

    @property
    def words(self) -> tuple[str, ...]:
        """The bare words that a run has to contain."""
        return tuple(term.value for term in self.terms if term.field == "" and not term.negated)

    def wanted(self, now: datetime, limit: int) -> RunFilter:
        """Return as much of it as the database can answer, for runs that are not in the list yet."""
        given = {term.field: term.value for term in self.terms if not term.negated}
        statuses = _statuses(given["state"]) if "state" in given else frozenset()
        since = now - _duration("since", given["since"]) if "since" in given else None
        until = now - _duration("until", given["until"]) if "until" in given else None
        labels = [term.value.partition("=") for term in self.terms if term.field == "label" and not term.negated]
        return RunFilter(
            statuses=tuple(status for status in RunStatus if status in statuses),
            labels=tuple((key, value) for key, equals, value in labels if equals),
            since=since,
            until=until,
            limit=limit,
        )


def parse(text: str) -> Query:
    """Read a filter; UsageError says what is wrong with it."""
    try:
        words = shlex.split(text)
    except ValueError:
        words = text.replace('"', " ").replace("'", " ").split()
    return Query(text.strip(), tuple(_term(word) for word in words if word.strip("!")))


def _term(word: str) -> Term:
    negated, word = word.startswith("!"), word.lstrip("!")
    field, colon, value = word.partition(":")
    if not colon:
        return Term("", word, negated, _contains(word.lower()))
    if field not in FIELDS:
        close = get_close_matches(field, FIELDS, 1)
        meant = f" (did you mean '{close[0]}:'?)" if close else ""
        raise UsageError(f"there is no field '{field}'{meant}", hint=f"fields: {' '.join(FIELDS)}")
    return Term(field, value, negated, _condition(field, value))


def _condition(field: str, value: str) -> Condition:
    match field:
        case "state":
            return _in_state(value)
        case "since" | "until":
            return _created(field, _duration(field, value))
        case "label":
            return _labelled(value)
        case "step":
            return lambda run, _: run.at is not None and _like(run.at.id, value)
        case "error":
            return lambda run, _: value.lower() in _error(run)
        case _:
            return _texts[field](value)


def _created(field: str, ago: timedelta) -> Condition:
    if field == "since":
        return lambda run, now: run.created_at >= now - ago
    return lambda run, now: run.created_at < now - ago


def _labelled(value: str) -> Condition:
    key, equals, wanted = value.partition("=")
    return lambda run, _: key in run.labels and (not equals or run.labels[key] == wanted)


_texts: dict[str, Callable[[str], Condition]] = {
    "flow": lambda value: lambda run, _: _like(run.workflow, value),
    "trigger": lambda value: lambda run, _: run.trigger == value,
    "id": lambda value: lambda run, _: value.replace("-", "").lower() in run.id.hex,
}


def _in_state(value: str) -> Condition:
    wanted = frozenset(value.lower().split(","))
    words = {look.word.lower(): status for status, look in LOOKS.items()}
    statuses = frozenset(words.get(name, name) for name in wanted)
    known = {status.value for status in RunStatus} | set(GROUPS)
    if unknown := sorted(name for name in statuses if name and name not in known):
        close = get_close_matches(unknown[0], known, 1)
        meant = f" (did you mean '{close[0]}'?)" if close else ""
        raise UsageError(f"there is no state '{unknown[0]}'{meant}", hint=f"states: {' '.join(sorted(known))}")

    def holds(run: RunSummary, _: datetime) -> bool:
        status, final = run.status.value, run.status in FINAL_RUN
        return (
            status in statuses
            or run.look in statuses
            or ("active" in statuses and not final)
            or ("ended" in statuses and final)
            or ("trouble" in statuses and (status == "failed" or run.look == "retrying"))
        )

    return holds


def _statuses(value: str) -> frozenset[RunStatus]:
    """Return the statuses that a value of `state:` may mean for the database."""
    found: set[RunStatus] = set()
    words = {look.word.lower(): status for status, look in LOOKS.items()}
    for name in value.lower().split(","):
        name = words.get(name, name)  # noqa: PLW2901 - the same state by its status
        match name:
            case "active":
                found |= set(RunStatus) - FINAL_RUN
            case "ended":
                found |= FINAL_RUN
            case "waiting" | "retrying":
                found.add(RunStatus.RUNNING)
            case "trouble":
                found |= {RunStatus.FAILED, RunStatus.RUNNING}
            case _:
                found |= {status for status in RunStatus if status.value == name}
    return frozenset(found)


def _duration(field: str, value: str) -> timedelta:
    try:
        found = parse_duration(value)
    except ValueError:
        raise UsageError(f"'{field}:{value}' is not a duration", hint=f"{field}:15m, {field}:1h, {field}:7d") from None
    return found


def _like(text: str, pattern: str) -> bool:
    """Say whether a text contains a word, or is like a pattern with stars."""
    text, pattern = text.lower(), pattern.lower()
    return fnmatchcase(text, pattern) if "*" in pattern else pattern in text


def _contains(word: str) -> Condition:
    return lambda run, _: word in haystack(run)


def haystack(run: RunSummary) -> str:
    """Return everything of a run that bare words are looked for in."""
    labels = " ".join(f"{key}={value}" for key, value in run.labels.items())
    step = "" if run.at is None else run.at.id
    return f"{run.id} {run.id.hex} {run.workflow} {run.trigger} {labels} {step} ".lower() + _error(run)


def _error(run: RunSummary) -> str:
    return "" if run.error is None else f"{run.error.get('code', '')} {run.error.get('message', '')}".lower()
