"""`flowforge demo`: the command around the play."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING

from flowforge_cli import render, run_text, session
from flowforge_cli.exit_codes import ExitCode
from flowforge_cli.options import JsonOption, sub_app
from flowforge_cli.text import LOOKS, Row, Span, state, table

if TYPE_CHECKING:
    from flowforge.client import AsyncClient
    from flowforge_cli.demo import Story

app = sub_app()


@app.command()
def demo(json: JsonOption = False) -> int:
    """Watch a workflow survive the death of its worker. Takes about ten seconds, needs nothing but this machine.

    An order of six steps calls a small service; the worker is killed with SIGKILL while it charges the card; its lease
    runs out, another worker takes the step over, nothing finished runs again.

    \b
    Examples:
      flowforge demo
      flowforge demo --json | jq .checks
    """  # noqa: D301
    began = time.monotonic()

    def say(text: str) -> None:
        render.say([Span(f"{time.monotonic() - began:5.1f}s  ", "dim"), Span(text)])

    async def work(client: AsyncClient) -> Story:
        from flowforge_cli import demo_service
        from flowforge_cli.demo import Play

        say("Postgres and Valkey are up")
        with demo_service.running() as (service, address):
            return await Play(client, service, address, began, say).perform()

    story = session.run(work)
    if json:
        render.document(story.document())
    else:
        _show(story)
    if not all(story.checks.values()):
        wrong = ", ".join(name for name, holds in story.checks.items() if not holds)
        render.error(f"this is not how it should have gone; not true: {wrong}", "report it, with the output of --json")
        return ExitCode.INTERNAL
    return ExitCode.OK


def _show(story: Story) -> None:
    """Show what happened: the steps with the service's count, the history, what holds, how long it took."""
    from flowforge_cli.demo import next_commands

    run, unicode = story.run, render.unicode()
    assert run is not None, "the play is not over"
    counts = {one["step"]: one for one in story.effects}
    rows: list[Row] = []
    for step in run.steps or ():
        one = counts.get(step.id)
        seen = "-" if one is None else f"{one['calls']} call{'s' if one['calls'] > 1 else ''}"
        keys = "" if one is None or one["calls"] == 1 else f", {one['keys']} idempotency key, {one['effects']} effect"
        crashes = f"{step.crashes} worker lost" if step.crashes else ""
        rows.append([step.id, state(step.status.value, unicode=unicode), str(step.attempts), f"{seen}{keys}", crashes])
    render.out("", run_text.headline(run, unicode=unicode), "")
    render.out(*table(("STEP", "STATE", "ATT", "THE SERVICE SAW", "NOTE"), rows, indent="  "), "")
    types = Counter(event.type for event in story.events)
    history = ", ".join(f"{kind} {count}" for kind, count in types.items())
    render.out([Span(f"history: {len(story.events)} events  ", "strong"), Span(history, "dim")])
    for name, holds in story.checks.items():
        look = LOOKS["completed" if holds else "failed"]
        render.out([Span(look.glyph if unicode else look.ascii, look.style), Span(f" {name}")])
    render.out("", f"{story.seconds:.1f} s in all, first run finished after {story.first_run:.1f} s. Next:")
    render.out(*(f"  {command}" for command in next_commands(run)))
    render.hint("the servers stay up; flowforge down stops them")
