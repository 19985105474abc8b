"""How quiet the machine was: fixed work and fixed writes around every measure, and what others used meanwhile.

A figure is distrusted for what can be seen from outside of it, never for its value.
"""

from __future__ import annotations

import hashlib
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

#: Megabytes that are hashed, and writes that are synced, for one calibration.
WORK, REPEATS, WRITES = 32, 3, 24
#: From where on a machine is called noisy: its work and its disk against their best of the day, the share that the
#: hypervisor took, the share that strangers used, and how far repetitions lay apart.
SLOW_CPU, SLOW_DISK, STOLEN, FOREIGN, APART = 1.15, 2.0, 0.02, 0.12, 0.20
#: Milliseconds below which a sync is quick whatever its best was.
QUICK_SYNC = 2.0


@dataclass(frozen=True, slots=True)
class Calibration:
    """How long the fixed work and the fixed writes took."""

    cpu_ms: float
    fsync_ms: float


@dataclass(frozen=True, slots=True)
class Ticks:
    """What the machine's processors did so far, and what of it was ours, in seconds."""

    busy: float
    idle: float
    stolen: float
    ours: float


@dataclass(frozen=True, slots=True)
class Conditions:
    """What it was like while something was measured."""

    before: Calibration
    after: Calibration
    #: Shares of the whole machine.
    stolen: float
    foreign: float
    idle: float

    def document(self) -> dict[str, Any]:
        """Return the conditions as data."""
        return asdict(self)


def calibrate(folder: Path) -> Calibration:
    """Do the fixed work, and the fixed writes in a folder."""
    block = bytes(1024 * 1024)
    taken = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        digest = hashlib.sha256()
        for _ in range(WORK):
            digest.update(block)
        taken.append(time.perf_counter() - began)
    return Calibration(statistics.median(taken) * 1000, _fsync_ms(folder))


def _fsync_ms(folder: Path) -> float:
    taken = []
    with tempfile.TemporaryFile(dir=folder) as file:
        for _ in range(WRITES):
            began = time.perf_counter()
            os.pwrite(file.fileno(), bytes(8192), 0)
            os.fsync(file.fileno())
            taken.append(time.perf_counter() - began)
    return statistics.median(taken) * 1000


def ticks(server_seconds: Iterable[float]) -> Ticks:
    """Read the machine's clocks; *server_seconds* belong to us beside this process and the children it has buried."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    ours = sum(one.ru_utime + one.ru_stime for one in used) + sum(server_seconds)
    fields: list[float] = []
    with suppress(FileNotFoundError):
        line = Path("/proc/stat").read_text().splitlines()[0]
        fields = [int(field) / os.sysconf("SC_CLK_TCK") for field in line.split()[1:9]]
    user, nice, system, idle, wait, irq, soft, stolen = fields or [0.0] * 8
    return Ticks(user + nice + system + irq + soft, idle + wait, stolen, ours)


def conditions(calibrations: tuple[Calibration, Calibration], before: Ticks, after: Ticks) -> Conditions:
    """Return what it was like between two readings."""
    busy, idle = after.busy - before.busy, after.idle - before.idle
    stolen, ours = after.stolen - before.stolen, after.ours - before.ours
    total = max(busy + idle + stolen, 1e-9)
    return Conditions(*calibrations, stolen / total, max(0.0, busy - ours) / total, idle / total)


def best(every: Iterable[Conditions]) -> Calibration:
    """Return the best that the machine has shown."""
    seen = [one for each in every for one in (each.before, each.after)]
    return Calibration(min(one.cpu_ms for one in seen), min(one.fsync_ms for one in seen))


def doubts(found: Conditions, at_best: Calibration, spreads: Mapping[str, float | None]) -> list[str]:
    """Say why the figures of a measure are not to be trusted; nothing means that they are."""
    reasons = []
    slow = max(found.before.cpu_ms, found.after.cpu_ms) / at_best.cpu_ms
    if slow > SLOW_CPU:
        reasons.append(f"the processor took {slow:.2f} x its best time for a fixed piece of work")
    sync = max(found.before.fsync_ms, found.after.fsync_ms)
    if sync > QUICK_SYNC and sync / at_best.fsync_ms > SLOW_DISK:
        reasons.append(f"a synced write took {sync:.1f} ms, {sync / at_best.fsync_ms:.1f} x its best")
    if found.stolen > STOLEN:
        reasons.append(f"the hypervisor kept {found.stolen:.0%} of the machine to itself")
    if found.foreign > FOREIGN:
        reasons.append(f"other processes used {found.foreign:.0%} of the machine")
    for name, spread in spreads.items():
        if spread is not None and spread > APART:
            reasons.append(f"repetitions of {name} lay {spread:.0%} apart")
    return reasons
