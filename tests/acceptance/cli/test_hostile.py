"""Text that would drive a terminal, from every place where somebody else's text is kept."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.acceptance.cli.conftest import Shell

#: Colours, a title, a clipboard, a link, C1, bell, return, backspace, markup, and what reorders or hides text.
HOSTILE = (
    "\x1b[31mred\x1b[2J \x1b]0;title\x07 \x1b]52;c;ZXZpbA==\x07 \x1b]8;;http://x\x1b\\link \x9b31m \x07\r\b [bold]b[/] "
    "\u202eevil\u202c \u2066in\u2069 zero\u200bwidth\ufeff \u2028line {{ x }} 漢字"
)
#: None of these may be printed; newlines and tabs are no harm.
UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff]"
)

DEFINITION = {
    "name": "hostile",
    "description": HOSTILE.replace("{{ x }}", ""),
    "steps": [
        {"id": "talk", "type": "python", "name": HOSTILE[:90], "config": {"function": "evil:talk"}},
        {"id": "fail", "type": "python", "config": {"function": "evil:fail"}, "retry": {"max_attempts": 1}},
    ],
}
FUNCTIONS = (
    f"TEXT = {HOSTILE!r}\ndef talk():\n    print(TEXT)\n    return TEXT\ndef fail():\n    raise ValueError(TEXT)\n"
)

COMMANDS = (
    "ps",
    "show RUN",
    "show RUN --ledger",
    "explain RUN",
    "explain",
    "events RUN",
    "watch RUN",
    "wait RUN",
    "logs RUN",
    "diff RUN OTHER",
    "receipt RUN",
    "incident ls",
    "incident show INCIDENT",
    "workflow show hostile",
    "workflow graph hostile",
    "workflow simulate hostile",
    "workflow lint hostile.json",
    "queue ls",
    "retry RUN OTHER --dry-run",
    "replay RUN --dry-run",
    "doctor",
)


@dataclass
class Place:
    """A shell in an installation with a run that nothing good can be said of."""

    shell: Shell
    names: dict[str, str]

    def words(self, command: str) -> list[str]:
        """Return the words of a command, ids filled in."""
        return [self.names.get(word, word) for word in command.split()]


@pytest.fixture(scope="module")
def place(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Two runs of it, with hostile labels, inputs, reasons and notes."""
    shell = Shell(tmp_path_factory.mktemp("hostile"), {"FLOWFORGE_HOME": str(home)})
    shell.write("evil.py", FUNCTIONS)
    shell.write("hostile.json", json.dumps(DEFINITION))
    given = ("--input", json.dumps({HOSTILE: HOSTILE}), "--label", f"x={HOSTILE}"[:200])
    runs = [shell("run", "hostile.json", "--wait", *given, code=5).out.strip() for _ in range(2)]
    shell("retry", runs[0], "--reason", HOSTILE)
    with shell.running("worker", "start"):
        shell("wait", runs[0], code=5)
    shell("receipt", runs[0])
    shell("workflow", "pause", "hostile", "--reason", HOSTILE)
    (incident,) = shell("incident", "ls", "--workflow", "hostile", "--json").document["incidents"]
    shell("incident", "resolve", str(incident["id"]), "--note", HOSTILE)
    return Place(shell, {"RUN": runs[0], "OTHER": runs[1], "INCIDENT": str(incident["id"])})


@pytest.mark.parametrize("command", COMMANDS)
def test_nothing_that_drives_a_terminal_is_printed(place: Place, command: str):
    """In a pipe nothing at all; on a terminal only the colours that are ours, and what the words are stays."""
    done = place.shell(*place.words(command), code=None)
    assert UNSAFE.findall(done.out + done.err) == []
    screen = place.shell.on_terminal(*place.words(command), columns=100, code=None)
    ours = re.sub(r"\x1b\[(?:[0-9;]*m|2K|\?25[hl]|1A|[0-9]*[AG])|\r", "", screen)
    assert UNSAFE.findall(ours) == []


@pytest.mark.parametrize("command", ["show RUN", "events RUN", "logs RUN", "ps", "incident show INCIDENT"])
def test_as_data_it_is_exact_and_escaped(place: Place, command: str):
    """No byte of it drives a terminal, and a program gets every character."""
    done = place.shell(*place.words(command), "--json")
    assert UNSAFE.findall(done.out) == []
    assert "\\u001b[31mred" in done.out
    if command == "show RUN":
        assert done.document["input"] == {HOSTILE: HOSTILE}
        assert done.document["steps"][0]["output"] == HOSTILE


def test_half_a_character_is_refused_or_kept_in_a_line(place: Place):
    """A lone surrogate is legal in JSON and nowhere else."""
    done = place.shell("run", "hostile.json", "--input", '{"x": "\\ud800"}', code=None)
    assert done.code in (0, 2)
    assert UNSAFE.findall(done.out + done.err) == []
