"""What families of processes cost: their processor time, and the memory of each, as the kernel counts them.

A family is a process, the descendants that live, and those that ended and were buried by it; so a sum never shrinks
while its head lives, and the difference of two readings is what happened between them.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
#: Fields of /proc/PID/stat, counted from the one after the name.
_PARENT, _TIMES, _RESIDENT = 1, slice(11, 15), 21


@dataclass(frozen=True, slots=True)
class Usage:
    """What one process has used so far."""

    parent: int
    #: Seconds of processor time, without and with the children that it has buried.
    own: float
    buried: float
    resident_mb: float


def available() -> bool:
    """Whether this system tells."""
    return (PROC / "self" / "stat").exists()


def usage(pid: int) -> Usage | None:
    """Return what a process has used; None if it is gone."""
    try:
        # The name in parentheses may hold blanks and parentheses itself: fields count from the last one.
        fields = (PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    tick, page = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
    user, system, buried_user, buried_system = (int(field) / tick for field in fields[_TIMES])
    resident = int(fields[_RESIDENT]) * page / 1e6
    return Usage(int(fields[_PARENT]), user + system, buried_user + buried_system, resident)


def everyone() -> dict[int, Usage]:
    """Return what every process has used."""
    pids = (int(entry.name) for entry in PROC.iterdir() if entry.name.isdigit())
    return {pid: found for pid in pids if (found := usage(pid)) is not None}


def family_seconds(heads: Iterable[int], processes: Mapping[int, Usage]) -> float:
    """Return the processor time of the families of some processes."""
    children: dict[int, list[int]] = {}
    for pid, one in processes.items():
        children.setdefault(one.parent, []).append(pid)
    total, pending = 0.0, [pid for pid in heads if pid in processes]
    while pending:
        pid = pending.pop()
        total += processes[pid].own + processes[pid].buried
        pending += children.get(pid, [])
    return total


def resident_mb(pids: Iterable[int]) -> list[float]:
    """Return the memory of each process that lives, in megabytes."""
    return [found.resident_mb for pid in pids if (found := usage(pid)) is not None]


@dataclass(frozen=True, slots=True)
class Meter:
    """Reads the processor time of several roles at once."""

    #: The heads of the families of each role.
    roles: Mapping[str, tuple[int, ...]]

    def read(self) -> dict[str, float]:
        """Return the seconds each role has used so far."""
        processes = everyone()
        return {role: family_seconds(heads, processes) for role, heads in self.roles.items()}
