"""The commands that there are, found in the parser itself, so that nobody forgets one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer

from flowforge_cli.app import app


def commands() -> dict[str, Any]:
    """Return every command by what is typed for it: `run`, `workflow ls` ..."""
    return dict(_within(typer.main.get_command(app), ()))


def _within(command: Any, path: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    if not hasattr(command, "list_commands"):
        yield " ".join(path), command
        return
    context = typer.Context(command)
    for name in command.list_commands(context):
        yield from _within(command.get_command(context, name), (*path, name))


def options(command: Any) -> set[str]:
    """Return the options that a command knows."""
    return {spelling for one in command.params for spelling in (*one.opts, *one.secondary_opts) if spelling[0] == "-"}
