"""What TAB offers: live words, whole ones for every shell, and in bash the part that it replaces."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.acceptance.cli.conftest import FAILING, QUICK, Shell

#: Calls the function of the script as bash does: words are broken at its own word breaks too.
BASH = r"""
source completion.bash
flowforge() { "$PYTHON" -W error -m flowforge_cli; }
COMP_LINE="$LINE"; COMP_POINT=${#LINE}
read -ra COMP_WORDS <<< "$(sed -E 's/([=:@])/ \1 /g' <<< "$LINE")"
[[ $LINE == *" " ]] && COMP_WORDS+=("")
COMP_CWORD=$(( ${#COMP_WORDS[@]} - 1 ))
_flowforge_completion flowforge 2>&1
printf '%s\n' "${COMPREPLY[@]}"
"""


@dataclass
class Place:
    """A shell in a folder with definitions, and a run of each of two workflows."""

    shell: Shell
    done: str
    failed: str

    def words(self, line: str) -> list[str]:
        """Return the words that are offered where a line ends."""
        asked = self.shell.within(_FLOWFORGE_COMPLETE="words", _FLOWFORGE_LINE=line.replace("FAILED", self.failed[-8:]))
        answer = asked()
        assert answer.err == ""
        return [word.partition("\t")[0] for word in answer.out.splitlines()]


@pytest.fixture(scope="module")
def place(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """One installation for all tests here."""
    shell = Shell(tmp_path_factory.mktemp("completion"), {"FLOWFORGE_HOME": str(home)})
    (shell.folder / "flows").mkdir()
    for name, step in (("tab-good", QUICK), ("tab-bad", FAILING)):
        shell.write(f"flows/{name}.yaml", f"name: {name}\nsteps: [{step.replace('id: a', f'id: step-of-{name}')}]\n")
    shell.write("completion.bash", shell("completion", "bash").out)
    done = shell("run", "flows/tab-good.yaml", "--wait").out.strip()
    failed = shell("run", "flows/tab-bad.yaml", "--wait", code=5).out.strip()
    return Place(shell, done, failed)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("flowforge sho", ["show"]),
        ("flowforge workflow sim", ["simulate"]),
        ("flowforge show @", ["@last", "@last-failed"]),
        ("flowforge workflow show tab-", ["tab-bad", "tab-good"]),
        ("flowforge workflow show tab-good@", ["tab-good@1"]),
        ("flowforge logs FAILED step", ["step-of-tab-bad"]),
        ("flowforge events FAILED --step step-of-tab-b", ["step-of-tab-bad"]),
        ("flowforge events FAILED --type step.sk", ["step.skipped"]),
        ("flowforge ps --status=fai", ["--status=failed"]),
        ("flowforge ps --status failed,pend", ["failed,pending"]),
        ("flowforge ps --step step-of-tab-bad=fa", ["step-of-tab-bad=failed"]),
        ("flowforge --profile x ps --sort dur", ["duration"]),
        ("flowforge queue pause defau", ["default"]),
        ("flowforge run flows/tab-b", ["flows/tab-bad.yaml"]),
        ("flowforge workflow graph fl", ["flows/"]),
        ("flowforge incident ls --kind poi", ["poison_step"]),
        ("flowforge nonsense ", []),
        ("flowforge show 'unfinished", []),
        ("flowforge show \x1b", []),
    ],
)
def test_words_are_offered_where_they_make_sense(place: Place, line: str, words: list[str]):
    """Of this installation and as they are now; where nothing does, nothing is said."""
    assert place.words(line) == words


@pytest.mark.parametrize(
    "line",
    [
        *("events RUN --step ", "events --json RUN --step st", "events RUN --step=", "logs RUN ", "explain RUN "),
        *("skip RUN ", "approve RUN ", "retry RUN --from ", "replay RUN --from ", "replay --reason x RUN --from "),
    ],
)
def test_steps_are_those_of_the_run_that_is_named(place: Place, line: str):
    """By the end of its id or its beginning, all of it, or as the last one; wherever on the line it stands."""
    for run in (place.failed, place.failed[-8:], place.failed[:24], place.failed.upper(), "@last-failed"):
        found = place.words(f"flowforge {line.replace('RUN', run)}")
        assert [word.removeprefix("--step=") for word in found] == ["step-of-tab-bad"], run
    found = place.words(f"flowforge {line.replace('RUN', place.done)}")
    assert [word.removeprefix("--step=") for word in found] == ["step-of-tab-good"]
    assert place.words(f"flowforge {line.replace('RUN', 'ffffffff-ffff-7fff-8fff-ffffffffffff')}") == []


def test_live_ids_come_with_what_they_are(place: Place):
    """The newest first."""
    runs = place.words("flowforge show ")
    assert runs.index(place.failed[-8:]) < runs.index(place.done[-8:])
    assert place.words(f"flowforge show {place.failed[:8]}")[0] == place.failed
    (incident,) = place.shell("incident", "ls", "--workflow", "tab-bad", "--json").document["incidents"]
    assert str(incident["id"]) in place.words("flowforge incident show ")
    shell = place.shell.within(_FLOWFORGE_COMPLETE="words", _FLOWFORGE_LINE="flowforge show ")
    assert f"{place.failed[-8:]}\ttab-bad failed\n" in shell().out


def test_nothing_is_said_and_nothing_started_when_servers_are_down(place: Place, tmp_path: Path):
    """Neither for a server that does not answer, nor for a home that has none."""
    gone = {"FLOWFORGE_DATABASE_URL": "postgresql://127.0.0.1:1/x", "FLOWFORGE_REDIS_URL": "redis://127.0.0.1:1"}
    for variables in (gone, {"FLOWFORGE_HOME": str(tmp_path / "none")}):
        assert Place(place.shell.within(**variables), place.done, place.failed).words("flowforge cancel ") == []
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("line", "replaced"),
    [
        ("flowforge workflow show tab-g", ["tab-good"]),
        ("flowforge workflow show tab-good@", ["@1"]),
        ("flowforge show @last-", ["@last-failed"]),
        ("flowforge ps --status=fai", ["failed"]),
        ("flowforge ps --status=", 9),
        ("flowforge ps --step x=fa", ["failed"]),
        ("flowforge apply ", [""]),
    ],
)
def test_bash_replaces_what_it_takes_for_a_word(place: Place, line: str, replaced: list[str] | int):
    """Which begins behind the last = or :, and at the last @."""
    ended = subprocess.run(
        ["bash", "--norc", "-c", BASH],
        cwd=place.shell.folder,
        env=place.shell.environment | {"LINE": line, "PYTHON": sys.executable},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    found = ended.stdout.rstrip("\n").split("\n")
    assert ended.stderr == ""
    assert len(found) == replaced if isinstance(replaced, int) else found == replaced


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_every_shell_asks_in_the_same_way(flowforge: Shell, shell: str):
    """Their scripts hand over the line, and throw away what may be said."""
    script = flowforge("completion", shell).out
    assert "_FLOWFORGE_COMPLETE=words _FLOWFORGE_LINE=" in script
    assert "2>/dev/null" in script
