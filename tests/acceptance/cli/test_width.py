"""What commands print for people, on a narrow terminal and in a pipe."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from flowforge.model.text import width
from tests.acceptance.cli.commands import commands
from tests.acceptance.cli.conftest import Shell

pytestmark = pytest.mark.thorough

COLUMNS = 40

NAME = "order-fulfilment-of-the-whole-world"
LONG = "input.a_value_with_a_name_that_is_longer_than_the_narrow_terminal.value"
WIDE = "漢字" * 20
DEFINITION = f"""
name: {NAME}
description: Everything that can go wrong between the reservation and the parcel, one after the other
steps:
  - {{id: reserve_the_stock_in_the_warehouse, type: transform, config: {{expression: "1"}}}}
  - {{id: charge, name: {WIDE}, type: transform, depends_on: [reserve_the_stock_in_the_warehouse],
     config: {{expression: {LONG}}}, retry: {{max_attempts: 1}}}}
  - {{id: talk, type: python, config: {{function: "talking:talk"}}}}
"""
QUIET = "name: quiet\nsteps: [{id: a, type: transform, config: {expression: '1'}}]\n"

#: Every command that prints for people, and its exit code.
COMMANDS = [
    ("ps", 0),
    ("ps --count", 0),
    (f"ps --workflow {NAME}", 0),
    ("show RUN", 0),
    ("show RUN --ledger", 0),
    ("show RUN --at 3", 0),
    ("explain RUN", 0),
    ("explain", 0),
    ("events RUN", 0),
    ("watch RUN --plain", 5),
    ("wait RUN", 5),
    ("logs RUN", 0),
    ("diff RUN OTHER", 20),
    ("receipt RUN", 0),
    ("export RUN --force", 0),
    ("import --list", 0),
    ("workflow lint flow.yaml", 0),
    ("workflow ls", 0),
    (f"workflow show {NAME}", 0),
    ("workflow graph flow.yaml", 0),
    ("workflow simulate flow.yaml", 5),
    ("queue ls", 0),
    ("queue dead", 0),
    ("worker ls --all", 0),
    ("incident ls", 0),
    ("incident show INCIDENT", 0),
    ("doctor", 20),
    ("config show", 0),
    (f"retry --workflow {NAME} --dry-run", 0),
    (f"cancel --workflow {NAME} --dry-run", 0),
    ("apply plan.json --dry-run", 0),
    ("replay RUN --dry-run", 0),
    ("status", 0),
    ("db status", 0),
    ("version", 0),
    ("run quiet.yaml --wait", 0),
    ("run flow.yaml --wait", 5),
    ("run broken.yaml", 2),
    ("pause RUN", 7),
    ("resume RUN", 7),
    ("skip OTHER a", 7),
    ("signal RUN a-signal-with-a-name-that-is-not-short", 7),
    ("approve RUN charge", 7),
    ("incident resolve INCIDENT", 0),
    ("receipt verify receipt.json", 0),
    ("notebook --list", 0),
    (f"workflow pause {NAME}", 0),
    (f"workflow resume {NAME}", 0),
    (f"workflow archive {NAME}", 0),
    ("workflow publish quiet.yaml", 0),
    ("queue pause default --reason because-nobody-may-take-anything-from-it-now", 0),
    ("queue resume default", 0),
    ("worker drain a-worker-that-is-not-there-and-never-was", 3),
    ("db upgrade", 0),
    ("init project", 0),
    ("up", 0),
    ("bench --runs 20", 0),
    ("show ffffffff-ffff-7fff-8fff-ffffffffffff", 3),
    ("queue pause a-queue-that-nobody-serves-and-no-step-has", 3),
]
#: What is data and no text for people, goes on for ever, or takes the servers away.
LEFT_OUT = {
    "completion",
    "receipt key",
    "workflow schema",
    "top",
    "dev",
    "demo",
    "worker start",
    "down",
    "db downgrade",
}
#: What changes something, and says something else when it is typed again.
CHANGING = {
    *("run", "pause", "resume", "skip", "signal", "approve", "resolve", "export", "archive", "publish", "drain"),
    *("upgrade", "init", "up", "bench"),
}
LOOKING = [command for command, _ in COMMANDS if not CHANGING & set(command.split()[:2])]


@dataclass
class Place:
    """A shell in an installation where a run with long names has failed."""

    shell: Shell
    run: str
    other: str
    incident: str

    def words(self, command: str) -> list[str]:
        """Return the words of a command, ids filled in."""
        names = {"RUN": self.run, "OTHER": self.other, "INCIDENT": self.incident}
        return [names.get(word, word) for word in command.split()]


@pytest.fixture(scope="module")
def place(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """One failed run, and one that is something else, for all tests here."""
    shell = Shell(tmp_path_factory.mktemp("width"), {"FLOWFORGE_HOME": str(home)})
    shell.write("talking.py", f'def talk():\n    print("{WIDE}")\n    print("a long line " * 20)\n')
    shell.write("flow.yaml", DEFINITION)
    shell.write("broken.yaml", DEFINITION.replace("depends_on: [", "depends_on: [nobody_has_a_step_of_this_name, "))
    run = shell("run", "flow.yaml", "--wait", "-i", f"note={WIDE}", "--label", f"team={'a' * 60}", code=5).out.strip()
    other = shell("run", shell.write("quiet.yaml", QUIET), "--wait").out.strip()
    for one in (run, other):
        shell("receipt", one)
    shell.write("receipt.json", shell("receipt", run, "--json").out)
    shell("import", shell("export", run).out.strip(), code=None)
    shell("retry", "--workflow", NAME, "--plan", "plan.json")
    (incident,) = shell("incident", "ls", "--workflow", NAME, "--json").document["incidents"]
    return Place(shell, run, other, str(incident["id"]))


def shown(screen: str) -> list[str]:
    """Return the lines of a screen, without colours and without what was taken away again."""
    lines = [line.rpartition("\r\x1b[2K")[2] for line in screen.split("\n")]
    return [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in lines]


def test_no_command_is_forgotten():
    """A new one is added above."""
    typed = {f"{command} " for command, _ in COMMANDS}
    names = {name for name in commands() if not any(one.startswith(f"{name.removesuffix(' show')} ") for one in typed)}
    assert names == LEFT_OUT


@pytest.mark.parametrize(("command", "code"), COMMANDS, ids=str)
def test_no_line_is_wider_than_the_terminal(place: Place, command: str, code: int):
    """Cells are counted, not characters; and whatever wraps, the screen holds no more than text and colours."""
    screen = place.shell.on_terminal(*place.words(command), columns=COLUMNS, code=code)
    lines = shown(screen)
    assert any(lines)
    assert [line for line in lines if width(line) > COLUMNS] == []
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", "\n".join(lines))


def test_a_table_that_moves_keeps_what_matters(place: Place):
    """States and the cause stand below names that are too long to have them beside."""
    screen = place.shell.on_terminal("run", "flow.yaml", "--watch", columns=COLUMNS, code=5)
    last = screen.rpartition("\x1b[?25h")[0].rpartition("\x1b[2K")[2]
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", last)
    words = plain.split()
    assert "…" not in plain.partition("note")[0]
    assert words.count("FAILED") == 2
    assert words.count("DONE") == 2
    assert "EXPRESSION_ERROR" in plain
    assert max(map(width, plain.splitlines())) <= COLUMNS


@pytest.mark.parametrize("command", LOOKING)
def test_in_a_pipe_no_width_is_known(place: Place, command: str):
    """No colours, and as many lines whatever COLUMNS says: none is cut or broken."""
    typed = [place.shell.within(COLUMNS=of)(*place.words(command), code=None) for of in ("40", "200")]
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", "".join(done.out + done.err for done in typed))
    first, second = ([*done.out.splitlines(), *done.err.splitlines()] for done in typed)
    assert len(first) == len(second)


@pytest.mark.parametrize("command", LOOKING)
def test_every_command_does_without_colours(place: Place, command: str):
    """On a narrow terminal, too."""
    plain = place.shell.within(NO_COLOR="1").on_terminal(*place.words(command), columns=COLUMNS, code=None)
    assert not re.search(r"\x1b\[[0-9;]*m", plain)
    assert [line for line in shown(plain) if width(line) > COLUMNS] == []


@pytest.mark.parametrize("variables", [{"NO_COLOR": "1"}, {"TERM": "dumb"}], ids=str)
def test_without_colours_it_fits_as_well(place: Place, variables: dict[str, str]):
    """The words are the same."""
    words = ("show", place.run, "--ledger")
    plain = place.shell.within(**variables).on_terminal(*words, columns=COLUMNS)
    assert "\x1b" not in plain
    assert max(width(line) for line in plain.split("\n")) <= COLUMNS
    coloured = place.shell.within(TERM="xterm").on_terminal(*words, columns=COLUMNS)
    assert "\x1b[31;1m" in coloured
    assert [line.split() for line in shown(coloured)][:3] == [line.split() for line in plain.split("\n")][:3]


def test_a_pipe_is_never_cut(place: Place):
    """Ids, names, labels and errors stay whole, one line each, whatever the terminal around it measures."""
    shell = place.shell.within(COLUMNS=str(COLUMNS))
    head, *facts = shell("show", place.run).out.splitlines()
    assert head == f"✗ FAILED  {NAME}@1  {place.run}"
    assert f"  labels   team={'a' * 60}" in facts
    assert f'  input    {{"note": "{WIDE}"}}' in facts
    assert f"in: {LONG}" in shell("incident", "show", place.incident).out
    assert f"{WIDE}\n{'a long line ' * 20}\n" in shell("logs", place.run).out
    receipt = shell("receipt", place.run, "--json").document
    assert receipt["proof"]["hash"] in shell("receipt", place.run).out
    assert WIDE in shell("workflow", "graph", "flow.yaml").out


def test_a_wide_terminal_has_one_line_a_run(place: Place):
    """What fits is not folded; COLUMNS says it where the terminal does not."""
    for shell, columns in ((place.shell, 200), (place.shell.within(COLUMNS="200"), 40)):
        head, *rows = shown(shell.on_terminal("ps", "--workflow", NAME, columns=columns))
        assert head.split() == ["STATE", "RUN", "WORKFLOW", "STEPS", "AGE", "TOOK", "NOTE"]
        found = [row.split()[1:4] for row in rows if row]
        assert ["FAILED", place.run[-8:], f"{NAME}@1"] in found
        assert {tuple(row[::2]) for row in found} == {("FAILED", f"{NAME}@1")}
