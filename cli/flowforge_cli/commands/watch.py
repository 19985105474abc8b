"""`flowforge watch` and `wait`: from outside, until runs have ended."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from flowforge_cli import exit_codes, inputs, live, outcome, render, session
from flowforge_cli.exit_codes import ExitCode
from flowforge_cli.options import JsonOption, RunArgument, RunsArgument, TimeoutOption, sub_app
from flowforge_cli.text import short_id

if TYPE_CHECKING:
    from uuid import UUID

    from flowforge.client import AsyncClient
    from flowforge.model.documents import Run
    from flowforge.model.status import RunStatus

app = sub_app()


@app.command()
def watch(
    run: RunArgument,
    plain: Annotated[bool, typer.Option("--plain", help="One line per event, in a terminal too.")] = False,
    timeout: TimeoutOption = None,
    json: JsonOption = False,
) -> int:
    """Watch a run until it ends; exit with its outcome. Ctrl-C stops watching, not the run.

    In a terminal a table that keeps up with the run, in a pipe one line per event.

    \b
    Examples:
      flowforge watch @last
      flowforge watch 1a2b3c4d --plain
    """  # noqa: D301
    seconds = inputs.seconds(timeout)
    return session.run(lambda client: _watch(client, run, seconds, plain=plain, json=json))


async def _watch(client: AsyncClient, reference: str, timeout: float | None, *, plain: bool, json: bool) -> int:
    run_id = await client.resolve(reference)

    async def follow() -> Run:
        if json or plain or not render.is_terminal():
            return await live.lines(client, run_id, json=json)
        return await live.table(client, run_id)

    run = await outcome.until([run_id], follow, timeout)
    if run is None:
        return ExitCode.TIMEOUT
    if json:
        render.json_line(run.document())
        return exit_codes.of_status(run.status.value)
    return outcome.ended(run)


@app.command()
def wait(
    runs: RunsArgument,
    until: Annotated[
        str | None,
        typer.Option("--for", metavar="STATUS", help="Wait for this status instead of any end; exit 0 when reached."),
    ] = None,
    timeout: TimeoutOption = None,
    json: JsonOption = False,
) -> int:
    """Wait until runs have ended; exit with their outcome: 0, 5 when one failed, 6 when one was cancelled.

    \b
    Examples:
      flowforge wait 1a2b3c4d && echo done
      flowforge wait @last --for running --timeout 10s
      flowforge run flows/hello.yaml | flowforge wait -
    """  # noqa: D301
    (wanted,) = inputs.statuses([until]) or (None,) if until is not None else (None,)
    references, seconds = inputs.references(runs), inputs.seconds(timeout)
    return session.run(lambda client: _wait(client, references, wanted, seconds, json=json))


async def _wait(
    client: AsyncClient, references: list[str], wanted: RunStatus | None, timeout: float | None, *, json: bool
) -> int:
    run_ids = [await client.resolve(reference) for reference in references]

    async def all_of_them() -> list[Run]:
        return list(await asyncio.gather(*(_reached(client, run_id, wanted) for run_id in run_ids)))

    found = await outcome.until(run_ids, all_of_them, timeout)
    runs = found if found is not None else [await client.get(run_id) for run_id in run_ids]
    if json and len(references) == 1:
        render.document(runs[0].document())
    elif json:
        render.document({"schema": "flowforge/runs/v1", "runs": [run.document() for run in runs]})
    if found is None:
        return ExitCode.TIMEOUT
    return exit_codes.worst([_code(run, wanted, json=json) for run in runs])


async def _reached(client: AsyncClient, run_id: UUID, wanted: RunStatus | None) -> Run:
    """Return a run when it has ended, or has the wanted status."""
    if wanted is None or wanted.final:
        return await client.wait(run_id)
    async for _ in client.follow(run_id):
        run = await client.get(run_id)
        if run.status is wanted:
            return run
    return await client.get(run_id)


def _code(run: Run, wanted: RunStatus | None, *, json: bool) -> ExitCode:
    if wanted is None:
        return exit_codes.of_status(run.status.value) if json else outcome.ended(run)
    if run.status is wanted:
        return ExitCode.OK
    render.say(f"run {short_id(run.id)} is {run.status.value}, not {wanted.value}")
    return exit_codes.of_status(run.status.value) or ExitCode.CONFLICT
