"""`flowforge ps`: the list of runs."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from flowforge_cli import inputs, render, run_text, session
from flowforge_cli.options import JsonOption, sub_app

if TYPE_CHECKING:
    from flowforge.client import AsyncClient
    from flowforge.model.documents import RunFilter

app = sub_app()


@app.command()
def ps(
    status: Annotated[
        list[str] | None,
        typer.Option("--status", "-s", metavar="STATUS", help="Only these: failed, running, active (not ended) ..."),
    ] = None,
    workflow: Annotated[
        str | None, typer.Option("--workflow", "-w", metavar="NAME", help="Only of this workflow.")
    ] = None,
    label: Annotated[
        list[str] | None, typer.Option("--label", "-l", metavar="K=V", help="Only with this label.")
    ] = None,
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="Created since: 30m, 1h, 7d ago, or a date or time.")
    ] = None,
    until: Annotated[str | None, typer.Option(metavar="TIME", help="Created before.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=100_000, help="How many, newest first.")] = 20,
    json: JsonOption = False,
) -> None:
    """List runs, newest first.

    \b
    Examples:
      flowforge ps
      flowforge ps --status failed --since 1h
      flowforge ps --workflow order-fulfilment --label region=eu --limit 100
      flowforge ps --status active --json | jq -r '.runs[].id' | flowforge cancel -
    """  # noqa: D301 - \b keeps Typer from refilling the paragraph
    from flowforge.model.documents import RunFilter

    now = datetime.now(UTC)
    wanted = RunFilter(
        statuses=inputs.statuses(status or ()),
        workflow=workflow,
        labels=tuple(inputs.labels(label or ()).items()),
        since=inputs.moment(since, now),
        until=inputs.moment(until, now),
        limit=limit,
    )
    session.run(lambda client: _list(client, wanted, json=json))


async def _list(client: AsyncClient, wanted: RunFilter, *, json: bool) -> None:
    runs = await client.runs(wanted, steps=not json)
    if json:
        render.document({"schema": "flowforge/runs/v1", "runs": [run.document() for run in runs]})
        return
    if not runs:
        _teach(wanted)
        return
    render.out(*run_text.runs_table(runs, datetime.now(UTC), unicode=render.unicode()))
    if len(runs) == wanted.limit:
        render.hint(f"the newest {wanted.limit}; more with --limit, or filter with --status, --workflow, --since")


def _teach(wanted: RunFilter) -> None:
    from flowforge.model.documents import RunFilter

    if wanted == RunFilter(limit=wanted.limit):
        render.say("no runs yet", "  help: flowforge init, then flowforge run flows/hello.yaml --wait")
    else:
        render.say("no run matches", "  help: flowforge ps lists the newest")
