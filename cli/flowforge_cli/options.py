"""Arguments and options that several commands share, spelled once."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import is_dataclass
from typing import Annotated, Any

import typer

from flowforge_cli import completing

RunArgument = Annotated[
    str,
    typer.Argument(
        metavar="RUN",
        autocompletion=completing.runs,
        help="Id of a run, 4 or more of its first or last digits, @last or @last-failed.",
    ),
]
RunOrFileArgument = Annotated[
    str,
    typer.Argument(
        metavar="RUN",
        autocompletion=completing.runs_and_files,
        help="Id of a run, part of it, @last or @last-failed; or a capsule's file (.ffz).",
    ),
]
RunsArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="RUN...",
        autocompletion=completing.runs,
        help="Ids of runs, parts of them, @last, @last-failed; - reads ids from stdin.",
    ),
]
ManyArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[RUN...]",
        autocompletion=completing.runs,
        help="Ids of runs, parts of them, @last, @last-failed; - reads ids from stdin. Or say which by options.",
        show_default=False,
    ),
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


def taking(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command, in place of each parameter that is a dataclass, that dataclass's fields as options.

    So options that several commands share are declared once, and come to a command as one value.
    """
    signature = inspect.signature(command, eval_str=True)
    shared: dict[str, Any] = {
        name: one.annotation for name, one in signature.parameters.items() if is_dataclass(one.annotation)
    }
    parameters: list[inspect.Parameter] = []
    for name, one in signature.parameters.items():
        fields = inspect.signature(shared[name], eval_str=True).parameters.values() if name in shared else [one]
        parameters += [field.replace(kind=inspect.Parameter.KEYWORD_ONLY) for field in fields]

    def taken(**given: Any) -> Any:
        for name, kind in shared.items():
            given[name] = kind(**{field: given.pop(field) for field in inspect.signature(kind).parameters})
        return command(**given)

    taken.__name__, taken.__doc__, taken.__module__ = command.__name__, command.__doc__, command.__module__
    taken.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    taken.__annotations__ = {one.name: one.annotation for one in parameters}
    return taken
