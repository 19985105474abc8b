"""`flowforge diff`: in what two runs differ, and where that begins."""

from __future__ import annotations

from typing import Annotated

import typer

from flowforge_cli import completing, diff_text, render, sources
from flowforge_cli.exit_codes import ExitCode
from flowforge_cli.options import JsonOption, sub_app

app = sub_app()

RunArgument = Annotated[
    str,
    typer.Argument(
        metavar="RUN",
        autocompletion=completing.runs_and_files,
        help="Id of a run, part of it, @last, @last-failed; or a capsule's file.",
    ),
]
OtherArgument = Annotated[
    str, typer.Argument(metavar="RUN", autocompletion=completing.runs_and_files, help="The other one.")
]


@app.command()
def diff(before: RunArgument, after: OtherArgument, json: JsonOption = False) -> int:
    """Compare two runs: the first divergence, inputs, branches, outputs, attempts, errors, definition, timing.

    Exit code 20 when they differ in substance; how long they took is shown, and is no difference.

    \b
    Examples:
      flowforge diff 1a2b3c4d 5e6f7a8b
      flowforge diff @last-failed @last
      flowforge diff incident.ffz @last --json | jq .first
    """  # noqa: D301
    from flowforge.model.comparing import compare

    one, two = sources.capsules([before, after])
    found = compare(one, two)
    if json:
        render.document(found.document())
    else:
        render.out(*diff_text.lines(found, unicode=render.unicode()))
    return ExitCode.OK if found.same else ExitCode.FINDINGS
