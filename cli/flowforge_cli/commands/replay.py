"""`flowforge replay`: a new run like another one, or what that would come to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from flowforge_cli import diff_text, inputs, render, session
from flowforge_cli.exit_codes import ExitCode
from flowforge_cli.options import JsonOption, RunOrFileArgument, sub_app
from flowforge_cli.text import Span, compact, one_line, short_id, table

if TYPE_CHECKING:
    from flowforge.client import AsyncClient
    from flowforge.model.documents import Rehearsal, Rehearsed
    from flowforge_cli.text import Row

app = sub_app()

#: Steps of a rehearsal that are shown.
MOST = 200


@app.command()
def replay(
    run: RunOrFileArgument,
    from_step: Annotated[
        str | None,
        typer.Option("--from", metavar="STEP", help="Execute this step and what follows; take the rest from the run."),
    ] = None,
    changes: Annotated[
        list[str] | None, typer.Option("--set", metavar="input.X=V", help="Change a value of the input.")
    ] = None,
    version: Annotated[int | None, typer.Option(metavar="N", help="Another version of the workflow.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Execute nothing: what was recorded stands in for every effect.")
    ] = False,
    json: JsonOption = False,
) -> int:
    """Start a new run like another one: with its input, or some of it changed.

    With --dry-run nothing is executed and nothing is stored: steps that only compute are computed, what others came to
    is taken from the run, and the difference is shown. Exit code 20 when there is one.

    \b
    Examples:
      flowforge replay 1a2b3c4d
      flowforge replay 1a2b3c4d --from charge --set input.amount=120
      flowforge replay @last-failed --version 4 --dry-run
      flowforge replay incident.ffz --set input.amount=120 --dry-run
    """  # noqa: D301
    how: dict[str, Any] = {"from_step": from_step, "changes": _changes(changes or ()), "version": version}
    return session.run(lambda client: _replay(client, run, how, dry_run=dry_run, json=json))


def _changes(pairs: list[str] | tuple[str, ...]) -> dict[str, Any]:
    from flowforge.errors import UsageError

    found: dict[str, Any] = {}
    for pair in pairs:
        path, equals, text = pair.partition("=")
        if not equals or not path:
            raise UsageError(f"--set takes PATH=VALUE, not '{pair}'", hint="--set input.amount=120")
        found[path] = inputs.json_or_text(text)
    return found


async def _replay(client: AsyncClient, run: str, how: dict[str, Any], *, dry_run: bool, json: bool) -> int:
    if dry_run:
        rehearsal = await client.rehearse(run, **how)
        if json:
            render.document(rehearsal.document())
        else:
            _show(rehearsal)
        return ExitCode.OK if rehearsal.same else ExitCode.FINDINGS
    started = await client.replay(run, **how)
    if json:
        render.document(started.document())
        return ExitCode.OK
    render.out(str(started.id))
    render.say([Span(f"{started.workflow}@{started.version} replays {short_id(started.replay_of or run)}")])
    render.hint(f"  flowforge watch {short_id(started.id)}")
    return ExitCode.OK


def _show(rehearsal: Rehearsal) -> None:
    from flowforge.model.changes import changes

    name = f"{rehearsal.workflow}@{rehearsal.version}"
    if rehearsal.same:
        render.out([Span(f"{name} would come to the same as run {short_id(rehearsal.run)}", "ok")])
        return
    render.out([Span(f"{name}: {rehearsal.status_before} -> {rehearsal.status_after}", "strong")])
    different = [step for step in rehearsal.steps if not step.same]
    rows: list[Row] = [
        [step.id, step.source, f"{step.before or '-'} -> {step.after or '-'}", _outputs(step)] for step in different
    ]
    render.out(*table(("STEP", "FROM", "STATE", "OUTPUT"), rows[:MOST], indent="  "))
    if len(rows) > MOST:
        render.out(f"  and {len(rows) - MOST} more; --json shows them all")
    if rehearsal.output_before != rehearsal.output_after:
        render.out("output", *diff_text.changed(changes(rehearsal.output_before, rehearsal.output_after)))
    if rehearsal.error is not None:
        render.out([Span(f"  error  {one_line(rehearsal.error.get('message', ''))}", "bad")])


def _outputs(step: Rehearsed) -> str:
    if step.output_before == step.output_after:
        return "same"
    return f"{compact(step.output_before, 60)} -> {compact(step.output_after, 60)}"
