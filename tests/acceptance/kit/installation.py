"""One installation as its operator has it: a home, a shell in it, and a view of its tables from outside."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from flowforge.local import Home, status, up
from tests.support.warm import warm

#: The command as it is installed.
FLOWFORGE = [sys.executable, "-m", "flowforge_cli"]
FUNCTIONS = Path(__file__).resolve().parent.parent / "functions"
#: A commit is on its way to the disk when it is answered; the disk, which tests share, is not waited for.
POSTGRES = {"fsync": "off", "full_page_writes": "off"}


class Result(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """What it printed, as data."""
        return json.loads(self.out)

    def refused(self, *words: str) -> None:
        """Assert that it says in one clear sentence what is wrong, in these words among others, and prints no data."""
        lines = self.err.strip().splitlines()
        start = next((no for no, line in enumerate(lines) if line.startswith("error")), None)
        assert start is not None, self.err
        first, *rest = lines[start:]
        assert not self.out, self.out
        assert "Traceback" not in self.err
        assert len(self.err) < 4000, f"{len(self.err)} characters of error"
        for word in words:
            assert word.lower() in self.err.lower(), self.err
        if not first.startswith("error["):
            assert len(first) < 500, first
            assert all(line.startswith("  ") for line in rest), self.err


@dataclass(frozen=True, slots=True)
class Shell:
    """Where commands are typed: a folder, and environment variables."""

    folder: Path
    variables: Mapping[str, str]

    def environment(self, **more: str) -> dict[str, str]:
        """Return the environment of a command; nothing of the developer's own FlowForge leaks into it."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("FLOWFORGE_")}
        inherited |= {"XDG_CONFIG_HOME": str(self.folder / "config"), "NO_COLOR": "1"}
        paths = [more.pop("PYTHONPATH", ""), inherited.get("PYTHONPATH", "")]
        inherited["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
        return inherited | dict(self.variables) | {f"FLOWFORGE_{name.upper()}": value for name, value in more.items()}

    def type(self, *words: str, code: int | None = 0, stdin: str | bytes = b"", **settings: str) -> Result:
        """Run a command to its end; *settings* are FLOWFORGE_* variables."""
        text = stdin.encode() if isinstance(stdin, str) else stdin
        environment = self.environment(**settings)
        done = warm("-W", "error").type(words, folder=self.folder, environment=environment, stdin=text, patience=115)
        result = Result(done.code, done.out.decode(), done.err.decode())
        assert code is None or result.code == code, f"{words[:3]} ended with {result.code}, not {code}:\n{result.err}"
        return result

    def begin(self, *words: str, log: Path, inside: Sequence[str] = (), **settings: str) -> subprocess.Popen[bytes]:
        """Start a command, inside another one if need be, and leave it running; what it says goes to *log*."""
        with log.open("ab") as file:
            return subprocess.Popen(
                [*inside, *FLOWFORGE, *words],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                cwd=self.folder,
                env=self.environment(**settings),
            )

    def in_(self, **settings: str) -> Shell:
        """Return a shell with more FLOWFORGE_* variables."""
        more = {f"FLOWFORGE_{name.upper()}": value for name, value in settings.items()}
        return Shell(self.folder, {**self.variables, **more})


@dataclass(frozen=True, slots=True)
class Installation:
    """A home with embedded servers, and its shell."""

    folder: Path
    shell: Shell
    database_url: str
    redis_url: str

    @classmethod
    def create(cls, folder: Path) -> Installation:
        """Start the servers; no commit waits for the disk, because it is only processes that die here."""
        up(Home(folder / "h"), postgres=POSTGRES)
        shell = Shell(folder, {"FLOWFORGE_HOME": str(folder / "h"), "FLOWFORGE_PATH": str(FUNCTIONS)})
        servers = {server["name"]: server for server in shell.type("up", "--json").document["servers"]}
        assert all(server["running"] for server in servers.values()), servers
        sockets = {name: Path(server["socket"]) for name, server in servers.items()}
        database_url = f"postgresql://flowforge@/flowforge?host={sockets['postgres'].parent}"
        return cls(folder, shell, database_url, f"unix://{sockets['valkey']}?db=0")

    @property
    def home(self) -> Path:
        """The folder of the servers."""
        return self.folder / "h"

    def pid(self, server: str) -> int:
        """Return the process id of `postgres` or `valkey`."""
        found = status(Home(self.home))
        pid = {"postgres": found.postgres, "valkey": found.valkey}[server].pid
        assert pid is not None, f"{server} does not run"
        return pid
