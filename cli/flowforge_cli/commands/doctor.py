"""`flowforge doctor`: is this installation well, and what may be done about it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from flowforge_cli import doctor_text, render, session
from flowforge_cli.exit_codes import ExitCode
from flowforge_cli.options import JsonOption, YesOption, sub_app

if TYPE_CHECKING:
    from flowforge.model.health import Diagnosis

app = sub_app()


@app.command()
def doctor(
    fix: Annotated[bool, typer.Option("--fix", help="Repair what can be repaired, then examine again.")] = False,
    runs: Annotated[
        int, typer.Option("--runs", "-n", min=0, metavar="N", help="Read the history of the newest N ended runs.")
    ] = 10_000,
    all_: Annotated[bool, typer.Option("--all", help="Read the history of every run.")] = False,
    yes: YesOption = False,
    json: JsonOption = False,
) -> int:
    """Examine servers, settings, workers, queues, and the twelve invariants across Postgres and Redis.

    Works with workers and servers down, and starts none. Every finding says what it means, which runs it is about and
    what cures it. --fix repairs in a transaction each: rows from the history, overdue timers and lost dispatches by the
    engine's own decisions, what nobody needs any more by deleting it; then everything is examined again.

    Exits 0 when all is well, 20 with findings, 4 when Postgres cannot be used.

    \b
    Examples:
      flowforge doctor
      flowforge doctor --all --json | jq '.findings[] | {kind, count, runs}'
      flowforge doctor --fix
    """  # noqa: D301
    from flowforge.client import doctoring

    who = doctoring.patient(session.settings())

    def progress(done: int, of: int) -> None:
        render.progress(f"reading the history of {done:,} of {of:,} runs")

    def examine(*, repair: bool) -> Diagnosis:
        try:
            return asyncio.run(doctoring.examine(who, fix=repair, ended=None if all_ else runs, progress=progress))
        finally:
            render.progress_done()

    if fix and not yes and render.interactive():
        fix = _wanted(examine(repair=False))
    return _tell(examine(repair=fix), json=json)


def _wanted(found: Diagnosis) -> bool:
    """Show what would be repaired, and ask."""
    curable = [one for one in found.findings if one.about.fixable]
    if not curable:
        return False
    render.say(*(f"{one.about.title}: {one.about.repair}" for one in curable))
    return session.may("repair these?", yes=False)


def _tell(found: Diagnosis, *, json: bool) -> int:
    if json:
        render.document(found.document())
    else:
        render.out(*doctor_text.lines(found, unicode=render.unicode()))
        if any(one.about.fixable for one in found.findings) and not found.repaired:
            render.hint("  help: flowforge doctor --fix repairs what can be repaired")
    if any(one.kind == "server.postgres" for one in found.findings):
        return ExitCode.UNREACHABLE
    return ExitCode.OK if found.healthy else ExitCode.FINDINGS
