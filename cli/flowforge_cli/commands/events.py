"""`flowforge events`: the history of a run, or some of it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from flowforge_cli import completing, inputs, live, outcome, render, run_text, session, sources
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
        list[str] | None,
        typer.Option(
            "--step",
            "-s",
            metavar="STEP",
            autocompletion=completing.steps,
            help="Only of this step and those inside it.",
        ),
    ] = None,
    type: Annotated[  # noqa: A002 - the word of the option
        list[str] | None,
        typer.Option(
            "--type",
            "-t",
            metavar="TYPE",
            autocompletion=completing.event_types,
            help="Only this type: step.failed, step.* ...",
        ),
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
        printed = _Printed(capsule.run.id, wanted, capsule.events[0].at, json=json)
        printed.add(capsule.events)
        printed.end()
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
    first = (await anext(client.history_parts(reference)))[0]
    run_id, created = first.run, first.at
    wanted = _timed(wanted, *times, created)
    if not follow:
        printed = _Printed(run_id, wanted, created, json=json)
        async for part in client.history_parts(reference):
            printed.add(part)
            if printed.full:
                break
        printed.end()
        return
    watching = live.lines(client, await client.resolve(run_id), json=json, wanted=wanted, started=created)
    await outcome.until([run_id], lambda: watching, timeout=None)


class _Printed:
    """Those events of a history that are asked for, printed as they come."""

    def __init__(self, run_id: UUID, wanted: EventFilter, created: datetime, *, json: bool) -> None:
        self._wanted, self._created, self._count = wanted, created, 0
        head = {"schema": "flowforge/events/v1", "run": str(run_id)}
        self._document = render.ListDocument(head, "events") if json else None

    @property
    def full(self) -> bool:
        """Whether there are as many as are asked for."""
        return self._wanted.limit is not None and self._count >= self._wanted.limit

    def add(self, events: Sequence[RunEvent]) -> None:
        """Print those that are asked for."""
        found = [event for event in events if self._wanted.matches(event)]
        if self._wanted.limit is not None:
            found = found[: self._wanted.limit - self._count]
        self._count += len(found)
        if self._document is not None:
            self._document.add(event.document() for event in found)
        else:
            render.lines(run_text.event_line(event, self._created) for event in found)

    def end(self) -> None:
        """Print what stands behind the last one."""
        if self._document is not None:
            self._document.end({})
        elif not self._count:
            render.say("no event is like that", "  help: flowforge events RUN shows all of them")
