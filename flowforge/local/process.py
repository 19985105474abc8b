"""Which process is which: a process is its id, its start time and its command line, never its id alone.

A process id found in a file may long belong to somebody else; nothing here takes one for a server, or signals
it, without having compared all three.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")

#: Words that `ps` prints before the command: state, user id, and the start as five words.
_PS_WORDS = 7


@dataclass(frozen=True, slots=True)
class Process:
    """One process of one boot of the machine."""

    pid: int
    #: Start time as the system writes it (Linux: clock ticks since boot); compared, never interpreted.
    started: str


@dataclass(frozen=True, slots=True)
class Facts:
    """What the system says of a living process."""

    process: Process
    uid: int
    command: str

    @property
    def program(self) -> str:
        """The file name of the program, or the title a server's child gave itself."""
        return self.command.split(" ", 1)[0].rpartition("/")[2].rstrip(":")


def facts(pid: int) -> Facts | None:
    """Look at the living process *pid*; None if there is none, or only a zombie nobody has buried."""
    if not (PROC / "self" / "stat").exists():
        return _facts_by_ps(pid)
    try:
        folder = PROC / str(pid)
        # The name in parentheses may hold blanks and parentheses itself: fields count from the last one.
        fields = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()
        status = (folder / "status").read_text(errors="replace")
        # cwd and exe would say more, but root in a container (no CAP_SYS_PTRACE) may not read them.
        command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="surrogateescape").strip()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None
    if fields[0] in "ZX":
        return None
    uid = next(line.split()[2] for line in status.splitlines() if line.startswith("Uid:"))
    return Facts(Process(pid, fields[19]), int(uid), command)


def _facts_by_ps(pid: int) -> Facts | None:
    """The same for systems without /proc."""
    words = _ps("-ww", "-o", "stat=,uid=,lstart=,command=", "-p", str(pid)).split()
    if len(words) <= _PS_WORDS or words[0].startswith("Z"):
        return None
    return Facts(Process(pid, " ".join(words[2:_PS_WORDS])), int(words[1]), " ".join(words[_PS_WORDS:]))


def _ps(*arguments: str) -> str:
    import subprocess

    return subprocess.run(["/bin/ps", *arguments], capture_output=True, text=True, check=False).stdout


def alive(process: Process) -> bool:
    """Whether this very process still runs."""
    found = facts(process.pid)
    return found is not None and found.process == process


def everyone() -> Iterator[Facts]:
    """All living processes."""
    if (PROC / "self" / "stat").exists():
        pids = [int(entry.name) for entry in PROC.iterdir() if entry.name.isdigit()]
    else:
        pids = [int(word) for word in _ps("-axo", "pid=").split()]
    return (found for pid in pids if (found := facts(pid)) is not None)


def send(process: Process, number: signal.Signals) -> None:
    """Signal *process*, and nobody who might have inherited its id in the meantime."""
    try:
        handle = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return
    except (AttributeError, OSError):  # not Linux, or a kernel without it: a window of microseconds remains
        _send_by_id(process, number)
        return
    try:
        if alive(process):
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(handle, number)
    finally:
        os.close(handle)


def _send_by_id(process: Process, number: signal.Signals) -> None:
    if alive(process):
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, number)
