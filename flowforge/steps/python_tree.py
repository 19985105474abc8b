"""The processes that a child process has started, however well they hid, and their end.

They are found three ways: as descendants, by the child's session, and by a mark in their environment, which stays
when a process detaches and changes its session. The mark also names the worker, so that what a dead worker left
behind can be told from what a living one still uses.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from flowforge.local.process import PROC, Process, alive, facts, send

VARIABLE = "FLOWFORGE_CHILD"

#: Rounds of looking and killing: processes may start others while they die.
_ROUNDS = 50
_PAUSE = 0.02


@dataclass(frozen=True, slots=True)
class _Entry:
    process: Process
    parent: int
    session: int


def mark(number: int) -> str:
    """Return a mark for a child of this worker."""
    own = facts(os.getpid())
    started = own.process.started if own is not None else "0"
    return f"{_namespace()}/{os.getpid()}/{started}/{number}"


def members(leader: int, marked: str) -> set[Process]:
    """Return the living processes that belong to the child *leader*, itself included."""
    entries = list(_entries())
    by_parent: dict[int, list[_Entry]] = {}
    for entry in entries:
        by_parent.setdefault(entry.parent, []).append(entry)
    found = {entry.process for entry in entries if entry.session == leader or _mark_of(entry.process.pid) == marked}
    waiting = [leader, *(process.pid for process in found)]
    seen = set(waiting)
    while waiting:
        for entry in by_parent.get(waiting.pop(), ()):
            found.add(entry.process)
            if entry.process.pid not in seen:
                seen.add(entry.process.pid)
                waiting.append(entry.process.pid)
    return found


def kill(leader: int, marked: str, known: set[Process]) -> int:
    """Kill all that belong to *leader*, and those of *known* that still live; return how many are left. Blocks."""
    left: set[Process] = set()
    for _ in range(_ROUNDS):
        left = members(leader, marked) | {process for process in known if alive(process)}
        if not left:
            return 0
        for process in left:
            with contextlib.suppress(PermissionError):
                send(process, signal.SIGKILL)
        time.sleep(_PAUSE)
    return len(left)


def has_children(pid: int) -> bool:
    """Say whether a process has children; quick, and False where the system does not tell."""
    try:
        return any((thread / "children").read_bytes() for thread in (PROC / str(pid) / "task").iterdir())
    except OSError:
        return False


def sweep() -> int:
    """Kill what children of dead workers have left behind on this machine; return how many. Blocks."""
    swept = 0
    for entry in _entries():
        fields = (_mark_of(entry.process.pid) or "").split("/")
        if len(fields) != 4 or fields[0] != _namespace() or not fields[1].isdigit():  # noqa: PLR2004 - as mark() writes
            continue
        if not alive(Process(int(fields[1]), fields[2])):
            with contextlib.suppress(PermissionError):
                send(entry.process, signal.SIGKILL)
                swept += 1
    return swept


def _entries() -> Iterator[_Entry]:
    """Yield the living processes, without zombies."""
    try:
        pids = [entry.name for entry in PROC.iterdir() if entry.name.isdigit()]
    except OSError:  # no /proc: only the process group can be signalled
        return
    for pid in pids:
        with contextlib.suppress(OSError, IndexError, ValueError):
            fields = Path(PROC, pid, "stat").read_text(errors="replace").rpartition(")")[2].split()
            if fields[0] not in "ZX":
                yield _Entry(Process(int(pid), fields[19]), parent=int(fields[1]), session=int(fields[3]))


def _mark_of(pid: int) -> str | None:
    try:
        environment = Path(PROC, str(pid), "environ").read_bytes()
    except OSError:
        return None
    start = f"{VARIABLE}=".encode()
    for setting in environment.split(b"\0"):
        if setting.startswith(start):
            return setting[len(start) :].decode(errors="replace")
    return None


def _namespace() -> str:
    """Name the process-id namespace: ids in marks mean nothing in another one."""
    try:
        return "".join(filter(str.isdigit, str(Path("/proc/self/ns/pid").readlink()))) or "0"
    except OSError:
        return "0"
