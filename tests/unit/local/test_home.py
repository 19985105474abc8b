"""A home is known by its real path and its user."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from flowforge.local import Home, default_home


def test_two_spellings_of_one_folder_are_one_home(tmp_path):
    """Symbolic links, dots and trailing slashes do not make a second home."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    spellings = ["real", "link", "real/", "link/../real", "./real/."]
    assert len({Home(f"{tmp_path}/{spelling}") for spelling in spellings}) == 1
    assert len({Home(f"{tmp_path}/{spelling}").marker for spelling in spellings}) == 1


def test_different_folders_and_users_have_different_names(tmp_path, monkeypatch):
    """The marker in a server's command line belongs to one home of one user."""
    mine, other = Home(tmp_path / "a").marker, Home(tmp_path / "b").marker
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    theirs = Home(tmp_path / "a").marker
    assert len({mine, other, theirs}) == 3
    assert theirs.startswith("ff-12345-")


def test_a_home_touches_nothing(tmp_path):
    """Naming a home does not create it."""
    assert not Home(tmp_path / "a").path.exists()


def test_a_home_cannot_be_changed(tmp_path):
    """It is a value: usable as a key, equal to its likes."""
    home = Home(tmp_path)
    with pytest.raises(AttributeError):
        setattr(home, "path", Path("/"))  # noqa: B010  (the type checker would not let it pass)


def test_the_default_home_is_the_environments(tmp_path, monkeypatch):
    """FLOWFORGE_HOME comes first, for root too."""
    monkeypatch.setenv("FLOWFORGE_HOME", str(tmp_path / "chosen"))
    assert default_home() == Home(tmp_path / "chosen")


def test_the_default_home_of_root_is_below_var_lib(monkeypatch):
    """Where the servers' own user can get to."""
    monkeypatch.delenv("FLOWFORGE_HOME", raising=False)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert default_home() == Home("/var/lib/flowforge")


def test_the_default_home_of_a_user_is_in_the_users_data_folder(monkeypatch, tmp_path):
    """As the platform has it."""
    monkeypatch.delenv("FLOWFORGE_HOME", raising=False)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_home().path.name == "flowforge"
    assert default_home().path.is_relative_to(tmp_path.resolve())
