"""The options with which commands choose runs: `ps` lists what they match, bulk verbs act on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flowforge_cli import completing, inputs

if TYPE_CHECKING:
    from flowforge.model.documents import RunFilter


@dataclass(frozen=True)
class Choice:
    """Which runs; all that is given has to hold."""

    status: Annotated[
        list[str] | None,
        typer.Option(
            "--status",
            "-s",
            metavar="STATUS",
            autocompletion=completing.statuses,
            help="Only these: failed, running, active (not ended) ...",
        ),
    ] = None
    workflow: Annotated[
        str | None,
        typer.Option(
            "--workflow",
            "-w",
            metavar="NAME",
            autocompletion=completing.workflows,
            help="Only of this workflow; NAME@2 and etl* too.",
        ),
    ] = None
    label: Annotated[list[str] | None, typer.Option("--label", "-l", metavar="K=V", help="Only with this label.")] = (
        None
    )
    trigger: Annotated[
        str | None, typer.Option(metavar="KIND", help="Only started so: cli, api, schedule, replay ...")
    ] = None
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="Created since: 30m, 1h, 7d ago, or a date or time.")
    ] = None
    until: Annotated[str | None, typer.Option(metavar="TIME", help="Created before.")] = None
    error: Annotated[str | None, typer.Option(metavar="CODE", help="Only with this error: HTTP_503, TIMEOUT ...")] = (
        None
    )
    step: Annotated[
        list[str] | None,
        typer.Option(
            "--step",
            metavar="STEP=STATE",
            autocompletion=completing.steps,
            help="Only with this step so: charge=failed.",
        ),
    ] = None
    where: Annotated[
        list[str] | None,
        typer.Option("--where", metavar="FIELD=V", help="Only with this field: input.customer=42, output.total=9.5."),
    ] = None
    replay_of: Annotated[
        str | None,
        typer.Option("--replay-of", metavar="RUN", autocompletion=completing.runs, help="Only replays of this run."),
    ] = None
    parent: Annotated[
        str | None,
        typer.Option(metavar="RUN", autocompletion=completing.runs, help="Only those that this run started."),
    ] = None
    query: Annotated[
        str | None,
        typer.Option("--query", "-q", metavar="EXPR", help="All of this in one line: state:failed flow:etl since:1h."),
    ] = None

    @property
    def given(self) -> bool:
        """Whether anything is asked for."""
        return any(value not in (None, []) for value in vars(self).values())

    def words(self) -> str:
        """Return the options as they were given, for the record."""
        given = [
            (name, one)
            for name, value in vars(self).items()
            for one in ([value] if isinstance(value, str) else value or ())
        ]
        return " ".join(f"--{name.replace('_', '-')} {one}" for name, one in given)

    def wanted(self, now: datetime, **more: Any) -> RunFilter:
        """Return the filter; UsageError says which option makes no sense, and why."""
        from flowforge.model.documents import RunFilter
        from flowforge.model.filter import parse

        found = RunFilter(
            statuses=inputs.statuses(self.status or ()),
            labels=tuple(inputs.labels(self.label or ()).items()),
            **more,
        )
        for option, name, values in (
            ("--workflow", "flow", self.workflow),
            ("--version", "version", getattr(self, "version", None)),
            ("--trigger", "trigger", self.trigger),
            ("--since", "since", self.since),
            ("--until", "until", self.until),
            ("--error", "error", self.error),
            ("--step", "step", self.step),
            ("--where", "", self.where),
            ("--replay-of", "replay", self.replay_of),
            ("--parent", "parent", self.parent),
        ):
            for value in [values] if isinstance(values, str) else values or ():
                found = _with(found, option, name, value, now)
        return found if self.query is None else parse(self.query, now, found)


@dataclass(frozen=True)
class Criteria(Choice):
    """The same, with the version; not for commands whose own --version means something else."""

    version: Annotated[str | None, typer.Option(metavar="N", help="Only of this version.")] = None


def _with(found: RunFilter, option: str, name: str, value: str, now: datetime) -> RunFilter:
    from flowforge.errors import UsageError
    from flowforge.model import filter as language

    try:
        return language.term(found, name, value, now) if name else language.field(found, value)
    except ValueError as error:
        raise UsageError(f"{option}: {error}", hint=getattr(error, "hint", None)) from None


def sort(text: str) -> Any:
    """Return how to sort; UsageError when that is no order."""
    from flowforge.errors import UsageError
    from flowforge.model.diagnostics import closest
    from flowforge.model.documents import SORTS

    if text in SORTS:
        return text
    meant = closest(text, SORTS)
    hint = f"did you mean '{meant}'?" if meant else f"there are: {', '.join(SORTS)}"
    raise UsageError(f"runs cannot be sorted by '{text}'", hint=hint)


def described(words: Sequence[str]) -> str:
    """Return a list of words as people say it."""
    return ", ".join(words[:5]) + (f" and {len(words) - 5} more" if len(words) > 5 else "")  # noqa: PLR2004
