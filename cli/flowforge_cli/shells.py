"""Completion for shells: their scripts, and the words that these ask for.

One way for all shells: a script hands over the line up to the cursor, and gets whole words, one a line, each with what
is said about it behind a tab. Whatever is wrong, nothing is said: somebody is typing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib import resources
from typing import Any

from flowforge_cli import render
from flowforge_cli.text import one_line

#: Variables with which a script asks.
ASKED, LINE = "_FLOWFORGE_COMPLETE", "_FLOWFORGE_LINE"


def script(shell: str) -> str:
    """Return the completion script of a shell."""
    return resources.files("flowforge_cli").joinpath("templates", f"completion.{shell}").read_text(encoding="utf-8")


def answer(command: Any) -> None:
    """Print the words that may stand where the line ends."""
    try:
        found = [f"{word}\t{about}" if about else word for word, about in _words(command, os.environ.get(LINE, ""))]
    except Exception:  # noqa: BLE001 - a line that is not finished may be wrong in any way
        return
    render.lines(found)


def _words(command: Any, line: str) -> Iterator[tuple[str, str]]:
    from typer._click.shell_completion import _resolve_context, _resolve_incomplete, split_arg_string

    from flowforge_cli.app import hoist

    given = split_arg_string(line)[1:]
    last = given.pop() if given and not line[-1:].isspace() else ""
    # Of --option=value, what is asked for and what is offered is the value alone.
    option, sign, _ = last.partition("=")
    before = option + sign if sign and last.startswith("--") else ""
    words = hoist(given)
    # An option that still waits for its value would keep the parser from reading the arguments: which run it is.
    read = words[:-1] if words and words[-1].startswith("-") and words[-1] != "-" else words
    context = _resolve_context(command, {}, "flowforge", read)
    asked, incomplete = _resolve_incomplete(context, words, last)
    for item in asked.shell_complete(context, incomplete):
        yield before + str(item.value), one_line(item.help or "", 60)
