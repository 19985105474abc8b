"""`flowforge explain`: why a run does not move or ended as it did, and what is stuck in an installation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from flowforge_cli import completing, explanation_text, render, session, sources
from flowforge_cli.options import JsonOption, sub_app

if TYPE_CHECKING:
    from flowforge.client import AsyncClient
    from flowforge.model.explanation import Explanation

app = sub_app()
app.info.no_args_is_help = False


@app.command(no_args_is_help=False)
def explain(
    run: Annotated[
        str | None,
        typer.Argument(
            metavar="RUN",
            autocompletion=completing.runs_and_files,
            help="Id of a run, part of it, @last or @last-failed; or a capsule's file (.ffz).",
        ),
    ] = None,
    step: Annotated[
        str | None, typer.Argument(metavar="STEP", autocompletion=completing.steps, help="Only about this step of it.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Say why a run does not move, or why it ended as it did; without a run, what is stuck in this installation.

    Each cause says who holds it, since when, when it is over by itself, and the command that would move it. What holds
    up the most comes first. Works while Redis is down. A file that `flowforge export` wrote, and a run that was
    imported, are explained as they stood when they were exported; a file needs no server.

    \b
    Examples:
      flowforge explain 1a2b3c4d
      flowforge explain 1a2b3c4d ship                    why this step has not started
      flowforge explain @last-failed --json | jq -r '.causes[0].text'
      flowforge explain incident.ffz                     another installation's run
      flowforge explain                                  all that is stuck, worst first
    """  # noqa: D301
    if run is not None and sources.is_file(run):
        from flowforge.client.explaining import of_capsule

        (capsule,) = sources.capsules([run])
        _show(of_capsule(capsule, step), run, json=json)
        return
    session.run(lambda client: _explain(client, run, step, json=json))


async def _explain(client: AsyncClient, run: str | None, step: str | None, *, json: bool) -> None:
    _show(await client.explain(run, step=step), run, json=json)


def _show(found: Explanation, reference: str | None, *, json: bool) -> None:
    if json:
        render.document(found.document())
        return
    if not found.causes:
        _nothing(found)
        return
    render.out(*explanation_text.explanation(found, unicode=render.unicode()))
    if found.foreign:
        render.hint(f"\nnext: flowforge show {reference} · flowforge replay {reference} --dry-run")


def _nothing(found: Explanation) -> None:
    if found.run is None:
        render.say("nothing is stuck", "  help: flowforge explain RUN says what a run is at; flowforge ps lists runs")
    else:
        render.say("nothing keeps it waiting", f"  help: flowforge watch {found.run}")
