"""Bringing a home's servers up and down: what a client sees when nothing goes wrong."""

from __future__ import annotations

import json
import os
import pty
import signal
from pathlib import Path

import psycopg
import pytest

from flowforge.local import down, status, supervisor, up
from flowforge.local.launch import LOG_LIMIT
from flowforge.local.process import everyone

UP = """
import json, sys
from flowforge.local import Home, up
at = up(Home(sys.argv[1]))
print(json.dumps([at.started, at.database_url, at.redis_url]), flush=True)
"""


def test_up_on_an_empty_home_starts_both_servers(home, query, valkey):
    """After the first `up` both servers answer at the URLs it returns."""
    at = up(home)
    assert at.started == ("postgres", "valkey")
    assert query(at, "SELECT current_user, current_database()") == [("flowforge", "flowforge")]
    assert valkey(at, "PING") == "+PONG\r\n"


async def test_the_urls_are_accepted_by_the_drivers_we_use(home):
    """psycopg's async connection and redis-py take the URLs as they are."""
    redis = pytest.importorskip("redis.asyncio", exc_type=ImportError)
    at = up(home)
    async with await psycopg.AsyncConnection.connect(at.database_url) as connection:
        await connection.execute("SELECT 1")
    client = redis.Redis.from_url(at.redis_url)
    assert await client.ping()
    await client.aclose()


def test_up_again_starts_nothing_and_costs_next_to_nothing(home, monkeypatch):
    """A running home is only verified: its lock is not taken, unless a server is too busy to answer at once."""
    first = up(home)
    start, locked = supervisor._start, list[int]()

    def counted(*how):
        locked.append(1)
        return start(*how)

    monkeypatch.setattr(supervisor, "_start", counted)
    again = [up(home) for _ in range(5)]
    assert all(at.started == () and at.database_url == first.database_url for at in again)
    assert len(locked) < len(again)


def test_down_stops_both_and_says_so_once(home):
    """The second `down` finds nothing to stop, and the socket folder is gone."""
    up(home)
    sockets = status(home).postgres.socket.parent
    assert down(home) == ("postgres", "valkey")
    assert not status(home).running
    assert not sockets.exists()
    assert down(home) == ()


def test_down_of_a_home_that_never_was_creates_nothing(home):
    """Asking leaves no trace on disk."""
    assert down(home) == ()
    assert not status(home).running
    assert not home.path.exists()


def test_down_and_up_keep_the_data(home, query, valkey):
    """What was written before `down` is there after the next `up`."""
    at = up(home)
    query(at, "CREATE TABLE kept AS SELECT 42 AS answer", fetch=False)
    valkey(at, "XADD kept 1-1 answer 42")
    down(home)
    at = up(home)
    assert query(at, "SELECT answer FROM kept") == [(42,)]
    assert valkey(at, "XLEN kept") == ":1\r\n"


def test_a_home_that_was_moved_while_down_still_works(home, make_home, query):
    """Nothing inside the home remembers where it lay."""
    query(up(home), "CREATE TABLE kept AS SELECT 42 AS answer", fetch=False)
    down(home)
    moved = make_home("moved")
    home.path.rename(moved.path)
    assert query(up(moved), "SELECT answer FROM kept") == [(42,)]


def test_status_describes_what_runs(home):
    """Process ids, versions and start times are those of the servers."""
    assert not status(home).running
    up(home)
    now = status(home)
    assert now.running
    for server in (now.postgres, now.valkey):
        assert server.pid in {found.process.pid for found in everyone()}
        assert int(str(server.version).split(".")[0]) >= 6
        assert server.since is not None
        assert server.since.tzinfo is not None
        assert all(path.exists() for path in (server.data, server.socket, server.log))


def test_servers_are_durable_by_default(home, query, valkey):
    """A commit and a stream entry survive a power cut as promised."""
    at = up(home)
    assert query(at, "SHOW fsync") == query(at, "SHOW synchronous_commit") == query(at, "SHOW full_page_writes")
    assert query(at, "SHOW fsync") == [("on",)]
    assert "\r\nyes\r\n" in valkey(at, "CONFIG GET appendonly")
    assert "\r\neverysec\r\n" in valkey(at, "CONFIG GET appendfsync")
    assert "\r\nnoeviction\r\n" in valkey(at, "CONFIG GET maxmemory-policy")


