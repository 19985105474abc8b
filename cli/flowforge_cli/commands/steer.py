"""`flowforge cancel`, `retry`, `pause`, `resume`: what an operator asks of runs, and is kept in their histories."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from flowforge_cli import bulk, completing
from flowforge_cli.bulk import How
from flowforge_cli.criteria import Criteria
from flowforge_cli.options import ManyArgument, ReasonOption, sub_app, taking

if TYPE_CHECKING:
    from flowforge.client import AsyncClient
    from flowforge.model.documents import Run

app = sub_app()


@app.command()
@taking
def cancel(
    chosen: Criteria,
    how: How,
    runs: ManyArgument = None,
    reason: ReasonOption = None,
    force: Annotated[
        bool, typer.Option("--force", help="Do not wait for running steps to stop, nor for what is being undone.")
    ] = False,
) -> int:
    """Ask runs to stop: nothing new starts, running steps are told and then stopped.

    A workflow with `on_cancel: compensate` then undoes what was done. With --force the run is over at once: a step that
    does not stop is told so when its worker next asks, and what it does until then is not recorded.

    \b
    Examples:
      flowforge cancel 1a2b3c4d --reason "wrong customer"
      flowforge cancel 1a2b3c4d --force --reason "its host is gone"
      flowforge cancel --query 'flow:import since:1h' --dry-run
      flowforge cancel --workflow import --label batch=7 --rate 50/s --reason "wrong file"
      flowforge cancel --workflow import --plan stop.json && flowforge apply stop.json
    """  # noqa: D301

    async def act(client: AsyncClient, run: Run) -> Run:
        return await client.cancel(run.id, reason=reason, force=force)

    return bulk.ask("cancel", runs, chosen, how, act, reason=reason, force=force)


@app.command()
@taking
def retry(
    chosen: Criteria,
    how: How,
    runs: ManyArgument = None,
    from_step: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="STEP",
            autocompletion=completing.steps,
            help="Start over from this step, and all behind it.",
        ),
    ] = None,
    to_version: Annotated[
        int | None, typer.Option("--to-version", metavar="N", help="Go on with this version of the workflow.")
    ] = None,
    reason: ReasonOption = None,
) -> int:
    """Let failed or cancelled runs go on from what failed; completed steps keep their outputs.

    Steps that were undone are repeated. A run that could not undo everything goes on with that. With --to-version,
    steps are known by their ids, and what is new in that version is executed.

    \b
    Examples:
      flowforge retry @last-failed
      flowforge retry 1a2b3c4d --from charge --reason "payment provider is back"
      flowforge retry 1a2b3c4d --to-version 4 --reason "the fix is published"
      flowforge retry --error HTTP_503 --since 2h --rate 20/s --reason "payment provider is back"
    """  # noqa: D301

    async def act(client: AsyncClient, run: Run) -> Run:
        return await client.retry(run.id, from_step=from_step, to_version=to_version, reason=reason)

    return bulk.ask("retry", runs, chosen, how, act, from_step=from_step, to_version=to_version, reason=reason)


@app.command()
@taking
def pause(chosen: Criteria, how: How, runs: ManyArgument = None, reason: ReasonOption = None) -> int:
    """Hold running runs: what runs may finish, nothing new starts, and their timeouts stand still.

    \b
    Examples:
      flowforge pause 1a2b3c4d --reason "bank holiday"
      flowforge pause --workflow payouts --reason "bank holiday"
    """  # noqa: D301
    return _hold("pause", runs, chosen, how, reason)


@app.command()
@taking
def resume(chosen: Criteria, how: How, runs: ManyArgument = None, reason: ReasonOption = None) -> int:
    """Let paused runs go on.

    \b
    Examples:
      flowforge resume 1a2b3c4d
      flowforge resume --workflow payouts --rate 10/s
    """  # noqa: D301
    return _hold("resume", runs, chosen, how, reason)


def _hold(verb: str, runs: list[str] | None, chosen: Criteria, how: How, reason: str | None) -> int:
    async def act(client: AsyncClient, run: Run) -> Run:
        return await (client.pause if verb == "pause" else client.resume)(run.id, reason=reason)

    return bulk.ask(verb, runs, chosen, how, act, reason=reason)
