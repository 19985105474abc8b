"""The real command in real processes, on one installation for the session."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from flowforge.local import Home, up
from tests.support.eventually import eventually_sync
from tests.support.servers import VALKEY
from tests.support.warm import warm

#: Nothing here has to survive the machine.
POSTGRES = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}

#: As it is installed.
FLOWFORGE = [sys.executable, "-W", "error", "-m", "flowforge_cli"]


class Done(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """What it printed, as data."""
        return json.loads(self.out)

    @property
    def lines(self) -> list[Any]:
        """What it printed line by line, as data."""
        return [json.loads(line) for line in self.out.splitlines()]


@dataclass
class Shell:
    """A folder and an environment in which commands are typed."""

    folder: Path
    variables: dict[str, str] = field(default_factory=dict)
    #: Whether commands are started as they are installed, and not forked from a warm interpreter.
    cold: bool = False

    @property
    def environment(self) -> dict[str, str]:
        """The environment of a command: nobody else's settings."""
        # Whoever runs the tests has a terminal of another size, and says so to what is run from it.
        others = ("FLOWFORGE_", "LC_", "LANG", "COLUMNS", "LINES")
        own = {name: value for name, value in os.environ.items() if not name.startswith(others)}
        return {**own, "LANG": "C.UTF-8", "XDG_CONFIG_HOME": str(self.folder), **self.variables}

    def within(self, **variables: str) -> Shell:
        """Return the same shell with other variables."""
        return Shell(self.folder, self.variables | variables, self.cold)

    def __call__(self, *words: str, code: int | None = 0, stdin: str = "") -> Done:
        """Type a command and wait for its end; it must end with *code*."""
        text = stdin.encode()
        if self.cold:
            ended = subprocess.run(
                [*FLOWFORGE, *words],
                cwd=self.folder,
                env=self.environment,
                input=text,
                capture_output=True,
                timeout=90,
                check=False,
            )
            done = Done(ended.returncode, ended.stdout.decode(), ended.stderr.decode())
        else:
            found = warm("-W", "error").type(
                words, folder=self.folder, environment=self.environment, stdin=text, patience=90
            )
            done = Done(found.code, found.out.decode(), found.err.decode())
        assert "Traceback" not in done.err, done.err
        assert code is None or done.code == code, f"exit code {done.code}:\n{done.err}\n{done.out}"
        return done

    def on_terminal(self, *words: str, columns: int = 80, code: int | None = 0) -> str:
        """Type a command in a terminal; return what it shows, as the terminal got it."""
        found = warm("-W", "error").show(
            words, folder=self.folder, environment=self.environment, columns=columns, patience=90
        )
        shown = found.out.decode().replace("\r\n", "\n")
        assert "\nTraceback" not in f"\n{shown}", shown
        assert code is None or found.code == code, f"exit code {found.code}:\n{shown}"
        return shown

    @contextmanager
    def running(self, *words: str) -> Iterator[subprocess.Popen[str]]:
        """Type a command that stays; it is ended with the block."""
        process = subprocess.Popen(
            [*FLOWFORGE, *words],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            try:
                process.communicate(timeout=60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()

    def write(self, name: str, text: str) -> str:
        """Write a file into the folder; return its name."""
        (self.folder / name).write_text(text)
        return name


@contextmanager
def installed() -> Iterator[Path]:
    """Yield a home with servers of its own, which are up."""
    # A socket's path has about 100 characters: pytest's own folders are too deep.
    folder = Path(tempfile.mkdtemp(prefix="ffc-", dir="/tmp"))
    folder.chmod(0o755)
    try:
        up(Home(folder / "h"), postgres=POSTGRES, valkey=VALKEY)
        yield folder / "h"
    finally:
        Shell(folder, {"FLOWFORGE_HOME": str(folder / "h")})("down", code=None)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def home() -> Iterator[Path]:
    """An installation for the session."""
    with installed() as one:
        yield one


@pytest.fixture
def flowforge(home: Path, tmp_path: Path) -> Shell:
    """A shell in a folder of the test's own."""
    return Shell(tmp_path, {"FLOWFORGE_HOME": str(home)})


@pytest.fixture
def worker(flowforge: Shell, queue: str) -> Iterator[subprocess.Popen[str]]:
    """A worker of the test's own queue."""
    with flowforge.within(FLOWFORGE_KILL_GRACE="1s").running("worker", "start", "--queue", queue) as process:
        serving(flowforge, queue)
        yield process


def serving(flowforge: Shell, queue: str, count: int = 1) -> list[dict[str, Any]]:
    """Wait until so many workers serve a queue; return them."""

    def found() -> list[dict[str, Any]]:
        listed = flowforge("worker", "ls", "--json").document["workers"]
        return [one for one in listed if one["queues"] == [queue] and one["status"] == "active"]

    answer: list[dict[str, Any]] = eventually_sync(lambda: len(found()) == count and found(), what=f"{count} workers")
    return answer


@pytest.fixture
def queue(tmp_path: Path) -> str:
    """The name of a queue, and of workflows, that only this test uses."""
    return "q" + "".join(char for char in tmp_path.name if char.isalnum())[-40:].lower()


Flow = Callable[..., str]


@pytest.fixture
def flow(flowforge: Shell, queue: str) -> Flow:
    """Write a workflow of the test's own queue; returns its file."""

    def write(steps: str, name: str = "flow.yaml", top: str = "") -> str:
        text = f"name: {queue}\nqueue: {queue}\n{top}\nsteps:\n"
        return flowforge.write(name, text + "".join(f"  - {step}\n" for step in steps.strip().splitlines()))

    return write


#: Steps for any test.
QUICK = '{id: a, type: transform, config: {expression: "get(input.n, 1) + 1"}}'
FAILING = '{id: a, type: transform, config: {expression: "input.missing.value"}, retry: {max_attempts: 1}}'
ENDLESS = "{id: a, type: delay, config: {duration: 1h}}"
