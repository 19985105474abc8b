"""`flowforge apply`: carry out a plan that a bulk verb has written."""

from __future__ import annotations

import json as jsonlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flowforge_cli import bulk, bulk_text, render, session
from flowforge_cli.exit_codes import ExitCode
from flowforge_cli.journal import Journal
from flowforge_cli.options import JsonOption, YesOption, sub_app

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flowforge.client import AsyncClient
    from flowforge.client.bulk import Manner
    from flowforge.model.bulk import Outcome, Plan

app = sub_app()

#: Bytes of a plan that are read: a million runs and more.
MOST = 1024 * 1024 * 1024


@app.command()
def apply(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The plan, from --plan FILE.")],
    rate: Annotated[str | None, typer.Option(metavar="N/s", help="At most so many runs a second: 50/s, 10/m.")] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Ask also the runs that have changed since the plan was made.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what the plan would do.")] = False,
    yes: YesOption = False,
    json: JsonOption = False,
) -> int:
    """Carry out a plan: each run is looked at again under its lock, and left alone if it has changed since.

    A run is as it was when its status is, and no event has come to its history but its receipt. What was done is kept
    in FILE.journal and in the histories of the runs, with the plan's id, who applied it and the reason: after an
    interruption the same command does the rest. Exit code 7 when any run was refused or left alone.

    \b
    Examples:
      flowforge retry --error HTTP_503 --since 2h --plan retry.json
      flowforge apply retry.json --dry-run
      flowforge apply retry.json --rate 20/s --yes
    """  # noqa: D301
    plan = _read(file)
    if dry_run:
        if json:
            render.document({**plan.document(), "dry_run": True})
        else:
            render.out(*bulk_text.effects(plan, unicode=render.unicode()))
            render.hint("as it was when the plan was made; nothing was changed")
        return ExitCode.OK
    per_second = bulk.per_second(rate)
    render.say(*bulk_text.effects(plan, unicode=render.unicode()))
    number = len(plan.able)
    if number and not session.may(
        f"{plan.verb} {bulk_text.runs(number)}?", yes=yes, number=number if number > bulk.BY_NUMBER else None
    ):
        render.say("nothing was changed")
        return ExitCode.OK
    journal = Journal(file, plan.id)
    return session.run(
        lambda client: _apply(client, plan, _manner(journal, per_second, force=force), journal, json=json)
    )


def _read(path: Path) -> Plan:
    from flowforge.errors import InputError, NotFound
    from flowforge.model.bulk import Plan

    try:
        if path.stat().st_size > MOST:
            raise InputError(f"{path} is larger than a plan can be")
        document = jsonlib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise NotFound(f"there is no file {path}", hint="write one: flowforge retry --query ... --plan FILE") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not JSON: {error}") from None
    try:
        return Plan.from_document(document)
    except InputError as error:
        raise InputError(f"{path}: {error.message}") from None


def _manner(journal: Journal, rate: float | None, *, force: bool) -> Manner:
    from flowforge.client.bulk import Manner
    from flowforge.model.drift import Care

    return Manner(rate=rate, care=Care.NONE if force else Care.EXACT, done=journal.done())


async def _apply(client: AsyncClient, plan: Plan, manner: Manner, journal: Journal, *, json: bool) -> int:
    outcomes = await bulk.carry_out(client, plan, manner, journal.note)
    if json:
        render.document(bulk.document(plan, outcomes))
    render.say(*bulk_text.outcome(plan.verb, outcomes, total=len(plan.targets)))
    return _code(outcomes)


def _code(outcomes: Sequence[Outcome]) -> int:
    from flowforge.model.bulk import Result

    left = any(one.result in (Result.REFUSED, Result.CHANGED) for one in outcomes)
    return ExitCode.CONFLICT if left else ExitCode.OK
