"""The doctor at an installation where something is wrong for real: what it names can be typed, and helps."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.conftest import SHORT
from tests.acceptance.kit.installation import Installation
from tests.acceptance.kit.person import Operator
from tests.acceptance.kit.processes import gone
from tests.acceptance.kit.sink import Effects, reply
from tests.acceptance.kit.workers import WorkerProcess
from tests.support.eventually import eventually_sync

#: What is wrong with the servers of tests, on purpose.
ON_PURPOSE = {"postgres.fsync"}
ONE = 'queue: "@queue"\nsteps: [{id: charge, type: http, config: {method: POST, url: "@sink/charge"}}]\n'
LATER = """
    queue: "@queue"
    steps:
      - {id: pause, type: delay, config: {duration: 5s}}
      - {id: after, type: transform, depends_on: pause, config: {expression: "1"}}
"""


@pytest.fixture
def own() -> Iterator[Installation]:
    """An installation that no other test's workers look after."""
    folder = Path(tempfile.mkdtemp(prefix="ffa-", dir="/tmp"))
    folder.chmod(0o755)
    one = Installation.create(folder)
    yield one
    one.shell.type("down", code=None)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def operator(own: Installation, effects: Effects, tmp_path: Path) -> Iterator[Operator]:
    """The person in front of its terminal."""
    one = Operator(own, effects, tmp_path)
    yield one
    one.sql.close()


def worker(operator: Operator, folder: Path, **settings: str) -> WorkerProcess:
    """Start a worker of the test's queue."""
    chosen = {**SHORT, "queues": operator.queue, **settings}
    return WorkerProcess(operator.shell, folder / "worker.log", operator.installation.database_url, **chosen).ready()


def examined(operator: Operator, *words: str) -> dict[str, dict[str, Any]]:
    """Type `doctor --json`; return its findings by kind, without those on purpose."""
    document = operator.shell.type("doctor", "--json", *words, code=None, lease="3s").document
    return {one["kind"]: one for one in document["findings"] if one["kind"] not in ON_PURPOSE}


def typed(operator: Operator, line: str, *more: str, code: int | None = 0) -> str:
    """Type a command as it is offered; return what it prints."""
    program, *words = shlex.split(line)
    assert program == "flowforge"
    return operator.shell.type(*words, *more, code=code, lease="3s").out


@pytest.mark.thorough
def test_a_lease_that_ended_with_its_worker_is_named_and_repaired(operator: Operator, tmp_path: Path):
    """The run, the step by its id, the attempt, since when; and both commands do what they say."""
    operator.effects.hold("charge", after=(reply(),))
    victim = worker(operator, tmp_path)
    run = operator.start(operator.flow(ONE))
    operator.effects.arrived("charge")
    victim.kill()
    # An hour passes, and nobody comes.
    operator.sql.do(
        "UPDATE steps SET due_at = due_at - interval '1 hour' WHERE run_id = %s AND due_at IS NOT NULL", run
    )
    operator.sql.do("UPDATE runs SET wake_at = wake_at - interval '1 hour' WHERE id = %s", run)
    operator.sql.do("UPDATE workers SET seen_at = seen_at - interval '1 hour'")

    found = examined(operator)["lease.over"]

    assert found["runs"] == [str(run)]
    (detail,) = found["details"]
    assert detail.startswith(f"run {run}: step 'charge' (attempt 1) is running on ")
    assert "and its lease ended 59m" in detail or "and its lease ended 1h" in detail
    assert found["commands"] == ["flowforge doctor --fix", f"flowforge explain {run} charge"]
    text = operator.shell.type("doctor", code=20, lease="3s").out
    assert all(f"next    {line}" in text for line in found["commands"])
    assert "was running on" in typed(operator, found["commands"][1])
    assert "1 run looked at" in typed(operator, found["commands"][0], "--yes", code=20)
    assert "lease.over" not in examined(operator)
    with_worker = worker(operator, tmp_path)
    assert operator.wait(run)[0]["status"] == "completed"
    with_worker.stop()


@pytest.mark.thorough
def test_a_timer_that_nobody_looked_at_is_named_and_repaired(operator: Operator, tmp_path: Path):
    """No worker is there any more: the doctor lets the engine look, and says which step it was."""
    only = worker(operator, tmp_path)
    run = operator.start(operator.flow(LATER))
    operator.step_becomes(run, "pause", "waiting")
    only.kill()
    other = operator.start(operator.flow(LATER))
    assert examined(operator).keys() <= {"workers.lost"}, "what waits for its time, or a worker, is not left over"
    over = "SELECT due_at < clock_timestamp() FROM steps WHERE run_id = %s AND step_no = 0"
    eventually_sync(lambda: operator.sql.value(over, run), what="its time is over")
    # An hour passes, and nobody comes.
    operator.sql.do("UPDATE steps SET due_at = due_at - interval '1 hour' WHERE run_id = %s AND step_no = 0", run)
    operator.sql.do("UPDATE runs SET wake_at = wake_at - interval '1 hour' WHERE id = %s", run)
    found = examined(operator)["timer.late"]
    assert found["runs"] == [str(run)]
    assert f"run {run}: step 'pause' (attempt 1) is waiting, and was due 1h" in found["details"][0]
    assert found["commands"] == ["flowforge doctor --fix", f"flowforge explain {run} pause"]
    assert "overdue" in typed(operator, found["commands"][1])
    typed(operator, found["commands"][0], "--yes", code=20)
    assert operator.sql.steps(run)["pause"] == "completed"
    assert operator.sql.steps(other)["pause"] == "queued"


def test_servers_that_are_down_are_findings_with_the_way_out(operator: Operator):
    """Redis away: 20, and the invariants are judged all the same; Postgres too: 4, and none is. None is started."""
    where = operator.installation
    pids = {name: where.pid(name) for name in ("valkey", "postgres")}
    os.kill(pids["valkey"], signal.SIGKILL)
    gone(pids["valkey"])
    done = operator.shell.type("doctor", "--json", code=20).document
    assert {one["kind"] for one in done["findings"]} - ON_PURPOSE == {"server.redis"}
    assert all(one["holds"] for one in done["invariants"])
    assert "cure    start it" in operator.shell.type("doctor", code=20).out
    os.kill(pids["postgres"], signal.SIGKILL)
    gone(pids["postgres"])
    done = operator.shell.type("doctor", "--json", code=4).document
    assert {one["kind"] for one in done["findings"]} == {"server.postgres", "server.redis"}
    assert {one["holds"] for one in done["invariants"]} == {None}
    text = operator.shell.type("doctor", "--fix", "--yes", code=4).out
    assert text.count("flowforge up") == 2
    operator.shell.type("up")
    assert examined(operator) == {}
