"""What --help of every command shows, against the parser itself."""

from __future__ import annotations

import io
import re
import shlex
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest
import typer

from flowforge.model.text import width
from flowforge_cli import render
from flowforge_cli.app import VERBS, app, hoist, run
from flowforge_cli.helping import WIDTH, example
from tests.acceptance.cli.commands import commands
from tests.acceptance.cli.conftest import Shell

COMMANDS = commands()
#: Commands, groups of them, and the whole.
HELPFUL = [*dict.fromkeys([*COMMANDS, *VERBS, ""])]
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


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_explained(name: str):
    """In words of its own."""
    unexplained = [one.opts for one in COMMANDS[name].params if not getattr(one, "help", None)]
    assert unexplained == []


def read(name: str) -> str:
    """Return what --help of a command prints."""
    with redirect_stdout(io.StringIO()) as printed:
        assert run([*name.split(), "--help"]) == 0
    return printed.getvalue()


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal of forty columns."""
    monkeypatch.setattr(render, "room", lambda *_: NARROW)


@pytest.mark.parametrize("name", HELPFUL)
@pytest.mark.usefixtures("narrow")
def test_help_fits_a_narrow_terminal(name: str):
    """But for a word of an example, a path or what is quoted, in a line of its own: no shell would join it again."""
    lines = read(name).splitlines()
    wide = [line for line in lines if width(line) > NARROW]
    assert [
        line for line in wide if not re.fullmatch(r""" {6,}(-[-\w]+ )?('[^']*'|"[^"]*"|\S+/\S+)( \\)?""", line)
    ] == []


@pytest.mark.parametrize("name", HELPFUL)
def test_narrow_help_says_the_same(name: str, monkeypatch: pytest.MonkeyPatch):
    """Word for word, none of them broken; only where it stands is another place, and comments have a #."""
    wide = read(name)
    monkeypatch.setattr(render, "room", lambda *_: NARROW)
    folded = [word for word in read(name).split() if word not in ("\\", "#")]
    assert folded == [word for word in wide.split() if word not in ("\\", "#")]


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.usefixtures("narrow")
def test_an_example_that_is_folded_can_be_copied(name: str):
    """A shell that joins its lines gets the same commands."""
    shown = re.split(r"\n(?:Arguments|Options):\n", read(name))[0]
    joined = re.sub(r"\\\n *", "", shown)
    assert examples(joined) == examples(COMMANDS[name].help or "")


@pytest.mark.parametrize(
    ("line", "lines"),
    [
        ("  flowforge ps   all of them", ["  flowforge ps   all of them"]),
        (
            "  flowforge ps --status failed --label region=eu   of one region",
            ["  flowforge ps --status failed \\", "      --label region=eu", "      # of one region"],
        ),
        (
            "  flowforge cancel 1a2b3c4d --force --reason 'its host is gone for good'",
            ["  flowforge cancel 1a2b3c4d --force \\", "    --reason 'its host is gone for good'"],
        ),
    ],
)
def test_an_example_goes_on_behind_a_backslash(line: str, lines: list[str]):
    """An option stays beside its value, less indented where that makes room; what is said of it is a comment."""
    assert example(line, NARROW) == lines


def test_help_is_the_same_in_every_pipe(tmp_path: Path):
    """As wide as is usual, without colours, whatever the terminal around it measures; on one, it fits that."""
    shell = Shell(tmp_path)
    first, second = (shell.within(COLUMNS=columns)("retry", "--help").out for columns in ("40", "200"))
    assert first == second == read("retry")
    assert "\x1b" not in first
    prose = first.partition("Examples:")[0] + first.partition("Options:")[2]
    assert NARROW < max(map(width, prose.splitlines())) <= WIDTH
    assert max(map(width, shell.on_terminal("version", "--help", columns=NARROW).splitlines())) <= NARROW
