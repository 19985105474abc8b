"""The folder of the Unix sockets: short enough for the kernel, and open to nobody else.

The servers trust whoever reaches their socket, so this folder's owner and mode are the whole authentication.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from flowforge.errors import ServerStartError
from flowforge.local.account import Account
from flowforge.local.home import Home

#: sun_path holds 107 bytes (macOS 103); the longest name below the folder is ".s.PGSQL.5432".
LONGEST = 88

_PRIVATE = 0o700

#: Its folders are checked before use, and refused if they are not ours.
_TMP = Path("/tmp")  # noqa: S108

#: libpq splits a host at commas and URLs quote the rest: a folder with other characters is simply not used.
_PLAIN = re.compile(r"[A-Za-z0-9/._+@-]+")


def socket_folder(home: Home) -> Path:
    """Where the sockets of *home* are: in the home itself if its path is short and plain, else a short name.

    The choice depends on the home and the user alone, never on an environment variable: two clients of one home
    must agree. (XDG_RUNTIME_DIR would also vanish at logout under servers that stay up.)
    """
    if os.geteuid() == 0:
        # Servers of another user cannot bind below a closed home; /run is root's own, so nobody can be there first.
        return (Path("/run") if _only_ours(Path("/run")) else _TMP) / home.marker
    inside = home.path / "run"
    if len(os.fsencode(inside)) <= LONGEST and _PLAIN.fullmatch(str(inside)):
        return inside
    return _TMP / home.marker


def _only_ours(folder: Path) -> bool:
    try:
        found = folder.stat()
    except OSError:
        return False
    return found.st_uid == 0 and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and os.access(folder, os.W_OK)


def prepare_sockets(folder: Path, account: Account) -> None:
    """Create *folder* for *account*, or refuse one that somebody else may have put there."""
    try:
        folder.mkdir(mode=_PRIVATE)
        account.own(folder)
    except FileExistsError:
        found = folder.lstat()
        private = stat.S_ISDIR(found.st_mode) and stat.S_IMODE(found.st_mode) == _PRIVATE
        if private and found.st_uid == 0 == os.geteuid():  # we were killed between the two lines above
            account.own(folder)
        elif not private or found.st_uid != account.uid:
            raise ServerStartError(
                f"the socket folder {folder} is not a private folder of user id {account.uid}",
                hint=f"somebody else may have put it there; look at it, then: rm -r {folder}",
            ) from None
    except OSError as error:
        raise ServerStartError(f"cannot create the socket folder {folder}: {error.strerror}") from error


def ask(path: Path, question: bytes = b"", timeout: float = 1.0) -> bytes | None:
    """Connect to the socket at *path* and return the first answer to *question*; None if nobody is there."""
    import socket

    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(timeout)
        try:
            client.connect(str(path))
            if not question:
                return b""
            client.sendall(question)
            return client.recv(512)
        except OSError:
            return None
