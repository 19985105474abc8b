"""Socket folders are short, plain and the same for every client of a home."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from flowforge.local import Home
from flowforge.local.sockets import ask, socket_folder


@pytest.fixture
def as_user(monkeypatch):
    """Pretend to be an ordinary user."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)


@pytest.mark.parametrize("path", ["/home/ada/.local/share/flowforge", "/srv/f"])
def test_a_short_plain_home_holds_its_sockets_itself(as_user, path):
    """No cleaner of temporary files looks there, and no other user can have been there first."""
    assert socket_folder(Home(path)) == Path(path) / "run"


@pytest.mark.parametrize("path", ["/home/" + "d" * 200, "/a,b", "/a b", "/a%20b", "/ä", "/a?b", "/a&b", "/a:b"])
def test_any_other_home_has_a_short_folder_of_its_own(as_user, path):
    """libpq splits at commas, URLs quote, the kernel takes 107 bytes."""
    assert socket_folder(Home(path)) == Path("/tmp") / Home(path).marker


@pytest.mark.parametrize("uid", [0, 1000, 2**32 - 2])
@pytest.mark.parametrize("depth", range(60, 120))
def test_a_socket_path_always_fits(monkeypatch, uid, depth):
    """103 bytes, the least of all kernels we run on."""
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    home = Home("/" + "d" * depth)
    assert len(str(socket_folder(home) / ".s.PGSQL.5432")) <= 103


def test_the_environment_does_not_decide(as_user, monkeypatch):
    """A client in a terminal and one in a cron job find the same servers."""
    home = Home("/home/" + "d" * 200)
    before = socket_folder(home)
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/1000")
    monkeypatch.setenv("TMPDIR", "/somewhere/else")
    assert socket_folder(home) == before


def test_asking_where_nobody_listens_is_no_error(tmp_path):
    """It is the normal state of a home that is down."""
    assert ask(tmp_path / "none.sock", b"PING\r\n") is None
