"""Asking the same of many runs, from the choice of them to the last answer: plan, preview, question, progress.

What is asked of one run by its id is done at once; everything else goes through a plan. Interrupting loses nothing:
what is done is done, and the rest is said.
"""

from __future__ import annotations

import json as jsonlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flowforge_cli import bulk_text, exit_codes, inputs, render, session
from flowforge_cli.criteria import Choice
from flowforge_cli.exit_codes import ExitCode
from flowforge_cli.text import Span, short_id

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from flowforge.client import AsyncClient
    from flowforge.client.bulk import Manner
    from flowforge.model.bulk import Outcome, Plan
    from flowforge.model.documents import Run

#: More runs than this are confirmed by typing their number.
BY_NUMBER = 20


@dataclass(frozen=True)
class How:
    """How something is asked of many runs."""

    limit: Annotated[
        int | None, typer.Option("--limit", "-n", min=1, help="At most so many, the newest of those that match.")
    ] = None
    rate: Annotated[str | None, typer.Option(metavar="N/s", help="At most so many runs a second: 50/s, 10/m.")] = None
    plan: Annotated[
        Path | None,
        typer.Option("--plan", metavar="FILE", help="Only write what would be done; flowforge apply does it."),
    ] = None
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False
    json: Annotated[bool, typer.Option("--json", help="Print data as JSON on stdout.")] = False


@dataclass(frozen=True)
class Request:
    """What is asked, of which runs, and how."""

    verb: str
    #: Ids of runs, or parts of them; empty: those of the criteria.
    references: tuple[str, ...]
    chosen: Choice
    how: How
    options: dict[str, Any]


def ask(
    verb: str,
    given: Sequence[str] | None,
    chosen: Choice,
    how: How,
    one: Callable[[AsyncClient, Run], Awaitable[Run]] | None,
    **options: Any,
) -> int:
    """Do what a command asks; *one* does it to a single run that is named by its id."""
    from flowforge.errors import UsageError

    if given and chosen.given:
        raise UsageError("give ids of runs, or say which by options, not both")
    if not given and not chosen.given:
        raise UsageError(
            "no run is given", hint=f"flowforge {verb} RUN, or flowforge {verb} --query 'flow:etl since:1h'"
        )
    request = Request(verb, tuple(inputs.references(given)) if given else (), chosen, how, options)
    if one is not None and len(request.references) == 1 and not how.dry_run and how.plan is None:
        return session.run(lambda client: _single(client, request, one))
    return session.run(lambda client: _many(client, request))


async def _single(client: AsyncClient, request: Request, act: Callable[[AsyncClient, Run], Awaitable[Run]]) -> int:
    run = await act(client, await client.get(request.references[0]))
    if request.how.json:
        render.document(run.document())
        return ExitCode.OK
    short = short_id(run.id)
    render.say([Span(f"{short} {run.workflow}@{run.version} is {run.status.value}")])
    if not run.status.final:
        render.hint(f"  flowforge watch {short}")
    return ExitCode.OK


async def _many(client: AsyncClient, request: Request) -> int:
    plan = await _plan(client, request)
    how = request.how
    if how.plan is not None:
        return _saved(plan, how.plan, json=how.json)
    if how.dry_run:
        return await _preview(client, request, plan)
    if not plan.targets:
        render.say("no run matches; nothing was changed")
        return _told(request, plan, [], [])
    if not request.references:
        render.say(*bulk_text.effects(plan, unicode=render.unicode()))
    if not _confirmed(plan, named=bool(request.references), yes=how.yes):
        render.say("nothing was changed")
        return ExitCode.OK
    outcomes = await carry_out(client, plan, _manner(how.rate))
    documents = await _documents(client, outcomes) if request.references and how.json else []
    return _told(request, plan, outcomes, documents)


async def _plan(client: AsyncClient, request: Request) -> Plan:
    from flowforge.model.bulk import Verb

    chosen: Any = list(request.references) or request.chosen.wanted(datetime.now(UTC))
    named = f"{len(request.references):,} ids" if request.references else request.chosen.words()
    try:
        return await client.plan(
            Verb(request.verb),
            chosen,
            limit=request.how.limit,
            options=request.options,
            chosen_by=named,
            progress=lambda number: render.progress(f"{number:,} runs found"),
        )
    finally:
        render.progress_done()


def _confirmed(plan: Plan, *, named: bool, yes: bool) -> bool:
    """Ask once, where there is somebody to ask; runs that a filter chose need an answer in any case."""
    number = len(plan.able)
    if number == 0 or (named and (len(plan.targets) == 1 or not (render.interactive() or session.options.no_input))):
        return True
    question = f"{plan.verb} {bulk_text.runs(number)}?"
    if named:
        names = ", ".join(short_id(one.id) for one in plan.targets[:10])
        question = f"{plan.verb} {bulk_text.runs(number)} ({names}{' ...' if len(plan.targets) > 10 else ''})?"  # noqa: PLR2004
    return session.may(question, yes=yes, number=number if number > BY_NUMBER else None)


