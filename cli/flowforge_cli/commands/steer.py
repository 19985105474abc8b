"""`flowforge cancel`, `retry`, `pause`, `resume`: what an operator asks of runs, and is kept in their histories."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from flowforge_cli import exit_codes, inputs, render, session
from flowforge_cli.exit_codes import ExitCode
from flowforge_cli.options import JsonOption, ReasonOption, RunsArgument, YesOption, sub_app
from flowforge_cli.text import Span, short_id

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from flowforge.client import AsyncClient
    from flowforge.model.documents import Run

app = sub_app()

DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")]


@app.command()
def cancel(
    runs: RunsArgument,
    reason: ReasonOption = None,
    force: Annotated[
        bool, typer.Option("--force", help="Do not wait for running steps to stop, nor for what is being undone.")
    ] = False,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    json: JsonOption = False,
) -> int:
    """Ask runs to stop: nothing new starts, running steps are told and then stopped.

    A workflow with `on_cancel: compensate` then undoes what was done. With --force the run is over at once: a step that
    does not stop is told so when its worker next asks, and what it does until then is not recorded.

    \b
    Examples:
      flowforge cancel 1a2b3c4d --reason "wrong customer"
      flowforge cancel 1a2b3c4d --force --reason "its host is gone"
      flowforge ps --workflow import --status active --json | jq -r '.runs[].id' | flowforge cancel - --yes
    """  # noqa: D301

    async def act(client: AsyncClient, run: Run) -> Run:
        return await client.cancel(run.id, reason=reason, force=force)

    references = inputs.references(runs)
    return session.run(lambda client: _each(client, references, "cancel", act, dry_run=dry_run, yes=yes, json=json))


@app.command()
def retry(
    runs: RunsArgument,
    from_step: Annotated[
        str | None, typer.Option("--from", metavar="STEP", help="Start over from this step, and all behind it.")
    ] = None,
    to_version: Annotated[
        int | None, typer.Option("--to-version", metavar="N", help="Go on with this version of the workflow.")
    ] = None,
    reason: ReasonOption = None,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    json: JsonOption = False,
) -> int:
    """Let failed or cancelled runs go on from what failed; completed steps keep their outputs.

    Steps that were undone are repeated. A run that could not undo everything goes on with that. With --to-version,
    steps are known by their ids, and what is new in that version is executed.

    \b
    Examples:
      flowforge retry @last-failed
      flowforge retry 1a2b3c4d --from charge --reason "payment provider is back"
      flowforge retry 1a2b3c4d --to-version 4 --reason "the fix is published"
    """  # noqa: D301

    async def act(client: AsyncClient, run: Run) -> Run:
        return await client.retry(run.id, from_step=from_step, to_version=to_version, reason=reason)

    references = inputs.references(runs)
    return session.run(lambda client: _each(client, references, "retry", act, dry_run=dry_run, yes=yes, json=json))


@app.command()
def pause(
    runs: RunsArgument,
    reason: ReasonOption = None,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    json: JsonOption = False,
) -> int:
    """Hold running runs: what runs may finish, nothing new starts, and their timeouts stand still.

    \b
    Examples:
      flowforge pause 1a2b3c4d --reason "bank holiday"
      flowforge ps --workflow payouts --status running --json | jq -r '.runs[].id' | flowforge pause - --yes
    """  # noqa: D301

    async def act(client: AsyncClient, run: Run) -> Run:
        return await client.pause(run.id, reason=reason)

    references = inputs.references(runs)
    return session.run(lambda client: _each(client, references, "pause", act, dry_run=dry_run, yes=yes, json=json))


@app.command()
def resume(
    runs: RunsArgument,
    reason: ReasonOption = None,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    json: JsonOption = False,
) -> int:
    """Let paused runs go on.

    \b
    Examples:
      flowforge resume 1a2b3c4d
      flowforge ps --status paused --json | jq -r '.runs[].id' | flowforge resume - --yes
    """  # noqa: D301

    async def act(client: AsyncClient, run: Run) -> Run:
        return await client.resume(run.id, reason=reason)

    references = inputs.references(runs)
    return session.run(lambda client: _each(client, references, "resume", act, dry_run=dry_run, yes=yes, json=json))


async def _each(
    client: AsyncClient,
    references: list[str],
    verb: str,
    act: Callable[[AsyncClient, Run], Awaitable[Run]],
    *,
    dry_run: bool,
    yes: bool,
    json: bool,
) -> int:
    """Do it to every run; one that refuses does not keep the others from theirs."""
    from flowforge.errors import FlowforgeError

    found = [await client.get(reference) for reference in references]
    if dry_run:
        return _preview(found, verb, json=json)
    if len(found) > 1 and (render.interactive() or session.options.no_input):
        names = ", ".join(short_id(run.id) for run in found[:10]) + (" ..." if len(found) > 10 else "")  # noqa: PLR2004
        if not session.may(f"{verb} {len(found)} runs ({names})?", yes=yes):
            render.say("nothing was changed")
            return ExitCode.OK
    changed: list[Run] = []
    codes: list[ExitCode] = []
    for run in found:
        try:
            changed.append(await act(client, run))
        except FlowforgeError as error:
            render.error(error.message, error.hint)
            codes.append(exit_codes.of_error(error))
    _tell(changed, verb, json=json, several=len(found) > 1)
    return exit_codes.worst(codes)


def _preview(found: list[Run], verb: str, *, json: bool) -> int:
    possible = {
        "cancel": lambda run: not run.status.final,
        "retry": lambda run: run.status.value in ("failed", "cancelled"),
        "pause": lambda run: run.status.value in ("running", "paused"),
        "resume": lambda run: run.status.value in ("running", "paused"),
    }
    if json:
        runs = [{**run.document(), "would_change": possible[verb](run)} for run in found]
        render.document({"schema": "flowforge/runs/v1", "dry_run": True, "runs": runs})
        return ExitCode.OK
    for run in found:
        would = f"would {verb}" if possible[verb](run) else f"cannot {verb}"
        render.out(f"{would} {short_id(run.id)} {run.workflow}@{run.version}, which is {run.status.value}")
    return ExitCode.OK


def _tell(changed: list[Run], verb: str, *, json: bool, several: bool) -> None:
    documents: list[dict[str, Any]] = [run.document() for run in changed]
    if json and several:
        render.document({"schema": "flowforge/runs/v1", "runs": documents})
    elif json and documents:
        render.document(documents[0])
    if json:
        return
    for run in changed:
        short = short_id(run.id)
        render.say([Span(f"{short} {run.workflow}@{run.version} is {run.status.value}")])
        if not run.status.final:
            render.hint(f"  flowforge watch {short}")
    if several:
        render.say(f"{verb}: {len(changed)} of the runs")
