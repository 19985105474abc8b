"""`flowforge show`, `events`, `logs`: one run, its history, and what its steps wrote."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from flowforge_cli import completing, live, outcome, render, run_text, session
from flowforge_cli.options import JsonOption, RunArgument, sub_app
from flowforge_cli.text import Span, short_id

if TYPE_CHECKING:
    from flowforge.client import AsyncClient
    from flowforge.model.documents import Run

app = sub_app()


@app.command()
def show(run: RunArgument, json: JsonOption = False) -> None:
    """Show a run: where it stands, its steps, why it failed.

    \b
    Examples:
      flowforge show 1a2b3c4d
      flowforge show @last-failed
      flowforge show @last --json | jq .output
    """  # noqa: D301
    session.run(lambda client: _show(client, run, json=json))


async def _show(client: AsyncClient, reference: str, *, json: bool) -> None:
    run = await client.get(reference)
    if json:
        render.document(run.document())
        return
    now, unicode = datetime.now(UTC), render.unicode()
    render.out(run_text.headline(run, unicode=unicode), *run_text.details(run, now), "")
    steps = run.steps or ()
    render.out(*run_text.steps_table(steps[: run_text.MOST_STEPS], now, unicode=unicode))
    if len(steps) > run_text.MOST_STEPS:
        render.out(f"  and {len(steps) - run_text.MOST_STEPS} more steps; --json shows them all")
    if run.compensation.status != "none":
        render.out("", *run_text.compensation(run.compensation, now, unicode=unicode))
    render.hint(f"\nnext: {next_commands(run)}")


def next_commands(run: Run) -> str:
    """Return what one does with a run in its state."""
    short = short_id(run.id)
    if run.status.value == "paused":
        return f"flowforge resume {short} · flowforge cancel {short}"
    for step in run.steps or ():
        wanted = step.waits_for or {}
        if "approval" in wanted:
            return f"flowforge approve {short} {step.id} · flowforge approve {short} {step.id} --reject"
        if "signal" in wanted:
            return f"flowforge signal {short} {wanted['signal']} · flowforge events {short}"
    if not run.status.final:
        return f"flowforge watch {short} · flowforge events {short} · flowforge cancel {short}"
    if run.status.value in ("failed", "cancelled"):
        return f"flowforge retry {short} · flowforge events {short} · flowforge logs {short}"
    return f"flowforge events {short} · flowforge logs {short}"


@app.command()
def events(
    run: RunArgument,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the run has ended.")] = False,
    json: JsonOption = False,
) -> None:
    """Print the history of a run, oldest event first.

    With --follow, --json prints one document per line.

    \b
    Examples:
      flowforge events @last
      flowforge events 1a2b3c4d --follow
      flowforge events @last-failed --json | jq '.events[].type'
    """  # noqa: D301
    session.run(lambda client: _events(client, run, follow=follow, json=json))


async def _events(client: AsyncClient, reference: str, *, follow: bool, json: bool) -> None:
    run_id = await client.resolve(reference)
    if not follow:
        found = await client.events(run_id)
        if json:
            document = {"schema": "flowforge/events/v1", "run": str(run_id)}
            render.document({**document, "events": [event.document() for event in found]})
            return
        render.out(*(run_text.event_line(event, found[0].at) for event in found))
        return
    await outcome.until([run_id], lambda: live.lines(client, run_id, json=json), timeout=None)


@app.command()
def logs(
    run: RunArgument,
    step: Annotated[
        str | None, typer.Argument(metavar="[STEP]", autocompletion=completing.steps, help="Only of this step.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Print what the steps of a run wrote: stdout, stderr and log messages of each attempt.

    \b
    Examples:
      flowforge logs @last
      flowforge logs 1a2b3c4d charge
    """  # noqa: D301
    session.run(lambda client: _logs(client, run, step, json=json))


async def _logs(client: AsyncClient, reference: str, step: str | None, *, json: bool) -> None:
    run_id = await client.resolve(reference)
    found = await client.logs(run_id, step)
    if json:
        rows = [{"step": name, "attempt": attempt, "text": text} for name, attempt, text in found]
        render.document({"schema": "flowforge/logs/v1", "run": str(run_id), "logs": rows})
        return
    if not found:
        render.say("nothing was written", "  help: python steps are captured: print() and logging")
    for name, attempt, text in found:
        render.say([Span(f"-- {name} attempt {attempt}", "dim")])
        render.raw(text)
