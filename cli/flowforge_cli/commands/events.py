"""`flowforge events`: the history of a run, or some of it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from flowforge_cli import inputs, live, outcome, render, run_text, session, sources
from flowforge_cli.options import JsonOption, RunOrFileArgument, sub_app

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from flowforge.client import AsyncClient
    from flowforge.model.documents import RunEvent
    from flowforge.model.selecting import EventFilter

app = sub_app()


@app.command()
def events(
    run: RunOrFileArgument,
    step: Annotated[
        list[str] | None, typer.Option("--step", "-s", metavar="STEP", help="Only of this step and those inside it.")
    ] = None,
    type: Annotated[  # noqa: A002 - the word of the option
        list[str] | None,
        typer.Option("--type", "-t", metavar="TYPE", help="Only this type: step.failed, step.* ..."),
    ] = None,
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="Only since: 5m ago, +3s after the creation, 12:04:11, a date.")
    ] = None,
    until: Annotated[str | None, typer.Option(metavar="TIME", help="Only before.")] = None,
    after: Annotated[int, typer.Option(metavar="SEQ", min=0, help="Only events with a greater number.")] = 0,
    limit: Annotated[int | None, typer.Option("--limit", "-n", min=1, help="The first so many.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the run has ended.")] = False,
    json: JsonOption = False,
) -> None:
    """Print the history of a run, oldest event first; of what is asked for only.

    With --follow, --json prints one document per line.

    \b
    Examples:
      flowforge events @last
      flowforge events 1a2b3c4d --follow
      flowforge events @last-failed --step charge --type 'step.*'
      flowforge events incident.ffz --since +30s --until +60s
      flowforge events @last-failed --json | jq '.events[].type'
    """  # noqa: D301
    from flowforge.model.selecting import EventFilter

    wanted = EventFilter(tuple(step or ()), tuple(type or ()), after=after, limit=limit)
    if sources.is_file(run):
        (capsule,) = sources.capsules([run])
        wanted = _timed(wanted, since, until, capsule.events[0].at)
        _print(capsule.run.id, wanted.chosen(capsule.events), capsule.events[0].at, json=json)
        return
    session.run(lambda client: _events(client, run, wanted, (since, until), follow=follow, json=json))


def _timed(wanted: EventFilter, since: str | None, until: str | None, created: datetime) -> EventFilter:
    from dataclasses import replace

    now = datetime.now(UTC)
    first, last = (None if text is None else inputs.when(text, created, now) for text in (since, until))
    return replace(wanted, since=first, until=last)


async def _events(
    client: AsyncClient,
    reference: str,
    wanted: EventFilter,
    times: tuple[str | None, str | None],
    *,
    follow: bool,
    json: bool,
) -> None:
    found = await client.history(reference)
    run_id, created = found[0].run, found[0].at
    wanted = _timed(wanted, *times, created)
    if not follow:
        _print(run_id, wanted.chosen(found), created, json=json)
        return
    watching = live.lines(client, await client.resolve(run_id), json=json, wanted=wanted, started=created)
    await outcome.until([run_id], lambda: watching, timeout=None)


def _print(run_id: UUID, found: Sequence[RunEvent], created: datetime, *, json: bool) -> None:
    if json:
        document = {"schema": "flowforge/events/v1", "run": str(run_id)}
        render.document({**document, "events": [event.document() for event in found]})
        return
    if not found:
        render.say("no event is like that", "  help: flowforge events RUN shows all of them")
    render.out(*(run_text.event_line(event, created) for event in found))
