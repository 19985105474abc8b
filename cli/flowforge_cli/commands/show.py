"""`flowforge show`, `logs`: one run, now or as it was, and what its steps wrote."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flowforge_cli import completing, inputs, live, outcome, past_text, render, run_text, session, sources
from flowforge_cli.exit_codes import ExitCode
from flowforge_cli.options import JsonOption, RunOrFileArgument, sub_app
from flowforge_cli.text import Span, short_id

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from flowforge.client import AsyncClient
    from flowforge.model.capsule import Capsule
    from flowforge.model.documents import Run

app = sub_app()


@app.command()
def show(
    run: RunOrFileArgument,
    at: Annotated[
        str | None,
        typer.Option("--at", metavar="SEQ|TIME", help="As it was after this event, or then: +3s, 12:04:11, 5m ago."),
    ] = None,
    ledger: Annotated[bool, typer.Option("--ledger", help="What the time of each step went into.")] = False,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with its events until it has ended.")] = False,
    json: JsonOption = False,
) -> int:
    """Show a run: where it stands, its steps, why it failed, where its time went.

    RUN may be a file that `flowforge export` wrote. With --follow, --json prints one document per line, and the
    exit code is the run's outcome.

    \b
    Examples:
      flowforge show 1a2b3c4d
      flowforge show @last-failed --ledger
      flowforge show @last --at 12              after event 12
      flowforge show @last --at +3.5s           so long after it was created
      flowforge show @last --json | jq .ledger.parts
    """  # noqa: D301
    from flowforge.errors import UsageError

    if follow and (at is not None or sources.is_file(run)):
        raise UsageError("--follow is for a run that goes on, not for its past")
    if follow:
        return session.run(lambda client: _follow(client, run, ledger=ledger, json=json))
    if sources.is_file(run):
        (capsule,) = sources.capsules([run])
        _show(_then(capsule, at), ledger=ledger, json=json, foreign=True, then=at is not None)
        return ExitCode.OK
    session.run(lambda client: _one(client, run, at, ledger=ledger, json=json))
    return ExitCode.OK


def _then(capsule: Capsule, at: str | None) -> Capsule:
    from flowforge.errors import UsageError
    from flowforge.model.past import as_it_was

    if at is None:
        return capsule
    created = capsule.run.created_at
    seq, moment = inputs.position(at, created, datetime.now(UTC))
    # Times are shown to the millisecond: what is shown as the creation is meant too.
    if moment is not None and moment < created.replace(microsecond=created.microsecond // 1000 * 1000):
        first = created.astimezone(UTC).isoformat(sep=" ", timespec="milliseconds").replace("+00:00", "Z")
        raise UsageError(f"there was no run yet at {at}: it was created at {first}", hint="its beginning: --at +0s")
    return as_it_was(capsule, seq=seq, moment=moment)


async def _one(client: AsyncClient, reference: str, at: str | None, *, ledger: bool, json: bool) -> None:
    foreign = await client.foreign(reference)
    capsule = foreign or await client.capsule(reference)
    _show(_then(capsule, at), ledger=ledger, json=json, foreign=foreign is not None, then=at is not None)


async def _follow(client: AsyncClient, reference: str, *, ledger: bool, json: bool) -> int:
    capsule = await client.capsule(await client.resolve(reference))
    if json:
        render.json_line(_document(capsule, ledger=ledger))
    else:
        _show(capsule, ledger=ledger, json=False)
    if not capsule.run.status.final:
        from flowforge.model.selecting import EventFilter

        rest = EventFilter(after=capsule.run.seq)
        watching = live.lines(client, capsule.run.id, json=json, wanted=rest, started=capsule.run.created_at)
        if await outcome.until([capsule.run.id], lambda: watching, timeout=None) is None:
            return ExitCode.TIMEOUT
        capsule = await client.capsule(capsule.run.id)
        if json:
            render.json_line(_document(capsule, ledger=ledger))
        elif ledger:
            render.out("", *past_text.ledger_table(capsule.phases()))
    return outcome.ended(capsule.run)


def _show(capsule: Capsule, *, ledger: bool, json: bool, foreign: bool = False, then: bool = False) -> None:
    if json:
        render.document(_document(capsule, ledger=ledger, dated=foreign or then))
        return
    run, now, unicode, phases = capsule.run, capsule.exported_at, render.unicode(), capsule.phases()
    render.out(run_text.headline(run, unicode=unicode), *past_text.standing(capsule, foreign=foreign, then=then))
    render.out(*run_text.details(run, now), *past_text.ledger_lines(phases), "")
    if ledger:
        render.out(*past_text.ledger_table(phases))
    else:
        steps = run.steps or ()
        render.out(*run_text.steps_table(steps[: run_text.MOST_STEPS], now, unicode=unicode))
        if len(steps) > run_text.MOST_STEPS:
            render.out(f"  and {len(steps) - run_text.MOST_STEPS} more steps; --json shows them all")
    if run.compensation.status != "none":
        render.out("", *run_text.compensation(run.compensation, now, unicode=unicode))
    if capsule.redacted:
        render.hint(f"\n{len(capsule.redacted)} values were taken out when it was exported")
    if not (foreign or then):
        render.hint(f"\nnext: {next_commands(run)}")


def _document(capsule: Capsule, *, ledger: bool, dated: bool = False) -> dict[str, Any]:
    document = {**capsule.run.document(), "ledger": capsule.phases().document(steps=ledger)}
    if dated:
        from flowforge.model.documents import rfc3339

        document["at"] = {"seq": len(capsule.events), "time": rfc3339(capsule.exported_at)}
    return document


def next_commands(run: Run) -> str:
    """Return what one does with a run in its state."""
    from flowforge.model.explanation import command

    short = short_id(run.id)
    why = f"flowforge explain {short}"
    if run.status.value == "paused":
        return f"flowforge resume {short} · {why} · flowforge cancel {short}"
    for step in run.steps or ():
        wanted = step.waits_for or {}
        if "approval" in wanted:
            return f"flowforge approve {short} {step.id} · flowforge approve {short} {step.id} --reject · {why}"
        if "signal" in wanted:
            return f"{command('signal', short, str(wanted['signal']))} · {why}"
    if not run.status.final:
        return f"flowforge watch {short} · {why} · flowforge cancel {short}"
    if run.status.value in ("failed", "cancelled"):
        return f"{why} · flowforge retry {short} · flowforge logs {short}"
    return f"flowforge events {short} · flowforge logs {short}"


@app.command()
def logs(
    run: RunOrFileArgument,
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
      flowforge logs incident.ffz
    """  # noqa: D301
    if sources.is_file(run):
        (capsule,) = sources.capsules([run])
        _kept(capsule, step, json=json)
        return
    session.run(lambda client: _logs(client, run, step, json=json))


