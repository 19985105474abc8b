"""`flowforge replay`: a new run like another one, or what that would come to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from flowforge_cli import bulk, completing, diff_text, inputs, render, session
from flowforge_cli.bulk import How
from flowforge_cli.criteria import Choice
from flowforge_cli.exit_codes import ExitCode
from flowforge_cli.options import ManyArgument, ReasonOption, sub_app, taking
from flowforge_cli.text import Span, compact, one_line, short_id, table

if TYPE_CHECKING:
    from flowforge.client import AsyncClient
    from flowforge.model.documents import Rehearsal, Rehearsed
    from flowforge_cli.text import Row

app = sub_app()

#: Steps of a rehearsal that are shown.
MOST = 200


@app.command()
@taking
def replay(
    chosen: Choice,
    how: How,
    runs: ManyArgument = None,
    from_step: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="STEP",
            autocompletion=completing.steps,
            help="Execute this step and what follows; take the rest from the run.",
        ),
    ] = None,
    changes: Annotated[
        list[str] | None, typer.Option("--set", metavar="input.X=V", help="Change a value of the input.")
    ] = None,
    version: Annotated[int | None, typer.Option(metavar="N", help="Another version of the workflow.")] = None,
    reason: ReasonOption = None,
) -> int:
    """Start a new run like another one: with its input, or some of it changed.

    With --dry-run nothing is executed and nothing is stored: of one run, steps that only compute are computed, what
    others came to is taken from the run, and the difference is shown, with exit code 20 when there is one; of several,
    it is said which would be replayed.

    \b
    Examples:
      flowforge replay 1a2b3c4d
      flowforge replay 1a2b3c4d --from charge --set input.amount=120
      flowforge replay 1a2b3c4d --reason "the price list was wrong"
      flowforge replay @last-failed --version 4 --dry-run
      flowforge replay incident.ffz --set input.amount=120 --dry-run
      flowforge replay --query 'flow:etl@3 state:failed since:1d' --version 4 --rate 5/s
    """  # noqa: D301
    changed = _changes(changes or ())
    given: dict[str, Any] = {"from_step": from_step, "changes": changed, "version": version}
    if runs is not None and len(runs) == 1 and runs != ["-"] and not chosen.given and how.plan is None:
        return session.run(lambda client: _replay(client, runs[0], given, how, reason))
    return bulk.ask("replay", runs, chosen, how, None, **given, reason=reason)


def _changes(pairs: list[str] | tuple[str, ...]) -> dict[str, Any]:
    from flowforge.errors import UsageError

    found: dict[str, Any] = {}
    for pair in pairs:
        path, equals, text = pair.partition("=")
        if not equals or not path:
            raise UsageError(f"--set takes PATH=VALUE, not '{pair}'", hint="--set input.amount=120")
        found[path] = inputs.json_or_text(text)
    return found


async def _replay(client: AsyncClient, run: str, wanted: dict[str, Any], how: How, reason: str | None) -> int:
    if how.dry_run:
        rehearsal = await client.rehearse(run, **wanted)
        if how.json:
            render.document(rehearsal.document())
        else:
            _show(rehearsal)
        return ExitCode.OK if rehearsal.same else ExitCode.FINDINGS
    started = await client.replay(run, **wanted, reason=reason)
    if how.json:
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
