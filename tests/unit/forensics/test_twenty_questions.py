"""Twenty questions have three answers each, and all sixty are things that exist."""

from __future__ import annotations

import ast
import inspect
import re
import shlex
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import typer

from flowforge import forensics as fx
from flowforge_cli.app import VERBS, app
from flowforge_tui import keys
from flowforge_tui.incidents import lines as incidents
from flowforge_tui.queues import lines as queues
from flowforge_tui.run.about import TABS
from flowforge_tui.run.screen import RunScreen
from flowforge_tui.run.timeline import Timeline
from flowforge_tui.runs import columns as runs
from flowforge_tui.runs import query

README = Path(__file__).resolve().parents[3] / "notebooks" / "README.md"


class Answered(NamedTuple):
    """A row of the table."""

    number: int
    question: str
    cell: str
    command: str
    view: str


def _rows() -> list[Answered]:
    lines = [line for line in README.read_text().splitlines() if re.match(r"\| \d", line)]
    split = [[part.strip() for part in line.strip("|").split(" | ")] for line in lines]
    return [
        Answered(int(no), question, cell.strip("`"), command.strip("`"), view)
        for no, question, cell, command, view in split
    ]


ROWS = _rows()
#: By screen: its columns, tabs and marks, and its keys.
WORDS = {
    "Runs": {column.title for column in runs.COLUMNS},
    "Run": {*TABS, "*"},
    "Queues": {column.title for column in queues.QUEUES},
    "Workers": {column.title for column in queues.WORKERS},
    "Incidents": {column.title for column in incidents.COLUMNS},
}
KEYS = {
    "Runs": (keys.SHELL, keys.LIST, keys.RUNS, keys.STEER),
    "Queues": (keys.SHELL, keys.LIST, keys.QUEUES),
    "Workers": (keys.SHELL, keys.LIST, keys.WORKERS),
    "Incidents": (keys.SHELL, keys.LIST, keys.INCIDENTS),
}


def test_there_are_twenty_questions():
    assert [row.number for row in ROWS] == list(range(1, 21))
    assert all(row.question.endswith("?") for row in ROWS)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: str(row.number))
def test_its_cell_calls_what_is_there_with_what_it_takes(row: Answered):
    calls = [one for one in ast.walk(ast.parse(row.cell)) if isinstance(one, ast.Call)]

    assert calls
    for call in calls:
        name = ast.unparse(call.func)
        if name.startswith("fx.") and ".pipe" not in name:
            function: Any = fx
            for part in name.split(".")[1:]:
                function = getattr(function, part)
            given = [None] * (2 if any(isinstance(one, ast.Starred) for one in call.args) else len(call.args))
            inspect.signature(function).bind(*given, **{str(one.arg): None for one in call.keywords})


@pytest.mark.parametrize("row", ROWS, ids=lambda row: str(row.number))
def test_its_command_exists_with_these_options(row: Answered):
    program, *words = shlex.split(row.command)

    assert program == "flowforge"
    _parse(words)


def test_a_command_that_is_not_there_would_be_noticed():
    for words in (["nothing"], ["show", "1a2b", "--nothing"], ["worker", "nothing"]):
        with pytest.raises((typer.Exit, Exception), match=r"nothing"):
            _parse(words)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: str(row.number))
def test_its_view_is_a_screen_with_these_keys_columns_and_tabs(row: Answered):
    for part in row.view.split("; "):
        screen, _, rest = part.partition(": ")
        tokens = re.findall(r"`([^`]+)`", rest)
        assert screen in WORDS
        assert tokens
        for token in tokens:
            if token.startswith("/") and token != "/":
                query.parse(token[1:], datetime.now(UTC))
            elif token.startswith(":") and token != ":":
                _parse([word.replace("@", "@last") for word in shlex.split(token[1:])])
            else:
                assert token in WORDS[screen] | _keys(screen)


def test_what_findings_advise_are_commands():
    said = "".join(path.read_text() for path in Path(fx.__file__).parent.glob("*.py"))

    advised = set(re.findall(r"[\"; ]flowforge ([a-z]+)(?= [a-z{@-]|[\";,])", said))

    assert {"show", "worker", "doctor"} <= advised
    assert advised - {"import", "forensics"} <= set(VERBS)


def _keys(screen: str) -> set[str]:
    if screen == "Run":
        return {one.key for one in [*RunScreen.BINDINGS, *Timeline.BINDINGS] if not isinstance(one, tuple)}
    return {keys.sign(one) for group in KEYS[screen] for key in group for one in key.keys.split(",")}


def _parse(words: list[str]) -> None:
    """Parse a command line as the program does, without doing what it says."""
    command: Any = typer.main.get_command(app)
    verb, *rest = words
    assert verb in VERBS, f"there is no command '{verb}'"
    command = command.get_command(None, verb)
    if getattr(command, "commands", None):
        verb, *rest = rest
        assert verb in command.commands, f"there is no command '{verb}'"
        command = command.commands[verb]
    command.make_context(verb, rest)
