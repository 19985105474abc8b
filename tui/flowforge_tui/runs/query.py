"""Which of the runs at hand a filter lets through: the language of `ps --query`, held against runs on one line each.

A run's line does not say how each of its steps stands, its fields, or what it came from; of a filter that asks for
those, what the database has found is let through, as far as the rest of it still holds.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import lru_cache
from typing import TypeAlias
from uuid import UUID

from flowforge.model import filter as language
from flowforge.model.documents import RunFilter
from flowforge.model.overview import RunSummary

EXAMPLE = "state:failed,running flow:etl* since:1h label:region=eu !text"
Test: TypeAlias = Callable[[RunSummary], bool]
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

    @property
    def ages(self) -> bool:
        """Whether what it means changes with the time."""
        return self.wanted.since is not None or self.wanted.until is not None

    def again(self, now: datetime) -> Query:
        """Return the same, with its times counted from another moment."""
        return replace(self, wanted=parse(self.text, now).wanted)

    def tests(self) -> tuple[Test, ...]:
        """Return what a run has to pass to be one of those: nothing where every run is."""
        if not self.elsewhere:
            return tuple(_tests(self.wanted))
        found = self.found or frozenset()
        return (lambda run: run.id in found, *_tests(self.wanted))

    def matches(self, run: RunSummary) -> bool:
        """Say whether a run is one of those."""
        return all(test(run) for test in self.tests())


def parse(text: str, now: datetime) -> Query:
    """Read a filter; UsageError says what is wrong with it."""
    return Query(text.strip(), language.parse(text, now))


def _tests(wanted: RunFilter) -> Iterator[Test]:
    if wanted.statuses:
        yield lambda run: run.status in wanted.statuses
    if wanted.error is not None:
        yield lambda run: run.error is not None and run.error.get("code") == wanted.error
    if (since := wanted.since) is not None:
        yield lambda run: run.created_at >= since
    if (until := wanted.until) is not None:
        yield lambda run: run.created_at < until
    if wanted.version is not None:
        yield lambda run: run.version == wanted.version
    if wanted.trigger is not None:
        yield lambda run: run.trigger == wanted.trigger
    if wanted.workflow is not None:
        pattern = _pattern(wanted.workflow)
        yield lambda run: pattern.fullmatch(run.workflow) is not None
    if wanted.labels:
        yield lambda run: all(run.labels.get(name) == value for name, value in wanted.labels)
    if wanted.words or wanted.without:
        yield lambda run: _says(haystack(run), wanted)


def _says(text: str, wanted: RunFilter) -> bool:
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
