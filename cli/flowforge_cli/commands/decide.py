"""`flowforge approve`, `signal`, `skip`: what a step of a run waits for, given by a person."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from flowforge_cli import completing, inputs, render, session
from flowforge_cli.options import JsonOption, ReasonOption, RunArgument, sub_app
from flowforge_cli.text import Span, short_id

if TYPE_CHECKING:
    from flowforge.model.documents import Run

app = sub_app()

StepArgument = Annotated[
    str,
    typer.Argument(
        metavar="STEP", autocompletion=completing.steps, help="Id of the step; each[3] for an item of a foreach."
    ),
]


@app.command()
def approve(
    run: RunArgument,
    step: StepArgument,
    reject: Annotated[bool, typer.Option("--reject", help="Say no: the step fails.")] = False,
    comment: Annotated[str | None, typer.Option(metavar="TEXT", help="Why; kept with the decision.")] = None,
    json: JsonOption = False,
) -> None:
    """Approve what a step asks, or reject it with --reject.

    You are who FLOWFORGE_ACTOR says, else user@host. A step may ask certain people, or groups of the settings, and more
    than one; each decides once.

    \b
    Examples:
      flowforge show 1a2b3c4d                      what is asked, and of whom
      flowforge approve 1a2b3c4d release
      flowforge approve 1a2b3c4d release --reject --comment "wrong account"
    """  # noqa: D301
    found = session.run(lambda client: client.decide(run, step, approved=not reject, comment=comment))
    _tell(found, f"step {step} is {'rejected' if reject else 'approved'}", json=json)


@app.command()
def signal(
    run: RunArgument,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the signal.")],
    payload: Annotated[
        str | None, typer.Argument(metavar="[JSON]", help="What it brings: JSON, @FILE, or - for stdin.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Send a signal to a run. One that no step waits for yet is kept.

    \b
    Examples:
      flowforge signal 1a2b3c4d paid '{"amount": 120}'
      flowforge signal 1a2b3c4d delivered
    """  # noqa: D301
    value = None if payload is None else inputs.json_input(payload)
    found = session.run(lambda client: client.signal(run, name, value))
    _tell(found, f"signal {name} is sent", json=json)


@app.command()
def skip(run: RunArgument, step: StepArgument, reason: ReasonOption = None, json: JsonOption = False) -> None:
    """Let a run go on without a step: one that has not started, that waits, or whose failure ended the run.

    A compensation that keeps failing is skipped as STEP:compensate, once it was undone by hand.

    \b
    Examples:
      flowforge skip 1a2b3c4d notify --reason "the customer was called"
      flowforge skip 1a2b3c4d charge:compensate --reason "refunded by hand"
    """  # noqa: D301
    found = session.run(lambda client: client.skip(run, step, reason=reason))
    _tell(found, f"step {step} is skipped", json=json)


def _tell(run: Run, what: str, *, json: bool) -> None:
    if json:
        render.document(run.document())
        return
    short = short_id(run.id)
    render.say([Span(f"{what}; {short} {run.workflow}@{run.version} is {run.status.value}")])
    if not run.status.final:
        render.hint(f"  flowforge watch {short}")
