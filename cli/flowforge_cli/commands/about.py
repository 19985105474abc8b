"""`flowforge version` and `completion`."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from flowforge_cli import render
from flowforge_cli.options import JsonOption, sub_app

app = sub_app()


@app.command()
def version(json: JsonOption = False) -> None:
    """Print the version.

    \b
    Examples:
      flowforge version
      flowforge version --json
    """  # noqa: D301
    import platform

    from flowforge.version import __version__

    if json:
        render.document(
            {"schema": "flowforge/version/v1", "flowforge": __version__, "python": platform.python_version()}
        )
    else:
        render.out(f"flowforge {__version__}")


@app.command()
def completion(
    shell: Annotated[Literal["bash", "zsh", "fish"], typer.Argument(metavar="SHELL", help="bash, zsh or fish.")],
) -> None:
    """Print the completion script of a shell.

    \b
    Examples:
      eval "$(flowforge completion bash)"
      flowforge completion zsh > ~/.zfunc/_flowforge
      flowforge completion fish > ~/.config/fish/completions/flowforge.fish
    """  # noqa: D301
    from flowforge_cli import shells

    render.raw(shells.script(shell), exact=True)
