"""The machine, and the versions of everything that is compared on it."""

from __future__ import annotations

import os
import platform
import shutil
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

#: Distributions whose versions decide what was measured.
PACKAGES = ("dbos", "celery", "kombu", "redis", "hiredis", "psycopg", "sqlalchemy")


def machine(folder: Path) -> dict[str, Any]:
    """Describe the machine that the servers of a folder run on."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "virtual": "hypervisor" in _read("/proc/cpuinfo"),
        "system": platform.platform(),
        "file_system": _file_system(folder),
        "free_gib": round(shutil.disk_usage(folder).free / 2**30),
    }


def versions() -> dict[str, str]:
    """Return the versions of the Python side."""
    from flowforge.version import __version__

    found = {"flowforge": __version__, "python": platform.python_version()}
    for name in PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def _processor() -> str:
    lines = (line.partition(":")[2].strip() for line in _read("/proc/cpuinfo").splitlines() if "model name" in line)
    return next(lines, platform.processor() or platform.machine())


def _file_system(folder: Path) -> str:
    """Return the type of the file system that a folder lies on."""
    mounts = [line.split() for line in _read("/proc/mounts").splitlines()]
    above = [(len(words[1]), words[2]) for words in mounts if folder.is_relative_to(words[1])]
    return max(above, default=(0, "unknown"))[1]


def _read(path: str) -> str:
    with suppress(OSError):
        return Path(path).read_text(encoding="utf-8", errors="replace")
    return ""
