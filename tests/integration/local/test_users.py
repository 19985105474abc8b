"""Who the servers run as, and that users stay apart."""

from __future__ import annotations

import importlib
import os
import pwd
import shutil
import tempfile
from pathlib import Path

import psycopg
import pytest

from flowforge.errors import ServerStartError
from flowforge.local import Home, binaries, down, reach, status, up
from flowforge.local.account import account_for
from flowforge.local.process import everyone

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")


def owner(server):
    """Whom the server's process belongs to."""
    return next(found.uid for found in everyone() if found.process.pid == server.pid)


def test_servers_never_run_as_root(home):
    """Root's servers belong to an unprivileged user who owns the data; a user's are the user's own."""
    up(home)
    now = status(home)
    expected = account_for(home).uid
    assert expected != 0
    for server in (now.postgres, now.valkey):
        assert owner(server) == expected
        assert server.data.stat().st_uid == expected


@needs_root
def test_a_home_below_a_closed_folder_works_and_opens_nothing(tmp_path, make_home, query):
    """The server's user cannot pass the folders above; they keep their modes, and the data stays in the home."""
    closed = tmp_path / "root"
    closed.mkdir(mode=0o700)
    home = make_home("root/home")
    above = {folder: folder.stat().st_mode for folder in home.path.parents}
    at = up(home)
    assert query(at, "SHOW data_directory") == [("/proc/self/cwd",)]
    assert (home.data("postgres") / "PG_VERSION").exists()
    assert {folder: folder.stat().st_mode for folder in above} == above


@needs_root
def test_an_old_postgres_in_a_closed_home_is_refused_with_the_way_out(tmp_path, make_home, monkeypatch):
    """Before 16 its programs cannot come back to a folder they cannot reach by path."""
    newest = binaries.find_postgres()
    monkeypatch.setattr(binaries, "find_postgres", lambda major: binaries.Program(newest.path, "15.18"))
    (tmp_path / "root").mkdir(mode=0o700)
    home = make_home("root/home")
    with pytest.raises(ServerStartError, match=r"PostgreSQL 15.18 cannot start in .* closed to user id") as caught:
        up(home)
    assert "/var/lib/flowforge" in str(caught.value.hint)
    assert not home.data("postgres").exists()


@needs_root
def test_programs_below_a_closed_folder_are_copied_to_where_they_can_run(tmp_path, home, query, monkeypatch):
    """Root's virtual environment often lies below /root; the copy is made once."""
    closed = tmp_path / "venv"
    closed.mkdir(mode=0o700)
    original = binaries.find_postgres().path.parent.parent
    copied = closed / original.parent.name / original.name
    shutil.copytree(original, copied, symlinks=True, ignore=shutil.ignore_patterns("*.a", "include"))
    libraries = original.parent.with_name(f"{original.parent.name}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, closed / libraries.name)
    monkeypatch.setattr(binaries, "_postgres_candidates", lambda: iter([copied / "bin/postgres"]))
    store = Path(tempfile.mkdtemp(prefix="ff-programs-"))
    store.chmod(0o755)
    monkeypatch.setattr(reach, "STORE", store)
    try:
        assert query(up(home), "SELECT 1") == [(1,)]
        down(home)
        copies = list(store.iterdir())
        up(home)
        assert list(store.iterdir()) == copies
        assert len(copies) == 1
        down(home)
    finally:
        shutil.rmtree(store)


@needs_root
def test_two_users_have_servers_of_their_own(home):
    """Neither sees, stops or can connect to the other's."""
    for name in ("subprocess", "shutil", "tempfile", "socket", "datetime", "flowforge.local.cluster"):
        importlib.import_module(name)  # the other user may be unable to read this interpreter's library
    mine = up(home)
    theirs = Path(tempfile.mkdtemp(prefix="ff-user-"))
    user = pwd.getpwnam("daemon")
    os.chown(theirs, user.pw_uid, user.pw_gid)
    try:
        pid = os.fork()
        if pid == 0:
            os._exit(_be_a_user(user, Home(theirs), mine.database_url))
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert status(home).running
    finally:
        shutil.rmtree(theirs)


def _be_a_user(user, home, other_url):
    """What the other user does; the exit code says how far it got."""
    try:
        os.setgroups([])
        os.setgid(user.pw_gid)
        os.setuid(user.pw_uid)
        if up(home).started != ("postgres", "valkey") or owner(status(home).postgres) != user.pw_uid:
            return 2
        try:
            psycopg.connect(other_url)
        except psycopg.OperationalError as error:
            if "Permission denied" not in str(error):
                return 3
        else:
            return 4
        return 0 if down(home) == ("postgres", "valkey") else 5
    except BaseException as error:  # noqa: BLE001  (a forked child must never return into pytest)
        print(repr(error), flush=True)
        return 1
