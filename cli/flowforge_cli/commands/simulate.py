"""`flowforge workflow simulate`: what a definition would do, without doing it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from flowforge_cli import completing, exit_codes, inputs, render, session, simulation_text
from flowforge_cli.exit_codes import ExitCode
from flowforge_cli.options import JsonOption

if TYPE_CHECKING:
    from flowforge.client import AsyncClient
    from flowforge.client.script import Failure, Script
    from flowforge.model.documents import Run
    from flowforge.model.simulation import Simulation

TargetArgument = Annotated[
    str,
    typer.Argument(
        metavar="FILE|NAME", autocompletion=completing.targets, help="A definition, a workflow or name@version."
    ),
]


def simulate(
    target: TargetArgument,
    pairs: Annotated[list[str] | None, typer.Option("-i", metavar="K=V", help="A value of the input.")] = None,
    input_: Annotated[str | None, typer.Option("--input", metavar="JSON", help="The input: JSON, @FILE or -.")] = None,
    changes: Annotated[
        list[str] | None, typer.Option("--set", metavar="input.X=V", help="Change a value of the input.")
    ] = None,
    stubs: Annotated[
        list[str] | None, typer.Option("--stub", metavar="STEP=JSON", help="What a step gives; JSON or @FILE.")
    ] = None,
    fails: Annotated[
        list[str] | None,
        typer.Option("--fail", metavar="STEP=N[:CODE]", help="Its first N attempts fail, or all: STEP=always."),
    ] = None,
    takes: Annotated[
        list[str] | None, typer.Option("--takes", metavar="STEP=TIME", help="How long each of its attempts takes.")
    ] = None,
    approve: Annotated[list[str] | None, typer.Option(metavar="STEP", help="Somebody approves it.")] = None,
    reject: Annotated[list[str] | None, typer.Option(metavar="STEP", help="Somebody rejects it.")] = None,
    signals: Annotated[
        list[str] | None, typer.Option("--signal", metavar="NAME[=JSON]", help="A signal comes when it is waited for.")
    ] = None,
    from_run: Annotated[
        str | None,
        typer.Option(
            metavar="RUN",
            autocompletion=completing.runs,
            help="Input, outputs and times of a run, where nothing else is said.",
        ),
    ] = None,
    at: Annotated[str | None, typer.Option(metavar="TIME", help="When the run starts; now unless said.")] = None,
    json: JsonOption = False,
) -> int:
    """Say what a definition would do, on a virtual clock: nothing is executed, sent or stored.

    The decisions are the engine's own. Steps that only compute are computed; what others give comes from --stub or from
    a run, else they are assumed to work. Delays, retries and timeouts take no time. Steps may be named by item, as
    lines[2], or lines[] for all of a foreach. A file needs no server.

    Exits as the run would: 0 completed, 5 failed, 6 cancelled, and 8 when it waits for ever.

    \b
    Examples:
      flowforge workflow simulate flows/order.yaml -i order=A17 -i amount=120
      flowforge workflow simulate flows/order.yaml --fail charge=2 --stub ship='{"parcel": 7}'
      flowforge workflow simulate flows/order.yaml --set input.amount=5000 --approve release --takes ship=2h
      flowforge workflow simulate order@3 --from-run @last-failed --fail ship=always:HTTP_503 --json
    """  # noqa: D301
    decisions = {**dict.fromkeys(approve or (), True), **dict.fromkeys(reject or (), False)}
    said = {
        "stubs": {step: _json(text) for step, text in _pairs(stubs, "--stub", "STEP=JSON")},
        "failures": {step: _failure(text) for step, text in _pairs(fails, "--fail", "STEP=N[:CODE]")},
        "takes": {step: _duration(text) for step, text in _pairs(takes, "--takes", "STEP=TIME")},
        "decisions": decisions,
        "signals": [_signal(text) for text in signals or ()],
    }
    begins = inputs.moment(at, datetime.now(UTC)) or datetime.now(UTC)
    given = inputs.run_input(pairs or (), input_)
    done = _simulated(target, given, _changes(changes), said, from_run, begins)
    if json:
        render.document(done.document())
    else:
        unicode = render.unicode()
        steps = simulation_text.steps(done, unicode=unicode, room=render.room())
        render.out(*simulation_text.outcome(done, unicode=unicode), "", *steps)
        render.out("", *simulation_text.events(done, UUID(int=0)))
    return exit_codes.of_status(done.status.value) if done.status.final else ExitCode.TIMEOUT


def _simulated(
    target: str, given: Any, changes: dict[str, Any], said: dict[str, Any], from_run: str | None, at: datetime
) -> Simulation:
    """Simulate a file here, or what an installation has."""
    from flowforge.client import replaying, simulating
    from flowforge.client.script import Script

    def value(run: Run | None) -> Any:
        before = run.input if given is None and run is not None else given
        return replaying.changed({} if before is None else before, changes)

    path = session.about_file(target)
    if path is not None and from_run is None:
        return simulating.simulate(path, value(None), Script(**said), at=at)

    async def work(client: AsyncClient) -> Simulation:
        run = None if from_run is None else await client.get(from_run)
        script: Script = Script(**said, run=run)
        if path is not None:
            return simulating.simulate(path, value(run), script, at=at)
        return simulating.play(await client.planned(target), value(run), script, at)

    return session.run(work)


def _pairs(given: list[str] | None, option: str, spelling: str) -> list[tuple[str, str]]:
    from flowforge.errors import UsageError

    found = []
    for one in given or ():
        name, sign, text = one.partition("=")
        if not sign or not name:
            raise UsageError(f"{option} takes {spelling}, not '{one}'", hint="flowforge workflow simulate --help")
        found.append((name, text))
    return found


def _changes(given: list[str] | None) -> dict[str, Any]:
    return {path: inputs.json_or_text(text) for path, text in _pairs(given, "--set", "input.X=V")}


def _json(text: str) -> Any:
    return inputs.json_input(text) if text.startswith("@") else inputs.json_or_text(text)


def _failure(text: str) -> Failure:
    from flowforge.client.script import Failure
    from flowforge.errors import UsageError

    times, _, code = text.partition(":")
    if times != "always" and not times.isdecimal():
        raise UsageError(
            f"--fail takes a number of attempts or 'always', not '{times}'", hint="--fail charge=2:HTTP_503"
        )
    return Failure(None if times == "always" else int(times), code or None)


def _duration(text: str) -> timedelta:
    return inputs.duration(text) or timedelta()


def _signal(text: str) -> tuple[str, Any]:
    name, sign, payload = text.partition("=")
    return name, _json(payload) if sign else None
