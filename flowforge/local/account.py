"""The account the servers run under, and what that account can reach.

Postgres refuses to run as root, so root's servers run as somebody unprivileged. That somebody owns the two data
folders and the socket folder and nothing else; no folder above them is ever opened to it.
"""

from __future__ import annotations

import os
import pwd
import stat
from dataclasses import dataclass
from pathlib import Path

from flowforge.errors import ServerStartError
from flowforge.local.home import Home

#: Who runs root's servers: an administrator who wants them apart from `nobody` creates the first.
SERVER_USERS = ("flowforge", "nobody")


@dataclass(frozen=True, slots=True)
class Account:
    """A user id and group id for a server process."""

    uid: int
    gid: int

    @property
    def foreign(self) -> bool:
        """Whether it is another user than the one who asks (so: we are root)."""
        return self.uid != os.geteuid()

    def own(self, folder: Path) -> None:
        """Give *folder*, which we have just created, to the account."""
        if self.foreign:
            os.chown(folder, self.uid, self.gid, follow_symlinks=False)

    def reaches(self, path: Path) -> bool:
        """Whether the account may pass every folder on the way to *path* and use *path* itself."""
        return not self.foreign or all(self._may_enter(part) for part in (path, *path.parents))

    def _may_enter(self, path: Path) -> bool:
        found = path.stat()
        if found.st_uid == self.uid:
            wanted = stat.S_IXUSR
        elif found.st_gid == self.gid:
            wanted = stat.S_IXGRP
        else:
            wanted = stat.S_IXOTH
        return bool(found.st_mode & wanted)

    def seen_from(self, folder: Path) -> str:
        """How the account names *folder* when it is its working folder.

        A home below a closed folder (/root, a test's temporary folder) cannot be reached by path. The server is
        put inside before it changes user, and /proc/self/cwd leads there without passing the folders above.
        """
        return str(folder) if self.reaches(folder) else "/proc/self/cwd"


def account_for(home: Home) -> Account:
    """Choose who runs the servers of *home*: ourselves, or, for root, who owns the data already or a nobody."""
    if os.geteuid() != 0:
        return Account(os.geteuid(), os.getegid())
    for server in ("postgres", "valkey"):
        try:
            found = home.data(server).stat()
        except OSError:
            continue
        if found.st_uid != 0:
            return Account(found.st_uid, found.st_gid)
    for name in SERVER_USERS:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(entry.pw_uid, entry.pw_gid)
    raise ServerStartError(
        "local servers cannot run as root, and this machine has no user 'flowforge' or 'nobody' to run them as",
        hint="create one: useradd --system flowforge",
    )
