"""Which of the runs at hand a filter lets through: the language of `ps --query`, held against runs on one line each.

A run's line does not say how each of its steps stands, its fields, or what it came from; of a filter that asks for
those, what the database has found is let through, as far as the rest of it still holds.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import lru_cache
from uuid import UUID

from flowforge.model import filter as language
from flowforge.model.documents import RunFilter
from flowforge.model.overview import RunSummary

EXAMPLE = "state:failed,running flow:etl* since:1h label:region=eu !text"
FIELDS = (*(f"{name}:" for name in language.NAMES), "label.NAME=", "input.PATH=", "output.PATH=")


@dataclass(frozen=True, slots=True)
class Query:
    """What to list."""

    text: str = ""
    #: What the text means at the moment at which it was read.
    wanted: RunFilter = field(default_factory=RunFilter)
    #: The runs that the database found; None while it has not answered.
    found: frozenset[UUID] | None = None

    @property
    def elsewhere(self) -> bool:
        """Whether only the database knows all of what is asked for."""
        wanted = self.wanted
        return bool(wanted.steps or wanted.fields or wanted.replay_of or wanted.parent)

    def again(self, now: datetime) -> Query:
        """Return the same, with its times counted from another moment."""
        return replace(self, wanted=parse(self.text, now).wanted)

    def matches(self, run: RunSummary) -> bool:
        """Say whether a run is one of those."""
        if self.elsewhere and (self.found is None or run.id not in self.found):
            return False
        return _stands(run, self.wanted) and _came(run, self.wanted) and _says(run, self.wanted)


def parse(text: str, now: datetime) -> Query:
    """Read a filter; UsageError says what is wrong with it."""
    return Query(text.strip(), language.parse(text, now))


def _stands(run: RunSummary, wanted: RunFilter) -> bool:
    if wanted.statuses and run.status not in wanted.statuses:
        return False
    return wanted.error is None or (run.error is not None and run.error.get("code") == wanted.error)


def _came(run: RunSummary, wanted: RunFilter) -> bool:
    return (
        (wanted.since is None or run.created_at >= wanted.since)
        and (wanted.until is None or run.created_at < wanted.until)
        and (wanted.version is None or run.version == wanted.version)
        and (wanted.trigger is None or run.trigger == wanted.trigger)
        and (wanted.workflow is None or _pattern(wanted.workflow).fullmatch(run.workflow) is not None)
        and all(run.labels.get(name) == value for name, value in wanted.labels)
    )


def _says(run: RunSummary, wanted: RunFilter) -> bool:
    if not (wanted.words or wanted.without):
        return True
    text = haystack(run)
    return all(word.lower() in text for word in wanted.words) and not any(
        word.lower() in text for word in wanted.without
    )


@lru_cache(maxsize=16)
def _pattern(name: str) -> re.Pattern[str]:
    return re.compile(".*".join(re.escape(part) for part in name.split("*")), re.DOTALL)


def haystack(run: RunSummary) -> str:
    """Return everything of a run that words are looked for in, as the database has it."""
    labels = json.dumps(run.labels, ensure_ascii=False) if run.labels else "{}"
    error = run.error or {}
    about = f"{run.workflow} {run.id} {run.id.hex[-12:]} {labels}"
    return f"{about} {error.get('code') or ''} {error.get('message') or ''}".lower()
