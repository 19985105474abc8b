"""Every command that prints a list, with no row, with one, and with 100,000: all of them, in little memory."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

import pytest

from tests.acceptance.cli.commands import commands
from tests.acceptance.cli.conftest import Shell, installed
from tests.support.rows import NAME, fill

pytestmark = pytest.mark.thorough

#: What a command may take that has as much to say as it likes; imports alone are 55.
MIB = 130


class Long(NamedTuple):
    """A list: what is typed, the field of its document, rows that are there anyhow, and MiB."""

    typed: str
    field: str
    own: int = 0
    most: int = MIB


#: Every list whose length nobody bounds but its reader. Of what explains or repairs, the facts are counted in sets.
LISTS = {
    "ps": Long("ps --status failed --limit 100000", "runs"),
    "events": Long("events RUN --type step.skipped", "events"),
    "logs": Long("logs RUN", "logs"),
    "workflow ls": Long("workflow ls", "workflows", own=1),
    "workflow show": Long(f"workflow show {NAME}", "versions", own=1),
    "worker ls": Long("worker ls", "workers"),
    # It knows who serves each: all workers at once, and every one of them has a queue here.
    "queue ls": Long("queue ls", "queues", own=1, most=300),
    "queue dead": Long("queue dead --limit 100000", "letters", most=250),
    "incident ls": Long("incident ls --limit 100000", "incidents"),
    "import": Long("import --list", "runs"),
    # A plan is a document that is signed off as a whole.
    "retry": Long("retry --status failed --dry-run", "runs", most=300),
    "replay": Long("replay --status failed --dry-run", "runs", most=300),
}

#: Commands without a list of their own: about one run, one definition or one thing; told in sets; of a fixed length;
#: and the bulk verbs that plan as `retry` does.
OTHERS = {
    *("run", "show", "explain", "diff", "export", "receipt show", "receipt verify", "watch", "wait", "notebook"),
    *("cancel", "pause", "resume", "apply", "skip", "signal", "approve", "incident show", "incident resolve"),
    *("workflow pause", "workflow resume", "workflow lint", "workflow publish", "workflow archive", "workflow graph"),
    *("workflow schema", "workflow simulate", "init", "worker start", "worker drain", "queue pause", "queue resume"),
    *("doctor", "db upgrade", "db downgrade", "db status", "up", "down", "status", "dev", "demo", "bench", "top"),
    *("config show", "version", "completion", "receipt key"),
}

#: Runs a command, and writes down the most memory it has had: since it began, not since the tests that start it did.
MEASURED = """
import runpy, sys
from pathlib import Path
told = sys.argv.pop(1)
try:
    runpy.run_module("flowforge_cli", run_name="__main__", alter_sys=True)
finally:
    status = Path("/proc/self/status").read_text()
    Path(told).write_text(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))
"""


@dataclass
class Place:
    """A shell in an installation whose lists are all of one length."""

    shell: Shell
    run: str
    count: int

    def measured(self, typed: str, *more: str) -> tuple[Path, str, int]:
        """Run a command; return the file with what it wrote, what it said, and the MiB that it took."""
        words = [self.run if word == "RUN" else word for word in typed.split()]
        told, out = self.shell.folder / "told", self.shell.folder / "out"
        with out.open("wb") as written:
            ended = subprocess.run(
                [sys.executable, "-W", "error", "-c", MEASURED, told, *words, *more],
                cwd=self.shell.folder,
                env=self.shell.environment,
                stdin=subprocess.DEVNULL,
                stdout=written,
                stderr=subprocess.PIPE,
                text=True,
                timeout=300,
                check=False,
            )
        assert ended.returncode == 0, ended.stderr
        return out, ended.stderr, int(told.read_text()) // 1024


@pytest.fixture(scope="module", params=[0, 1, 100_000], ids="{:,} rows".format)
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """One run that has ended, and as many rows of everything as the parameter says."""
    if not Path("/proc/self/status").exists():
        pytest.skip("what a process takes is read from /proc")
    with installed() as home:
        shell = Shell(tmp_path_factory.mktemp("lists"), {"FLOWFORGE_HOME": str(home)})
        step = '{id: a, type: transform, config: {expression: "1"}}'
        run = shell("run", shell.write("flow.yaml", f"name: {NAME}\nsteps: [{step}]\n"), "--wait").out.strip()
        shell("receipt", run)
        fill(home, UUID(run), request.param)
        yield Place(shell, run, request.param)


def test_every_command_has_a_list_in_the_table_or_none():
    """Whoever adds a command says here which it is."""
    assert set(commands()) == set(LISTS) | OTHERS
    assert not set(LISTS) & OTHERS


@pytest.mark.parametrize("name", LISTS)
def test_as_data_every_row_is_there(place: Place, name: str):
    """And the document takes no more memory the longer it is, unless it is one that belongs together."""
    one = LISTS[name]
    out, _, taken = place.measured(one.typed, "--json")
    document = json.loads(out.read_bytes())
    assert len(document[one.field]) == place.count + one.own
    assert taken < one.most


@pytest.mark.parametrize("name", sorted(set(LISTS) - {"retry", "replay"}))
def test_as_text_every_row_has_a_line(place: Place, name: str):
    """Below the titles; with none, there is something to be said on stderr."""
    one = LISTS[name]
    out, said, taken = place.measured(one.typed)
    lines = [line for line in out.read_text().splitlines() if line.strip()]
    assert taken < one.most
    if place.count + one.own == 0:
        assert lines == []
        assert said
    elif name == "workflow show":  # between its head and its definition
        assert sum(" PUBLISHED " in line for line in lines) == place.count + one.own
    else:
        titles = 0 if name in ("events", "logs") else 1
        assert len(lines) == place.count + one.own + titles
