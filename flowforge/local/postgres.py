"""The database server: how Postgres is started on its data folder, and when it is ready.

A Postgres only ever starts on a data folder of its own major version, and never beside another one.
"""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from flowforge.errors import ServerStartError
from flowforge.local.process import Facts, Process, facts
from flowforge.local.server import Server
from flowforge.local.sockets import ask

if TYPE_CHECKING:  # whoever only verifies a running server pays for nothing else
    from flowforge.local.binaries import Program
    from flowforge.local.launch import Log


#: The first major whose programs never leave the working folder they are started in.
_STAYS_INSIDE = 16


def _needs(program: Path) -> list[Path]:
    """The folders the programs need: their installation, and the libraries that a wheel puts beside its package."""
    installation = program.parent.parent
    bundled = installation.parent.with_name(f"{installation.parent.name}.libs")
    return [installation, bundled] if bundled.is_dir() else [installation]


class Postgres(Server):
    """PostgreSQL 14 or later."""

    name: ClassVar[str] = "postgres"
    title: ClassVar[str] = "PostgreSQL"
    # Fast shutdown, then immediate: that one is a crash on purpose, and recovers. Never SIGKILL: it leaves orphans.
    stop_signals = ((signal.SIGINT, 60.0), (signal.SIGQUIT, 10.0))

    @property
    def socket(self) -> Path:
        """The socket in the home's socket folder, under the name that libpq looks for."""
        return self.sockets / ".s.PGSQL.5432"

    @property
    def url(self) -> str:
        """The URL for libpq and psycopg."""
        return f"postgresql://flowforge@/flowforge?host={self.sockets}"

    def ready(self, process: Process) -> bool:
        """Whether the postmaster has written that it is ready, and listens."""
        lines = self._pid_file()
        return lines[:1] == [str(process.pid)] and lines[7:8] == ["ready"] and ask(self.socket) is not None

    def _pid_file(self) -> list[str]:
        try:
            return [line.strip() for line in (self.data / "postmaster.pid").read_text().splitlines()]
        except OSError:
            return []

    def is_family(self, found: Facts) -> bool:
        """The postmaster and its children keep the program's name."""
        return found.program == "postgres"

    def is_main(self, found: Facts) -> bool:
        """Children replace their arguments with a title."""
        return f"cluster_name={self.home.marker}" in found.command

    def prepare(self, lock: int, log: Log) -> tuple[list[str], str]:
        """Create the data folder if need be, else find the programs of its version."""
        from flowforge.local.cluster import check_room
        from flowforge.local.postgres_settings import postgres_settings

        program = self._program()
        self._check_reach(program)
        if not self.data.exists():
            check_room(self.home)
            self._create(program, lock, log)
        settings = {
            **postgres_settings(program, self.data),
            "unix_socket_directories": str(self.sockets),
            "cluster_name": self.home.marker,  # how the process and its children are recognised
            **self.settings,
        }
        arguments = [part for key, value in settings.items() for part in ("-c", f"{key}={value}")]
        return [str(program.path), "-D", self.account.seen_from(self.data), *arguments], program.version

    def _check_reach(self, program: Program) -> None:
        """Older programs leave their working folder for a moment and return by path: a closed home is no good."""
        if program.major < _STAYS_INSIDE and not self.account.reaches(self.home.path):
            raise ServerStartError(
                f"PostgreSQL {program.version} cannot start in {self.data}: a folder above it is closed to"
                f" user id {self.account.uid}, which it runs as",
                hint='pip install "flowforge[local]" for a newer one, or set FLOWFORGE_HOME to an open folder, '
                "e.g. /var/lib/flowforge",
            )

    def _program(self) -> Program:
        from flowforge.local.binaries import Program, find_postgres
        from flowforge.local.reach import within_reach

        major = self._data_major()
        try:
            program = find_postgres(major)
        except ServerStartError as error:
            if major is None:
                raise
            raise ServerStartError(
                f"PostgreSQL cannot start in {self.data}: {error.message}",
                hint=f"install PostgreSQL {major}, or set FLOWFORGE_HOME to another folder to begin afresh",
            ) from error
        return Program(within_reach(program.path, self.account, _needs(program.path)), program.version)

    def _data_major(self) -> int | None:
        if not self.data.exists():
            return None
        try:
            return int((self.data / "PG_VERSION").read_text())
        except (OSError, ValueError) as error:
            raise ServerStartError(
                f"{self.data} is not a PostgreSQL data folder (no readable PG_VERSION)",
                hint="if nothing in it is needed, remove it; otherwise restore it from a backup",
            ) from error

    def _create(self, program: Program, lock: int, log: Log) -> None:
        from flowforge.local.cluster import InitFailed, create_cluster

        sync = self.settings.get("fsync", "on") == "on"
        try:
            create_cluster(self.home, program, self.account, lock=lock, sync=sync)
        except InitFailed as error:
            log.note(str(error))
            raise self.failure(f"cannot create a PostgreSQL data folder in {self.home.path}", str(error)) from error

    def remove_leftovers(self) -> None:
        """Remove the pid file of a killed predecessor.

        Postgres would do so itself, but not if the number now belongs to an unrelated process of its user, nor if
        the predecessor is a zombie that nobody buries (a container whose first process is no init). The tenancy
        lock says that no Postgres of ours lives. One that was started by hand on this folder does not hold it, so
        the pid file of a living Postgres that is none of ours is left for Postgres itself to judge.
        """
        lines = self._pid_file()
        found = facts(int(lines[0])) if lines and lines[0].isdigit() else None
        if found is None or found.program != "postgres" or "ff-" in found.command:
            (self.data / "postmaster.pid").unlink(missing_ok=True)
        self.socket.with_name(self.socket.name + ".lock").unlink(missing_ok=True)
        super().remove_leftovers()
