"""`flowforge workflow pause` and `resume`: the kill switch of a workflow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from flowforge_cli import explanation_text, render, session
from flowforge_cli.options import JsonOption, ReasonOption
from flowforge_cli.text import moment

if TYPE_CHECKING:
    from flowforge.client import AsyncClient

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="A workflow, with all its versions.")]


def pause(name: NameArgument, reason: ReasonOption = None, json: JsonOption = False) -> None:
    """Let no new run of a workflow start until it is resumed.

    Starts are still accepted, with their idempotency keys, so that nobody who calls has to know: the runs wait as
    `pending`, and so do runs that are retried. Runs that have started go on, because stopping them half-way may do more
    harm than what is being avoided; hold those with `flowforge pause RUN`, or stop them with `flowforge cancel RUN`.
    Pausing a paused workflow changes nothing.

    \b
    Examples:
      flowforge workflow pause payouts --reason "wrong rates since 9:00"
      flowforge ps --workflow payouts --status pending
    """  # noqa: D301

    async def work(client: AsyncClient) -> None:
        held = await client.pause_workflow(name, reason=reason)
        if json:
            render.document(held.document())
        by = "" if held.pause is None else f" by {held.pause.paused_by} since {moment(held.pause.paused_at)}"
        render.say(explanation_text.pause(held, done="is paused, its new runs wait", was=f"was paused already{by}"))
        render.hint(f"next: flowforge workflow resume {name} · flowforge ps --workflow {name} --status running")

    session.run(work)


def resume(name: NameArgument, reason: ReasonOption = None, json: JsonOption = False) -> None:
    """Let the runs of a workflow start again, beginning with those that waited. One that is not paused stays as it is.

    \b
    Examples:
      flowforge workflow resume payouts --reason "rates are corrected"
    """  # noqa: D301

    async def work(client: AsyncClient) -> None:
        held = await client.resume_workflow(name, reason=reason)
        if json:
            render.document(held.document())
        render.say(explanation_text.pause(held, done="goes on", was="is not paused"))

    session.run(work)
