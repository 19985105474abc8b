"""Where answers come from: a live database or a bundle, behind one seam.

Questions about many runs are asked as a `Question`, which knows both ways of being answered: a statement that Postgres
computes, and the same over the frames of a bundle. `connect` chooses the source that functions use from then on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, Self, TypeAlias
from uuid import UUID

import pandas as pd

from flowforge.errors import NotFound
from flowforge.forensics import filters
from flowforge.forensics.filters import Given, Wanted
from flowforge.model.capsule import Capsule

#: Endings of files that are bundles.
BUNDLES = (".ffz", ".zip", ".json", ".capsule")


@dataclass(frozen=True)
class Case:
    """One run with everything that is known of it, as documents."""

    capsule: Capsule
    #: Whether it is another installation's, so that nothing is known here of what happened around it.
    foreign: bool = False

    @cached_property
    def run(self) -> dict[str, Any]:
        """`flowforge/run/v1`, with its steps."""
        return self.capsule.run.document()

    @cached_property
    def events(self) -> list[dict[str, Any]]:
        """`flowforge/event/v1`, in order."""
        return [event.document() for event in self.capsule.events]

    @property
    def definition(self) -> dict[str, Any]:
        """The canonical definition of its version."""
        return self.capsule.definition

    @property
    def seen_at(self) -> datetime:
        """When it was looked at; what had not ended is reckoned up to then."""
        return self.capsule.exported_at

    @property
    def id(self) -> str:
        """The run's id."""
        return str(self.capsule.run.id)


@dataclass(frozen=True, slots=True)
class Facts:
    """The runs of a bundle and their attempts, narrowed to what a question is about."""

    runs: pd.DataFrame
    attempts: pd.DataFrame
    #: By id.
    cases: Mapping[str, Case]
    now: datetime
    #: The window that was asked about.
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Question:
    """Something that is asked about many runs."""

    #: Takes the values of a filter and the options.
    statement: str
    #: Answers the same from facts and the options.
    frames: Callable[..., pd.DataFrame]
    #: Whether a window means the runs created in it; else those that lived in it.
    by_creation: bool = False
    #: Columns that grow with the number of runs: where these are very many some are asked, and this is multiplied.
    grows: tuple[str, ...] = ()


class Source(Protocol):
    """What a question can be put to."""

    @property
    def name(self) -> str:
        """Where the answers come from, for people."""

    def now(self) -> datetime:
        """Return the source's time; durations are reckoned back from it."""

    def resolve(self, reference: str | UUID) -> str:
        """Return the full id of the run that is meant; raise NotFound or UsageError."""

    def case(self, reference: str | UUID) -> Case:
        """Return a run with its history."""

    def answer(self, question: Question, wanted: Wanted, **options: Any) -> pd.DataFrame:
        """Answer a question about many runs."""

    def close(self) -> None:
        """Let go of connections and files."""

    def __enter__(self) -> Self:
        """Return the source, to be closed at the end of a block."""

    def __exit__(self, *_: object) -> None:
        """Close it."""


Reference: TypeAlias = "str | UUID"

#: The source that functions use unless they are given another one.
_current: Source | None = None


def connect(target: str | Path | None = None, *, settings: Any = None) -> Source:
    """Choose where answers come from: a bundle's file, a Postgres URL, or a profile; nothing: the configured database.

    Nothing can be written through it. What it returns can be passed as `source=` to ask two installations at once.
    """
    global _current  # noqa: PLW0603 - a notebook asks one installation, and names it once
    made = _open(target, settings)
    if _current is not None:
        _current.close()
    _current = made
    return made


def open_source(target: str | Path | None = None, *, settings: Any = None) -> Source:
    """Open a source without making it the one that functions use."""
    return _open(target, settings)


def _open(target: str | Path | None, settings: Any) -> Source:
    text = "" if target is None else str(target)
    if isinstance(target, Path) or text.endswith(BUNDLES) or (text and Path(text).is_file()):
        from flowforge.forensics.bundle import Bundle

        if not Path(text).is_file():
            raise NotFound(f"there is no bundle {text}", hint="fx.export_bundle(run, 'incident.ffz') writes one")
        return Bundle.read(Path(text))
    from flowforge.forensics.live import Live

    return Live.open(target=text or None, settings=settings)


def current() -> Source:
    """Return the source in use; the configured database when none was chosen."""
    return _current if _current is not None else connect()


def ask(question: Question, given: Given, source: Source | None = None, **options: Any) -> pd.DataFrame:
    """Put a question to the source in use, or to another one."""
    chosen = source or current()
    return chosen.answer(question, filters.read(chosen.now(), given), **options)
