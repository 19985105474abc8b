"""Following a run on a screen: a table that is redrawn in a terminal, one line per event everywhere else."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from flowforge_cli import render, run_text
from flowforge_cli.text import Span, duration

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from flowforge.client import AsyncClient
    from flowforge.model.documents import Run, Step
    from flowforge.model.selecting import EventFilter

#: Seconds between two looks at the run.
INTERVAL = 0.2
#: Steps on the screen: those that matter most.
ROWS = 20

_RICH = {"ok": "green", "bad": "bold red", "warn": "yellow", "active": "cyan", "dim": "dim", "strong": "bold"}
_WEIGHT = {"failed": 0, "running": 1, "waiting": 2, "queued": 3, "completed": 4, "cancelled": 5, "skipped": 6}


async def lines(
    client: AsyncClient,
    run_id: UUID,
    *,
    json: bool = False,
    wanted: EventFilter | None = None,
    started: datetime | None = None,
) -> Run:
    """Print the events of a run as they come, those that are asked for; return it when it has ended.

    *started* is when the run was created, where the first event is not asked for.
    """
    shown = 0
    async for event in client.follow(run_id, 0 if wanted is None else wanted.after):
        started = started or event.at
        if wanted is not None and not wanted.matches(event):
            continue
        if wanted is not None and shown == wanted.limit:
            break
        shown += 1
        if json:
            render.json_line(event.document())
        else:
            render.out(run_text.event_line(event, started))
    return await client.get(run_id)


async def table(client: AsyncClient, run_id: UUID) -> Run:
    """Show a run as a table that keeps up with it; return it when it has ended."""
    from rich.live import Live

    console, unicode = render.console(), render.unicode()
    with Live(console=console, auto_refresh=False, transient=False, vertical_overflow="crop") as live:
        while True:
            run = await client.get(run_id)
            text = screen(run, unicode=unicode, room=console.width, height=console.height)
            live.update(text, refresh=True)
            if run.status.final:
                return run
            await asyncio.sleep(INTERVAL)


def screen(run: Run, *, unicode: bool, room: int, height: int) -> Any:
    """Return what is shown of a run: who it is, then its steps, those that matter most first."""
    from rich.text import Text

    most = ROWS
    while len(lines := _lines(run, most, unicode=unicode, room=room)) > height and most > 1:
        most -= 1
    text = Text(no_wrap=True, overflow="ellipsis")
    for no, line in enumerate(lines):
        for span in line:
            text.append(span.text, _RICH.get(span.style))
        text.append("" if no == len(lines) - 1 else "\n")
    return text


def _lines(run: Run, most: int, *, unicode: bool, room: int) -> list[list[Span]]:
    """Return the lines of a screen with so many steps at most, each as wide as there is room."""
    now = datetime.now(UTC)
    steps = run.steps or ()
    shown = _most_telling(steps, most)
    took = duration((run.finished_at or now) - run.created_at)
    head = [*run_text.headline(run, unicode=unicode), Span(f"  {run_text.steps_done(run)} steps  {took}")]
    rows = [head, *run_text.steps_table(shown, now, unicode=unicode)]
    if len(shown) < len(steps):
        rows.append([Span(f"  and {len(steps) - len(shown)} more steps", "dim")])
    if run.error:
        rows.append([Span(f"  {run_text.error_text(run.error)}", "bad")])
    return [line for row in rows for line in render.fit(row, room)]


def _most_telling(steps: Sequence[Step], most: int) -> list[Step]:
    if len(steps) <= most:
        return list(steps)
    ranked = sorted(range(len(steps)), key=lambda no: (_WEIGHT.get(steps[no].status.value, 7), -no))
    return [steps[no] for no in sorted(ranked[:most])]
