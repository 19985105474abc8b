"""Creating a Postgres data folder: it appears under its name complete, on disk and with its database, or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from flowforge.errors import ServerStartError
from flowforge.local.account import Account
from flowforge.local.binaries import Program
from flowforge.local.home import Home
from flowforge.local.launch import run

#: Bytes that a new data folder takes, with room for its first WAL.
ROOM = 96 * 1024 * 1024

_UNFINISHED = "postgres.new-"


class InitFailed(Exception):
    """A step of the creation failed; the message is what it said."""


def create_cluster(home: Home, program: Program, account: Account, *, lock: int, sync: bool) -> None:
    """Create the data folder of *home* with the superuser and database `flowforge`.

    The children inherit *lock*: if we are killed, the home stays locked until they are gone too.
    """
    for left in home.path.glob(f"{_UNFINISHED}*"):
        shutil.rmtree(left, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=home.path))
    try:
        account.own(folder)
        _initialise(folder, program, account, lock=lock, sync=sync)
        folder.rename(home.data("postgres"))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    _sync_folder(home.path)


def _initialise(folder: Path, program: Program, account: Account, *, lock: int, sync: bool) -> None:
    initdb = str(program.path.with_name("initdb"))
    here = account.seen_from(folder)

    def step(*argv: str, text: str = "") -> None:
        done = run(argv, account=account, cwd=folder, keep=lock, text=text)
        if done.returncode != 0:
            raise InitFailed(done.stderr)

    step(
        initdb,
        f"--pgdata={here}",
        "--username=flowforge",
        # Whoever reaches the socket may be anyone: its folder is 0700, so that is its owner or root. Root's client
        # connects to a server of another user id, where `peer` would need a map. Over TCP nobody connects at all.
        "--auth-local=trust",
        "--auth-host=reject",
        # Byte order: the fastest comparisons, and indexes that no change of the system's libc can corrupt.
        "--locale=C",
        "--encoding=UTF8",
        "--data-checksums",
        "--no-sync",  # once, at the end
        "--no-instructions",
    )
    # Without a server and before the rename: there never is a data folder without its database.
    step(str(program.path), "--single", "-F", "-D", here, "postgres", text="CREATE DATABASE flowforge;\n")
    if sync:
        step(initdb, "--sync-only", f"--pgdata={here}")


def _sync_folder(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def check_room(home: Home) -> None:
    """Refuse to begin on a disk that cannot hold a new data folder."""
    free = shutil.disk_usage(home.path).free
    if free < ROOM:
        raise ServerStartError(
            f"PostgreSQL cannot start: no space left on the disk of {home.path} ({free // 2**20} MB free)",
            hint="make room (a new home needs about 100 MB), or set FLOWFORGE_HOME to a folder on another disk",
        )
