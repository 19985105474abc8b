"""What the next `up` makes of whatever a crash has left behind."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import threading
import time

import psycopg
import pytest

from flowforge.errors import ServerStartError
from flowforge.local import down, server, status, up
from flowforge.local.account import account_for
from flowforge.local.process import everyone, facts

#: Creates a home, but never gives the new data folder its name.
UNFINISHED = """
import sys, time
from pathlib import Path
from flowforge.local import Home, up
rename = Path.rename
Path.rename = lambda path, to: time.sleep(600) if path.name.startswith("postgres.new-") else rename(path, to)
up(Home(sys.argv[1]))
"""


def kill(pid):
    """Kill without any chance to clean up, and wait until it has happened."""
    os.kill(pid, signal.SIGKILL)
    while facts(pid) is not None:
        time.sleep(0.001)


@pytest.fixture
def bystander(home):
    """An unrelated process of the very user that the servers run as."""
    account = account_for(home)
    user, group = (account.uid, account.gid) if account.foreign else (None, None)
    process = subprocess.Popen(["/bin/sleep", "600"], user=user, group=group)
    yield process
    process.kill()
    process.wait()


@pytest.mark.parametrize("name", ["postgres", "valkey"])
def test_a_killed_server_is_started_again(home, eventually, name):
    """Only the killed one is started; the other keeps its process."""
    up(home)
    before = status(home)
    kill(getattr(before, name).pid)
    eventually(lambda: not getattr(status(home), name).running)
    assert up(home).started == (name,)
    other = "valkey" if name == "postgres" else "postgres"
    assert getattr(status(home), other).pid == getattr(before, other).pid


def test_a_stream_server_that_says_nothing_keeps_nobody_from_postgres(home):
    """Stopped, not killed: nothing is started, nothing is waited for, and both are what they were when it goes on."""
    up(home)
    before = status(home)
    assert before.valkey.pid is not None
    os.kill(before.valkey.pid, signal.SIGSTOP)
    try:
        found = up(home, start_timeout=0.0)
        assert found.started == ()
        with psycopg.connect(found.database_url) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
    finally:
        os.kill(before.valkey.pid, signal.SIGCONT)
    assert up(home).started == ()
    assert status(home).valkey.pid == before.valkey.pid


@pytest.mark.parametrize("name", ["postgres", "valkey"])
def test_a_server_that_dies_while_it_is_being_verified_is_started_again(home, monkeypatch, name):
    """It was found alive, and is gone when it is asked whether it is ready."""
    up(home)
    victim = getattr(status(home), name).pid
    find = server.Server.find

    def find_then_kill(self):
        found = find(self)
        if self.name == name and found is not None and found.pid == victim:
            kill(victim)
        return found

    home.record(name).unlink()  # so that it takes more than a glance
    monkeypatch.setattr(server.Server, "find", find_then_kill)
    monkeypatch.setattr(server.Server, "adopt", lambda self, process: None)
    monkeypatch.setattr("flowforge.local.supervisor._SOCKET_PATIENCE", 0.5)
    assert up(home).started == (name,)


def test_committed_data_survives_the_death_of_both(home, query, valkey):
    """A crash of everything loses nothing that was answered."""
    at = up(home)
    query(at, "CREATE TABLE kept AS SELECT 42 AS answer", fetch=False)
    valkey(at, "XADD kept 1-1 answer 42")
    now = status(home)
    kill(now.postgres.pid)
    kill(now.valkey.pid)
    at = up(home)
    assert at.started == ("postgres", "valkey")
    assert query(at, "SELECT answer FROM kept") == [(42,)]
    assert valkey(at, "XLEN kept") == ":1\r\n"


@pytest.mark.parametrize("start_time", ["same", "other"])
def test_a_recorded_process_id_that_was_reused_is_not_taken_for_the_server(home, bystander, start_time):
    """Neither `up`, `status` nor `down` believes in a number, not even with a matching start time."""
    up(home)
    down(home)
    started = next(found.process.started for found in everyone() if found.process.pid == bystander.pid)
    record = {"pid": bystander.pid, "started": started if start_time == "same" else "1"}
    for name in ("postgres", "valkey"):
        home.record(name).write_text(json.dumps(record))
    assert not status(home).running
    assert down(home) == ()
    assert bystander.poll() is None
    assert up(home).started == ("postgres", "valkey")


def test_a_postmaster_pid_file_with_a_reused_id_does_not_stop_postgres(home, bystander, eventually):
    """Postgres itself would refuse: it sees a living process of its own user."""
    up(home)
    now = status(home).postgres
    kill(now.pid)
    eventually(lambda: not status(home).postgres.running)
    for file in (now.data / "postmaster.pid", now.socket.with_name(now.socket.name + ".lock")):
        lines = file.read_text().splitlines()
        assert lines[0] == str(now.pid)
        file.write_text("\n".join([str(bystander.pid), *lines[1:]]) + "\n")
    assert up(home).started == ("postgres",)
    assert bystander.poll() is None


@pytest.mark.parametrize("damage", ["", "not json", "[]", '{"pid": "x"}', '{"pid": -1, "started": "1"}'])
def test_a_damaged_record_is_as_good_as_none(home, damage):
    """The server is found by its name, and written down again."""
    up(home)
    before = status(home).postgres
    home.record("postgres").write_text(damage)
    assert up(home).started == ()
    after = status(home).postgres
    assert (after.pid, after.version) == (before.pid, before.version)


def test_servers_of_a_starter_that_was_killed_too_early_are_adopted(home):
    """A server whose process id nobody wrote down is found, kept and can be stopped."""
    up(home)
    before = status(home)
    for name in ("postgres", "valkey"):
        home.record(name).unlink()
    assert up(home).started == ()
    assert status(home).postgres.pid == before.postgres.pid
    home.record("valkey").unlink()
    assert down(home) == ("postgres", "valkey")


def test_a_busy_orphan_of_a_killed_postmaster_makes_way(home, eventually, monkeypatch):
    """A backend in the middle of a computation does not notice that its postmaster died, and holds the data."""
    monkeypatch.setattr(server, "_EVICTION", ((0.2, signal.SIGTERM), (5.0, signal.SIGKILL)))
    at = up(home)

    def compute():
        with psycopg.connect(at.database_url) as connection, pytest.raises(psycopg.OperationalError):
            connection.execute("DO $$ BEGIN LOOP END LOOP; END $$")

    client = threading.Thread(target=compute)
    client.start()
    orphan = eventually(lambda: [f for f in everyone() if home.marker in f.command and f.command.endswith(" DO")])[0]
    kill(status(home).postgres.pid)
    assert up(home).started == ("postgres",)
    assert facts(orphan.process.pid) is None
    client.join(60)
    assert not client.is_alive()


def test_an_orphan_that_hears_no_signal_is_killed(home, eventually, monkeypatch):
    """Without a postmaster its shared memory is nobody's, so SIGKILL harms nothing."""
    monkeypatch.setattr(server, "_EVICTION", ((0.1, signal.SIGTERM), (0.3, signal.SIGKILL)))
    up(home)
    title = f"postgres: {home.marker}: checkpointer"
    orphan = eventually(lambda: [f for f in everyone() if f.command.startswith(title)])[0]
    os.kill(orphan.process.pid, signal.SIGSTOP)
    kill(status(home).postgres.pid)
    assert up(home).started == ("postgres",)
    assert facts(orphan.process.pid) is None


