"""One installation for the session, used as its operator would; processes, sinks and flows for each test."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.acceptance.kit.installation import Installation, Shell
from tests.acceptance.kit.person import Operator
from tests.acceptance.kit.sink import Effects, Sink, serving
from tests.acceptance.kit.workers import WorkerProcess

Workers = Callable[..., WorkerProcess]

#: Short enough to see leases end, long enough for a busy machine to renew them.
SHORT = {"lease": "3s", "kill_grace": "1s", "grace": "1s", "python_processes": "2"}


@pytest.fixture(scope="session")
def installation() -> Iterator[Installation]:
    """A new home with servers of its own, stopped by the last command."""
    # A socket's path may have about 100 characters: pytest's own folders are too deep.
    folder = Path(tempfile.mkdtemp(prefix="ffa-", dir="/tmp"))
    folder.chmod(0o755)
    shell = Shell(folder, {"FLOWFORGE_HOME": str(folder / "h")})
    try:
        yield Installation.create(folder)
    finally:
        shell.type("down", code=None)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def sink() -> Iterator[Sink]:
    """The outside world."""
    with serving() as one:
        yield one


@pytest.fixture
def effects(sink: Sink) -> Iterator[Effects]:
    """The part of the outside world that belongs to the test."""
    one = Effects(sink)
    yield one
    one.close()


@pytest.fixture
def operator(installation: Installation, effects: Effects, tmp_path: Path) -> Iterator[Operator]:
    """The person in front of the terminal."""
    one = Operator(installation, effects, tmp_path)
    yield one
    effects.close()
    if not one.servers_are_up():
        installation.shell.type("up")
    one.close()


@pytest.fixture(scope="session")
def standing(installation: Installation) -> Iterator[list[WorkerProcess]]:
    """The session's own worker of the default queue, started when a test first needs it."""
    workers: list[WorkerProcess] = []
    yield workers
    for worker in workers:
        if worker.process.poll() is None:
            worker.stop()


@pytest.fixture
def worker(installation: Installation, standing: list[WorkerProcess]) -> Iterator[WorkerProcess]:
    """A worker of the default queue; no workflow takes it down."""
    if not standing or standing[-1].process.poll() is not None:
        log = installation.folder / f"standing-{len(standing)}.log"
        settings = {"lease": "20s", "kill_grace": "1s", "grace": "2s"}
        standing.append(WorkerProcess(installation.shell, log, installation.database_url, **settings).ready())
    one = standing[-1]
    yield one
    assert one.process.poll() is None, f"the worker ended with {one.process.returncode}:\n{one.said[-2000:]}"


@pytest.fixture
def workers(installation: Installation, operator: Operator, tmp_path: Path) -> Iterator[Workers]:
    """A factory of workers that serve the test's own queue, with leases of three seconds, or what they are told."""
    started: list[WorkerProcess] = []

    def start(*words: str, **settings: str) -> WorkerProcess:
        log = tmp_path / f"worker-{len(started)}.log"
        chosen = {**SHORT, **settings} if words else {"queues": operator.queue, **SHORT, **settings}
        typed = words or ("worker", "start")
        started.append(WorkerProcess(installation.shell, log, installation.database_url, words=typed, **chosen))
        return started[-1].ready()

    yield start
    operator.effects.close()
    for one in started:
        one.abandon()
