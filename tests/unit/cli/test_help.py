"""What --help of every command shows, against the parser itself."""

from __future__ import annotations

import re
import shlex
from typing import Any

import pytest
import typer

from flowforge.model.text import width
from flowforge_cli import helping, render
from flowforge_cli.app import app, hoist
from tests.acceptance.cli.commands import commands

COMMANDS = commands()
NARROW = 40


def examples(text: str) -> list[list[str]]:
    """Return the commands in the examples of a help text, as words."""
    _, _, lines = text.partition("Examples:\n")
    typed = (re.split(r" {3,}(?=\S)", line.strip())[0] for line in lines.splitlines())
    pieces = (piece for line in typed for piece in re.split(r"\s[|>&]+\s", line))
    found = (re.search(r"(?:^|\$\(|^[A-Z_]+=\S+ )flowforge (.*?)(?:\)\"|$)", piece) for piece in pieces)
    return [shlex.split(match[1]) for match in found if match]


def parse(words: list[str]) -> Any:
    """Parse a command line as the command would; return the command."""
    context = typer.main.get_command(app).make_context("flowforge", hoist(words))
    while hasattr(context.command, "resolve_command"):
        name, command, rest = context.command.resolve_command(context, [*context._protected_args, *context.args])
        context = command.make_context(name, rest, parent=context)
    return context.command


@pytest.mark.parametrize("name", COMMANDS)
def test_examples_of_every_command_can_be_typed(name: str):
    """Each command has one at least, of itself, and its options exist."""
    found = examples(COMMANDS[name].help or "")
    assert any(" ".join(words).startswith(name.removesuffix(" show")) for words in found), f"{name} has no example"
    for words in found:
        parse(words)


def test_examples_that_cannot_be_typed_are_found():
    """So the test above can fail."""
    with pytest.raises(Exception, match="--nonsense"):
        parse(["ps", "--nonsense"])
    assert examples("Examples:\n  A=b flowforge up\n  x | flowforge cancel - --yes   all\n") == [
        ["up"],
        ["cancel", "-", "--yes"],
    ]


@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_help_fits_a_narrow_terminal(name: str, monkeypatch: pytest.MonkeyPatch):
    """But for the commands of its examples, which are there to be copied."""
    monkeypatch.setattr(render, "room", lambda: NARROW)
    helping.install()
    context: Any = typer.main.get_command(app).make_context("flowforge", [], resilient_parsing=True)
    for word in name.split():
        command = context.command.get_command(context, word)
        context = command.make_context(word, [], parent=context, resilient_parsing=True)
    text: str = context.get_help()
    assert text.startswith(f"Usage: flowforge {name}".rstrip())
    wide = [line.strip() for line in text.split("\n") if width(line) > NARROW]
    assert [line for line in wide if not re.match(r"([A-Z_]+=\S+ |zcat \S+ \| )?(flowforge|jq) ", line)] == []
    assert not any(re.search(r"\S {3,}\S", line) for line in wide)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_explained(name: str):
    """In words of its own."""
    unexplained = [one.opts for one in COMMANDS[name].params if not getattr(one, "help", None)]
    assert unexplained == []
