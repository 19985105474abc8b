"""Arguments and options that several commands share, spelled once."""

from __future__ import annotations

from typing import Annotated

import typer

RunArgument = Annotated[
    str,
    typer.Argument(metavar="RUN", help="Id of a run, 4 or more of its first or last digits, @last or @last-failed."),
]
RunOrFileArgument = Annotated[
    str,
    typer.Argument(metavar="RUN", help="Id of a run, part of it, @last or @last-failed; or a capsule's file (.ffz)."),
]
RunsArgument = Annotated[
    list[str],
    typer.Argument(metavar="RUN...", help="Ids of runs, parts of them, @last, @last-failed; - reads ids from stdin."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print data as JSON on stdout.")]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
ReasonOption = Annotated[str | None, typer.Option(metavar="TEXT", help="Why; kept in the run's history.")]
TimeoutOption = Annotated[
    str | None, typer.Option(metavar="TIME", help="Stop waiting after this long (5m); the run goes on. Exit code 8.")
]


def sub_app(help_text: str | None = None) -> typer.Typer:
    """Return an application in the style of the whole."""
    return typer.Typer(
        help=help_text,
        rich_markup_mode=None,
        add_completion=False,
        no_args_is_help=True,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
