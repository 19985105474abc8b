"""Profiles: sections of the files, and where each value is said to come from."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from flowforge.errors import UsageError
from flowforge.settings import FILE, load


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a profile; nothing else says anything."""
    monkeypatch.setattr("flowforge.settings.user_config_path", lambda _: tmp_path / "user")
    for name in ("LEASE", "PROFILE", "CONCURRENCY"):
        monkeypatch.delenv(f"FLOWFORGE_{name}", raising=False)
    (tmp_path / FILE).write_text('lease = "40s"\nconcurrency = 3\n[profile.prod]\nlease = "50s"\n')
    return tmp_path


def test_a_profile_wins_over_its_file_and_is_named(folder: Path):
    """What it does not say comes from the file."""
    found = load({"profile": "prod"}, folder=folder)
    assert (found.settings.lease, found.settings.concurrency) == (timedelta(seconds=50), 3)
    assert found.sources["lease"] == f"{folder / FILE} [profile.prod]"
    assert found.sources["concurrency"] == str(folder / FILE)
    assert load(folder=folder).settings.lease == timedelta(seconds=40)


def test_a_profile_of_another_file_is_enough(folder: Path):
    """The user's file may have it where the project's has not."""
    (folder / "user").mkdir()
    (folder / "user" / FILE).write_text('[profile.mine]\nqueues = ["a"]\n')
    assert load({"profile": "mine"}, folder=folder).settings.queues == ("a",)


def test_a_profile_that_nobody_has_is_an_error(folder: Path):
    """Also where no file has any."""
    with pytest.raises(UsageError, match="has a profile 'nope'"):
        load({"profile": "nope"}, folder=folder)
    (folder / FILE).write_text("")
    with pytest.raises(UsageError, match="nope"):
        load({"profile": "nope"}, folder=folder)
