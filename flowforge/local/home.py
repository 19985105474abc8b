"""The home: one folder that holds everything two local servers need, and the name they are recognised by.

Two homes, or two users with the same home path, never share a lock, a socket, a data folder or a name: all of
them derive from the folder's real path and the user's id.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from flowforge.errors import ServerStartError


@dataclass(frozen=True, init=False)
class Home:
    """A folder for local servers; `Home(path)` touches nothing on disk."""

    #: Absolute, without symbolic links: two spellings of one folder are one home.
    path: Path

    def __init__(self, path: str | os.PathLike[str]) -> None:
        object.__setattr__(self, "path", Path(os.path.realpath(Path(path).expanduser())))

    @cached_property
    def marker(self) -> str:
        """The name that stands in the command line of this home's servers."""
        uid = os.geteuid()
        digest = hashlib.sha256(f"{uid}:{self.path}".encode(errors="surrogateescape")).hexdigest()
        return f"ff-{uid}-{digest[:10]}"

    def data(self, server: str) -> Path:
        """The data folder of *server*."""
        return self.path / server

    def log(self, server: str) -> Path:
        """The log file of *server*."""
        return self.path / "log" / f"{server}.log"

    def record(self, server: str) -> Path:
        """The file that says which process *server* is."""
        return self.path / f"{server}.json"

    def tenancy(self, server: str) -> Path:
        """The file whose lock *server* and all its children inherit and hold while they live."""
        return self.path / f"{server}.alive"

    def prepare(self) -> None:
        """Create the folder, or check that it is ours and ours alone to write to."""
        # As root the servers run as somebody else, who has to pass through; the data folders are 0700 anyway.
        mode = 0o755 if os.geteuid() == 0 else 0o700
        try:
            if not self.path.is_dir():
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self.path.mkdir(exist_ok=True)
                self.path.chmod(mode)
            self._check_owner()
            (self.path / "log").mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise self._unusable(error) from error

    def _check_owner(self) -> None:
        found = self.path.stat()
        if found.st_uid != os.geteuid():
            raise ServerStartError(
                f"the home {self.path} belongs to user id {found.st_uid}, not to you ({os.geteuid()})",
                hint="run as its owner, or set FLOWFORGE_HOME to a folder of your own",
            )
        if found.st_mode & stat.S_IWOTH:
            raise ServerStartError(
                f"the home {self.path} is writable by every user of this machine",
                hint=f"chmod o-w {self.path}",
            )

    def _unusable(self, error: OSError) -> ServerStartError:
        where = f" ({error.filename})" if error.filename and str(error.filename) != str(self.path) else ""
        return ServerStartError(
            f"cannot use the home {self.path}: {error.strerror or error}{where}",
            hint="make it a folder you may write to with room to spare, or set FLOWFORGE_HOME to another one",
        )

    @contextmanager
    def locked(self, timeout: float) -> Iterator[int]:
        """Hold the home's lock; yields its descriptor, so that a child may keep the lock as long as it lives."""
        path = self.path / "lock"
        deadline = time.monotonic() + timeout
        while True:
            try:
                fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            except OSError as error:
                raise self._unusable(error) from error
            try:
                if _acquired(fd, path):
                    yield fd
                    return
            finally:
                os.close(fd)
            if time.monotonic() > deadline:
                raise ServerStartError(
                    f"another process has been starting or stopping the servers of {self.path} for {timeout:.0f} s",
                    hint=f"see who holds it: fuser {path}",
                )
            time.sleep(0.02)


def _acquired(fd: int, path: Path) -> bool:
    if not lock_now(fd):
        return False
    # Whoever held it may have removed the whole home meanwhile: then we hold a lock that nobody else can see.
    try:
        return os.path.samestat(os.fstat(fd), path.stat())
    except FileNotFoundError:
        return False


def lock_now(fd: int) -> bool:
    """Take the lock of an open file if it is free."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def default_home() -> Home:
    """The home of this user: FLOWFORGE_HOME, or /var/lib/flowforge for root, or the user's data folder."""
    if chosen := os.environ.get("FLOWFORGE_HOME"):
        return Home(chosen)
    if os.geteuid() == 0:
        return Home("/var/lib/flowforge")
    from platformdirs import user_data_path

    return Home(user_data_path("flowforge"))