async def _logs(client: AsyncClient, reference: str, step: str | None, *, json: bool) -> None:
    foreign = await client.foreign(reference)
    if foreign is not None:
        _kept(foreign, step, json=json)
        return
    run_id = await client.resolve(reference)
    printed = _Logs(run_id, json=json)
    async for part in client.log_parts(run_id, step):
        printed.add(part)
    printed.end()


def _kept(capsule: Capsule, step: str | None, *, json: bool) -> None:
    printed = _Logs(capsule.run.id, json=json)
    printed.add([(log.step, log.attempt, log.text) for log in capsule.logs if step in (None, log.step)])
    printed.end()


class _Logs:
    """What attempts wrote, printed as it comes."""

    def __init__(self, run_id: UUID, *, json: bool) -> None:
        self._empty = True
        head = {"schema": "flowforge/logs/v1", "run": str(run_id)}
        self._document = render.ListDocument(head, "logs") if json else None

    def add(self, found: Sequence[tuple[str, int, str]]) -> None:
        """Print some more: of each step, attempt and text."""
        self._empty = self._empty and not found
        if self._document is not None:
            self._document.add({"step": name, "attempt": attempt, "text": text} for name, attempt, text in found)
            return
        for name, attempt, text in found:
            render.say([Span(f"-- {name} attempt {attempt}", "dim")])
            render.raw(text)

    def end(self) -> None:
        """Print what stands behind the last one."""
        if self._document is not None:
            self._document.end({})
        elif self._empty:
            render.say("nothing was written", "  help: python steps are captured: print() and logging")