async def _preview(client: AsyncClient, request: Request, plan: Plan) -> int:
    from flowforge.model.bulk import refusal

    if request.how.json and not request.references:
        render.document({**plan.document(), "dry_run": True})
    elif request.how.json:
        runs = {run.id: run for run in await client.get_many([one.id for one in plan.targets])}
        able = [{**runs[one.id].document(), "would_change": not refusal(plan.verb, one.status)} for one in plan.targets]
        render.document({"schema": "flowforge/runs/v1", "dry_run": True, "counts": plan.counts(), "runs": able})
    else:
        named = request.references and len(plan.targets) <= bulk_text.NAMED
        render.out(*(bulk_text.each(plan) if named else []), *bulk_text.effects(plan, unicode=render.unicode()))
        render.hint("nothing was changed")
    return ExitCode.OK


def _saved(plan: Plan, path: Path, *, json: bool) -> int:
    from flowforge.errors import InputError

    document = plan.document()
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(jsonlib.dumps(document, indent=1, ensure_ascii=False) + "\n")
    except FileExistsError:
        raise InputError(f"{path} is there already", hint="give another name; plans are not written over") from None
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}") from None
    if json:
        render.document(document)
    else:
        render.say(*bulk_text.effects(plan, unicode=render.unicode()), f"written to {path}; nothing was changed")
        render.hint(f"  flowforge apply {path}")
    return ExitCode.OK


async def carry_out(
    client: AsyncClient, plan: Plan, manner: Manner, note: Callable[[Sequence[Outcome]], None] = lambda _: None
) -> list[Outcome]:
    """Carry a plan out with progress; an interruption says how far it came."""
    outcomes: list[Outcome] = []

    def noted(made: Sequence[Outcome]) -> None:
        note(made)
        outcomes.extend(made)
        render.progress(f"{plan.verb}: {len(outcomes) + len(manner.done):,} of {bulk_text.runs(len(plan.targets))}")

    done = False
    try:
        found = await client.carry_out(plan, manner, note=noted)
        done = True
    finally:
        render.progress_done()
        if not done:
            render.say(*bulk_text.outcome(plan.verb, outcomes, total=len(plan.targets)))
            render.hint("interrupted; the same command goes on with the rest")
    return found


def _manner(rate: str | None) -> Manner:
    from flowforge.client.bulk import Manner

    return Manner(rate=per_second(rate))


def per_second(text: str | None) -> float | None:
    """Return a rate in runs a second; a bare number is that already."""
    from flowforge.errors import UsageError

    if text is None:
        return None
    match = re.fullmatch(r"([0-9]{1,6}(?:\.[0-9]{1,3})?)(?:/(s|m|h))?", text.strip(), re.ASCII)
    rate = float(match[1]) / {"s": 1, "m": 60, "h": 3600}[match[2] or "s"] if match else 0.0
    if rate <= 0:
        raise UsageError(f"'{text}' is not a rate", hint="write it like 50/s or 10/m")
    return rate


async def _documents(client: AsyncClient, outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    from flowforge.model.bulk import Result

    done = [one.started or one.run for one in outcomes if one.result is Result.DONE]
    return [run.document() for run in await client.get_many(done)]


def _told(request: Request, plan: Plan, outcomes: Sequence[Outcome], documents: list[dict[str, Any]]) -> int:
    """Say what came of it; return the exit code."""
    from flowforge.model.bulk import Result, tally

    if request.how.json and request.references:
        render.document(
            {"schema": "flowforge/runs/v1", "plan": str(plan.id), "counts": tally(outcomes), "runs": documents}
        )
    elif request.how.json:
        render.document(document(plan, outcomes))
    else:
        for one in outcomes:
            if one.started is not None:
                render.out(str(one.started))
    if plan.targets:
        render.say(*bulk_text.outcome(request.verb, outcomes, total=len(plan.targets)))
    # What a filter chose and could be seen to be refused was said before anybody agreed to it.
    seen = set() if request.references else {one.id for one in plan.targets} - {one.id for one in plan.able}
    left = [
        one
        for one in outcomes
        if one.result is Result.CHANGED or (one.result is Result.REFUSED and one.run not in seen)
    ]
    return exit_codes.worst([ExitCode.CONFLICT] if left else [])


def document(plan: Plan, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Return what came of a plan, as data: `flowforge/bulk/v1`."""
    from flowforge.model.bulk import tally

    return {
        "schema": "flowforge/bulk/v1",
        "plan": str(plan.id),
        "verb": plan.verb.value,
        "counts": tally(outcomes),
        "runs": [one.document() for one in outcomes],
    }