def test_a_folder_in_use_by_processes_we_cannot_see_is_refused(home, monkeypatch):
    """A container that shares the folder holds the tenancy lock; two Postgres on one folder would ruin it."""
    monkeypatch.setattr(server, "_EVICTION_ENDS", 0.2)
    up(home)
    down(home)
    with home.tenancy("postgres").open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(ServerStartError, match="is in use by a PostgreSQL that was not started for this home"):
            up(home)
    assert up(home).started == ("postgres",)


def test_a_home_copied_while_its_servers_run_gets_its_own(home, make_home, query):
    """Records and pid files in the copy name the original's servers; they are not the copy's."""
    query(up(home), "CREATE TABLE only_here ()", fetch=False)
    down(home)
    original = status(home).postgres.data
    copy = make_home("copy")
    copy.path.mkdir(mode=0o755)
    for name in ("postgres", "valkey"):
        shutil.copytree(original.with_name(name), copy.data(name))
        for path in (copy.data(name), *copy.data(name).rglob("*")):
            shutil.chown(path, account_for(home).uid, account_for(home).gid)
    up(home)
    for name in ("postgres", "valkey"):
        shutil.copy(home.record(name), copy.record(name))
    shutil.copy(original / "postmaster.pid", copy.data("postgres"))
    assert up(copy).started == ("postgres", "valkey")
    assert down(copy) == ("postgres", "valkey")
    assert status(home).running


def test_an_interrupted_creation_is_begun_again(home, start_client, eventually, query):
    """Killed in the middle of initdb, the starter leaves nothing that the next one would take for a data folder."""
    client = start_client(UNFINISHED, str(home.path))
    eventually(lambda: list(home.path.glob("postgres.new-*/PG_VERSION")))
    kill(client.pid)
    client.wait()
    assert not home.data("postgres").exists()
    assert query(up(home), "SELECT 1") == [(1,)]
    assert not list(home.path.glob("postgres.new-*"))


def test_a_removed_socket_is_brought_back(home, monkeypatch, query, valkey):
    """A cleaner of temporary files took the sockets: the servers run, but nobody could ever reach them."""
    monkeypatch.setattr("flowforge.local.supervisor._SOCKET_PATIENCE", 0.1)
    up(home)
    now = status(home)
    now.postgres.socket.unlink()
    now.valkey.socket.unlink()
    at = up(home)
    assert at.started == ("postgres", "valkey")
    assert query(at, "SELECT 1") == [(1,)]
    assert valkey(at, "PING") == "+PONG\r\n"


def test_a_starter_that_dies_leaves_no_lock_behind(home, start_client, eventually):
    """The lock is the kernel's: it goes with the process that held it."""
    home.prepare()
    holder = start_client(
        "import sys, time\nfrom flowforge.local import Home\n"
        "with Home(sys.argv[1]).locked(1): print('held', flush=True); time.sleep(600)",
        str(home.path),
    )
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(ServerStartError, match="another process has been starting or stopping"):
        up(home, lock_timeout=0.1)
    kill(holder.pid)
    assert up(home).started == ("postgres", "valkey")
