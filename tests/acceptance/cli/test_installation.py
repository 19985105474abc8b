"""`worker`, `db`, `up`, `status`, `config`: the installation itself."""

from __future__ import annotations

import os
import signal
import tempfile
from pathlib import Path

from flowforge.store.schema import HEAD
from tests.acceptance.cli.conftest import ENDLESS, QUICK, Flow, Shell, serving
from tests.support.eventually import eventually_sync


def test_a_worker_stops_when_asked(flowforge: Shell, flow: Flow, queue: str):
    """SIGTERM: what waits stays, the register says stopped, exit code 0."""
    with flowforge.running("worker", "start", "--queue", queue, "--concurrency", "7", "--grace", "1s") as process:
        (row,) = serving(flowforge, queue)
        assert (row["pid"], row["concurrency"]) == (process.pid, 7)
        flowforge("run", flow(QUICK), "--wait")
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 0
    assert f"worker {row['id']} serves {queue}, 7 at a time" in said
    listed = flowforge("worker", "ls", "--all", "--json").document["workers"]
    assert [one["status"] for one in listed if one["id"] == row["id"]] == ["stopped"]
    assert row["id"] not in flowforge("worker", "ls").out


def test_a_worker_can_be_drained_from_elsewhere(flowforge: Shell, queue: str):
    """It is named by the end of its id, hears of it with its next heartbeat, and leaves with exit code 0."""
    with flowforge.within(FLOWFORGE_LEASE="2s").running("worker", "start", "--queue", queue) as process:
        (row,) = serving(flowforge, queue)
        done = flowforge("worker", "drain", row["id"][-6:], "--json")
        assert done.document["workers"] == [row["id"]]
        assert process.wait(60) == 0
    flowforge("worker", "drain", "no-such-worker", code=3)


def test_worker_processes_are_replaced_and_stop_together(flowforge: Shell, queue: str):
    """A killed one has a successor; SIGINT to the supervisor ends all of them, exit code 0."""
    with flowforge.within(FLOWFORGE_LEASE="2s").running(
        "worker", "start", "--queue", queue, "--processes", "2"
    ) as process:
        first = {row["pid"] for row in serving(flowforge, queue, 2)}
        assert process.pid not in first
        victim = min(first)
        os.kill(victim, signal.SIGKILL)
        eventually_sync(lambda: victim not in {row["pid"] for row in serving(flowforge, queue, 2)})
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "a worker process ended with signal SIGKILL" in said
    assert "stopping 2 workers" in said


def test_worker_processes_do_not_outlive_their_supervisor(flowforge: Shell, queue: str):
    """However it ended: the children stop as if asked to."""
    with flowforge.running("worker", "start", "--queue", queue, "--processes", "2") as process:
        children = [row["pid"] for row in serving(flowforge, queue, 2)]
        process.kill()
        eventually_sync(lambda: not any(_alive(child) for child in children))


def _alive(pid: int) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False


def test_dev_prints_what_happens(flowforge: Shell, flow: Flow):
    """One line per event of every run, from this moment on; SIGINT stops the worker and leaves the servers."""
    file = flow(ENDLESS)
    with flowforge.running("dev", "--json") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert "is working" in process.stderr.readline()
        run = flowforge("run", file).out.strip()
        while run not in (line := process.stdout.readline()):
            assert line, "dev ended"
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "the servers stay up" in said
    assert flowforge("status", "--json").document["ready"] is True
    flowforge("cancel", run)


def test_the_schema_is_moved_by_hand_where_the_database_is_given(flowforge: Shell):
    """An empty database is named as such, upgraded once, and taken back only with --yes."""
    with tempfile.TemporaryDirectory(prefix="ffd-", dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        shell = Shell(flowforge.folder, {"FLOWFORGE_HOME": f"{folder}/h"})
        try:
            socket = Path(shell("up", "--json").document["servers"][0]["socket"]).parent
            given = shell.within(FLOWFORGE_DATABASE_URL=f"postgresql://flowforge@/flowforge?host={socket}")
            assert f"at {HEAD} already" in given("db", "upgrade").err
            assert "--yes" in given("db", "downgrade", "base", code=2).err
            assert given("db", "downgrade", "base", "--yes", "--json").document["current"] is None
            assert given("db", "status", "--json", code=4).document["ready"] is False
            refused = given("ps", code=4)
            assert "flowforge db upgrade" in refused.err
            assert given("db", "upgrade", "--json").document["current"] == HEAD
            given("ps")
            given("db", "downgrade", "base", "--yes")
            # The embedded database is brought up to date by whoever needs it.
            shell("ps")
        finally:
            assert set(shell("down", "--json").document["stopped"]) == {"postgres", "valkey"}
        assert shell("status", "--json").document["ready"] is False
        assert "nothing was running" in shell("down").err


def test_the_sql_of_the_schema_is_printed_without_a_database(flowforge: Shell):
    """For those who let nobody else run it."""
    printed = flowforge.within(FLOWFORGE_HOME="/dev/null/nowhere")("db", "upgrade", "--sql").out
    assert printed.startswith("CREATE SCHEMA IF NOT EXISTS flowforge;")
    assert "CREATE TABLE runs" in printed


def test_servers_that_are_not_there_are_exit_code_four(flowforge: Shell):
    """The message says which one and what to look at; passwords are never shown."""
    nowhere = "postgresql://ada:s3cret@127.0.0.1:9/x"
    away = flowforge.within(FLOWFORGE_DATABASE_URL=nowhere, FLOWFORGE_REDIS_URL="redis://:s3cret@127.0.0.1:9/0")
    for words in (["ps"], ["status"], ["db", "status"], ["run", "abc"]):
        done = away(*words, code=4)
        assert "Postgres cannot be reached" in done.err
        assert "s3cret" not in done.err + done.out
    assert "s3cret" not in away("config", "show").out
    assert "s3cret" not in away("config", "show", "--json").out
    unwritable = flowforge.within(FLOWFORGE_HOME="/dev/null/nowhere")("ps", code=4)
    assert "cannot use the home" in unwritable.err


def test_a_setting_that_makes_no_sense_names_its_source(flowforge: Shell):
    """Exit code 2, and where to look."""
    done = flowforge.within(FLOWFORGE_LEASE="soon")("ps", code=2)
    assert "FLOWFORGE_LEASE" in done.err
    flowforge.write("flowforge.toml", "[profile.prod]\nlease = '9s'\n")
    assert flowforge("config", "show", "--json", "--profile", "prod").document["settings"]["lease"]["value"] == "9.0s"
    assert "has a profile 'test'" in flowforge("ps", "--profile", "test", code=2).err


def test_a_reader_that_has_seen_enough_is_no_error(flowforge: Shell):
    """As in `flowforge ... | head -1`."""
    with flowforge.running("workflow", "schema") as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.wait(60) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""
