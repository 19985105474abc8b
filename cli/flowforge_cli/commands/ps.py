"""`flowforge ps`: the list of runs."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flowforge_cli import completing, criteria, render, run_text, session
from flowforge_cli.criteria import Criteria
from flowforge_cli.options import JsonOption, sub_app, taking
from flowforge_cli.text import Row, Table, short_ids, state, table

if TYPE_CHECKING:
    from flowforge.client import AsyncClient
    from flowforge.client.searching import Listing
    from flowforge.model.documents import RunFilter
    from flowforge.model.status import RunStatus

app = sub_app()


@app.command()
@taking
def ps(
    chosen: Criteria,
    sort: Annotated[
        str,
        typer.Option(
            metavar="ORDER", autocompletion=completing.sorts, help="created, started, finished, duration or workflow."
        ),
    ] = "created",
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=100_000, help="How many.")] = 20,
    after: Annotated[
        str | None,
        typer.Option(metavar="RUN", autocompletion=completing.runs, help="Go on behind this run, the last one shown."),
    ] = None,
    count: Annotated[bool, typer.Option("--count", help="Only count them, by status.")] = False,
    json: JsonOption = False,
) -> None:
    """List runs, newest first.

    A query is one line of conditions that all have to hold: state:failed flow:etl version:3 since:1h until:30m
    label.team=a trigger:schedule error:HTTP_503 step:charge=failed input.customer=42 output.total=9.5 replay:RUN
    parent:RUN, words, and !word. Fields that the definition declares (search: [input.customer]) have an index; of
    others, as of words, the newest runs are looked at, and it is said how many.

    \b
    Examples:
      flowforge ps
      flowforge ps --status failed --since 1h
      flowforge ps --workflow order-fulfilment --label region=eu --limit 100
      flowforge ps --query 'state:failed step:charge=failed input.customer=42'
      flowforge ps --since 7d --sort duration -n 10
      flowforge ps --count --since 24h
      flowforge ps --status active --json | jq -r '.runs[].id' | flowforge cancel -
    """  # noqa: D301 - \b keeps Typer from refilling the paragraph
    now = datetime.now(UTC)
    wanted = chosen.wanted(now, limit=limit, sort=criteria.sort(sort))
    if count:
        session.run(lambda client: _count(client, wanted, json=json))
    else:
        session.run(lambda client: _list(client, wanted, after, json=json))


async def _list(client: AsyncClient, wanted: RunFilter, after: str | None, *, json: bool) -> None:
    from dataclasses import replace

    if after is not None:
        wanted = replace(wanted, after=await client.resolve(after))
    found = await client.listing(wanted)
    if json:
        written = render.ListDocument({"schema": "flowforge/runs/v1"}, "runs")
        async for part in client.parts(found.ids):
            written.add(run.document() for run in part)
        written.end(_bound(found))
        return
    lines, short = Table(run_text.RUNS), short_ids(found.ids)
    async for part in client.parts(found.ids, steps=True):
        render.out(*lines.lines(run_text.run_rows(part, short, datetime.now(UTC), unicode=render.unicode())))
    if not found.ids:
        await _teach(client, wanted)
    _remark(found, wanted)


def _bound(found: Listing) -> dict[str, Any]:
    """Return what a document says of a list that is not all."""
    more: dict[str, Any] = {}
    if found.after is not None:
        more["after"] = str(found.after)
    if found.looked_at is not None:
        more["looked_at"] = found.looked_at
    if found.undeclared:
        more["undeclared"] = list(found.undeclared)
    return more


def _remark(found: Listing, wanted: RunFilter) -> None:
    """Say what was left out, and how to see it."""
    if found.looked_at is not None:
        what = "these are of" if found.ids else "none is among"
        render.hint(f"{what} the newest {found.looked_at:,} that were looked at; narrow it with --since or --workflow")
    if found.undeclared:
        fields = ", ".join(name for name, _ in wanted.fields)
        render.hint(f"not looked at: {criteria.described(found.undeclared)}, which do not declare {fields} (search:)")
    if found.after is not None:
        shown = f"{len(found.ids):,} shown; " if found.ids else ""
        render.hint(f"{shown}more with --limit, or go on with --after {found.after}")


async def _teach(client: AsyncClient, wanted: RunFilter) -> None:
    if wanted.empty:
        render.say("no runs yet", "  help: flowforge init, then flowforge run flows/hello.yaml --wait")
        return
    render.say("no run matches")
    if wanted.workflow is not None and "*" not in wanted.workflow:
        from flowforge.model.diagnostics import closest

        names = await client.workflow_names()
        if wanted.workflow not in names:
            meant = closest(wanted.workflow, names)
            suggestion = f" (did you mean '{meant}'?)" if meant else ""
            render.say(f"  there is no workflow '{wanted.workflow}'{suggestion}", "  help: flowforge workflow ls")
            return
    render.say("  help: flowforge ps lists the newest")


async def _count(client: AsyncClient, wanted: RunFilter, *, json: bool) -> None:
    counts = await client.count(wanted)
    if json:
        render.document(
            {
                "schema": "flowforge/run-counts/v1",
                "counts": {status.value: number for status, (number, _) in counts.items()},
                "at_least": [status.value for status, (_, complete) in counts.items() if not complete],
            }
        )
        return
    if not counts:
        await _teach(client, wanted)
        return
    render.out(*table(("STATE", "RUNS"), [_counted(status, *one) for status, one in sorted(counts.items())]))


def _counted(status: RunStatus, number: int, complete: bool) -> Row:
    return [state(status.value, unicode=render.unicode()), f"{number:,}" + ("" if complete else " or more")]