def test_a_caller_may_override_settings(home, query, valkey):
    """Tests trade durability for speed."""
    at = up(home, postgres={"fsync": "off"}, valkey={"appendfsync": "no"})
    assert query(at, "SHOW fsync") == [("off",)]
    assert "\r\nno\r\n" in valkey(at, "CONFIG GET appendfsync")


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="reads /proc/net")
def test_nothing_listens_on_the_network(home):
    """No socket of either server is a TCP or UDP one."""
    up(home)
    now = status(home)
    inodes = {
        line.split()[9]
        for table in ("tcp", "tcp6", "udp", "udp6")
        if (listed := Path("/proc/net") / table).exists()
        for line in listed.read_text().splitlines()[1:]
    }
    for pid in (now.postgres.pid, now.valkey.pid):
        links = [str(fd.readlink()) for fd in Path(f"/proc/{pid}/fd").iterdir()]
        held = {link.removeprefix("socket:[").rstrip("]") for link in links if link.startswith("socket:[")}
        assert held
        assert not held & inodes


def test_many_processes_may_call_up_at_once(home, start_client):
    """Each server is started by exactly one of them, and all get the same answer."""
    clients = [start_client(UP, str(home.path)) for _ in range(6)]
    answers = [json.loads(client.communicate(timeout=60)[0]) for client in clients]
    assert sorted(name for answer in answers for name in answer[0]) == ["postgres", "valkey"]
    assert len({tuple(answer[1:]) for answer in answers}) == 1


def test_two_homes_run_side_by_side(make_home, query):
    """Stopping one leaves the other alone."""
    one, two = make_home("one"), make_home("two")
    at_one, at_two = up(one), up(two)
    assert at_one.database_url != at_two.database_url
    query(at_one, "CREATE TABLE only_here ()", fetch=False)
    assert query(at_two, "SELECT to_regclass('only_here')") == [(None,)]
    down(one)
    assert status(two).running


def test_a_deep_home_has_sockets_with_a_short_path(make_home, query):
    """The kernel takes 107 bytes; the home may lie as deep as it likes."""
    deep = make_home("/".join(["d" * 60] * 5))
    at = up(deep)
    assert len(str(status(deep).postgres.socket)) <= 103
    assert query(at, "SELECT 1") == [(1,)]


def test_a_home_with_odd_characters_works(make_home, query):
    """Blanks, commas, quotes and percent signs mean something to libpq and to URLs."""
    at = up(make_home("it's a, 100% ödd?&home"))
    assert query(at, "SELECT 1") == [(1,)]


def test_servers_survive_their_starter_and_its_terminal(home, eventually):
    """The client is killed, its terminal closed; the servers live in sessions of their own."""
    pid, terminal = pty.fork()
    if pid == 0:  # the client, in a terminal of its own; it must never return into pytest
        try:
            up(home)
            signal.pause()
        finally:
            os._exit(1)
    eventually(lambda: status(home).running and up(home))
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    os.close(terminal)
    now = status(home)
    assert now.running
    for server in (now.postgres, now.valkey):
        assert server.pid is not None
        assert os.getsid(server.pid) not in (pid, os.getsid(0))
    assert up(home).started == ()


def test_a_large_log_is_put_aside_when_its_server_starts(home):
    """One old generation is kept; a log cannot eat the disk start after start."""
    up(home)
    down(home)
    log = status(home).valkey.log
    with log.open("ab") as file:
        file.truncate(LOG_LIMIT + 1)
    up(home)
    assert log.stat().st_size < LOG_LIMIT
    assert log.with_suffix(".log.1").stat().st_size > LOG_LIMIT


def test_the_data_is_readable_by_its_owner_only(home):
    """No other user can read data, sockets or logs."""
    up(home)
    now = status(home)
    folders = [now.postgres.data, now.valkey.data, now.postgres.socket.parent, now.postgres.log.parent]
    assert {oct(folder.stat().st_mode & 0o777) for folder in folders} == {"0o700"}
