"""Starting programs: daemons that outlive whoever started them, and short helpers; their logs.

A daemon has its own session, no terminal and none of our descriptors except those handed to it on purpose, and
it is nobody's child, so neither Ctrl-C nor the death of its starter reaches it.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from flowforge.errors import ServerStartError
from flowforge.local.account import Account
from flowforge.local.process import Process, facts

#: A log beyond this size is put aside (one generation) when its server starts.
LOG_LIMIT = 4 * 1024 * 1024

#: A shell is the cheapest double fork: it starts the server in the background, says its id and is gone.
_DAEMON = '"$@" </dev/null >&2 & echo $!'


@dataclass(frozen=True, slots=True)
class Log:
    """A log file and where in it the present start begins."""

    path: Path
    offset: int

    @classmethod
    def begin(cls, path: Path) -> Log:
        """Rotate the log at *path* if it has grown large."""
        if path.exists() and path.stat().st_size > LOG_LIMIT:
            path.replace(path.with_suffix(".log.1"))
        return cls(path, path.stat().st_size if path.exists() else 0)

    def open(self) -> int:
        """Open for appending; whoever inherits the descriptor needs no access to the folder."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        return os.open(self.path, flags, 0o600)

    def note(self, text: str) -> None:
        """Add what a helper said; on a full disk it is said in the error only."""
        with contextlib.suppress(OSError), open(self.open(), "ab") as file:  # noqa: PTH123  (a descriptor)
            file.write(text.encode())

    def tail(self) -> str:
        """The end of what was written since the start."""
        try:
            with self.path.open("rb") as file:
                file.seek(max(self.offset, self.path.stat().st_size - 16_384))
                return file.read().decode(errors="replace")
        except FileNotFoundError:
            return ""


def environment() -> dict[str, str]:
    """The servers' environment: nothing of ours (PGDATA, PGOPTIONS, LC_*) may leak into a daemon or an initdb."""
    kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
    return {"PATH": os.defpath, **kept, "LC_ALL": "C", "TZ": "UTC"}


def daemon(argv: Sequence[str], *, account: Account, cwd: Path, log: Log, keep: int) -> Process:
    """Start *argv* as a daemon in *cwd* that inherits the descriptor *keep*."""
    errors = log.open()
    try:
        done = run(["/bin/sh", "-c", _DAEMON, "sh", *argv], account=account, cwd=cwd, keep=keep, errors=errors)
    finally:
        os.close(errors)
    pid = int(done.stdout)
    found = facts(pid)
    # Dead already: its id says enough, the caller reads the log.
    return found.process if found else Process(pid, "")


def run(
    argv: Sequence[str],
    *,
    account: Account,
    cwd: Path,
    keep: int,
    errors: int = subprocess.PIPE,
    text: str = "",
) -> subprocess.CompletedProcess[str]:
    """Run *argv* as *account* in *cwd* in its own session, with *text* as input; it inherits *keep*."""
    foreign = account.foreign
    try:
        return subprocess.run(
            argv,
            input=text,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            check=False,
            cwd=cwd,  # entered before the change of user
            env=environment(),
            umask=0o077,
            start_new_session=True,
            pass_fds=(keep,),
            user=account.uid if foreign else None,
            group=account.gid if foreign else None,
            extra_groups=[] if foreign else None,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise ServerStartError(
            f"cannot run {argv[0]} as user id {account.uid}: {error}",
            hint="run as an unprivileged user, or set FLOWFORGE_DATABASE_URL and FLOWFORGE_REDIS_URL",
        ) from error
