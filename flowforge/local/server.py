"""One local server: found, started, waited for and stopped, whatever program it is.

A server's data folder is used by one process family at a time: whoever starts a server first takes the lock of
its tenancy file, the server and all its children inherit it, and the kernel gives it back when the last of them
is gone. It holds where process ids say nothing: for orphans, and for a container that shares the folder.

    find ─ recorded process, compared by id, start time and name; else a search by name (starter killed early)
      └─ none ─ occupy (orphans get time, then SIGTERM, then SIGKILL) ─ launch ─ record ─ await_ready
"""

from __future__ import annotations

import json
import os
import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from flowforge.errors import ServerStartError
from flowforge.local.account import Account
from flowforge.local.home import Home, lock_now
from flowforge.local.process import Facts, Process, alive, everyone, facts, send

if TYPE_CHECKING:  # whoever only verifies a running server pays for nothing else
    from flowforge.local.launch import Log

#: What is done about orphans that still hold a data folder, and after how many seconds.
_EVICTION = ((2.0, signal.SIGTERM), (5.0, signal.SIGKILL))
_EVICTION_ENDS = 10.0

#: Lines of the log that an error shows, and free bytes below which the disk is the reason.
_TAIL = 6
_FULL = 1024 * 1024


class Server(ABC):
    """A server of one home; subclasses say what to run and when it is ready."""

    name: ClassVar[str]
    title: ClassVar[str]
    #: Signals that stop it, gentlest first, each with the seconds it is given.
    stop_signals: ClassVar[Sequence[tuple[signal.Signals, float]]]

    def __init__(self, home: Home, account: Account, sockets: Path, settings: Mapping[str, str] | None = None) -> None:
        self.home = home
        self.account = account
        self.sockets = sockets
        self.settings = dict(settings or {})
        self.data = home.data(self.name)

    @property
    @abstractmethod
    def socket(self) -> Path:
        """The socket that clients connect to."""

    @abstractmethod
    def ready(self, process: Process) -> bool:
        """Whether the running *process* accepts clients now."""

    def stalled(self) -> bool:
        """Whether it runs and says nothing, and clients can do without it: they are not kept from what they can do."""
        return False

    @abstractmethod
    def prepare(self, lock: int, log: Log) -> tuple[list[str], str]:
        """Make the data folder fit to start in; returns the command line and the program's version."""

    @abstractmethod
    def is_family(self, found: Facts) -> bool:
        """Whether a process with our name is this server or a child of it."""

    @abstractmethod
    def is_main(self, found: Facts) -> bool:
        """Whether a member of the family is the server itself."""

    def remove_leftovers(self) -> None:
        """Remove what a killed predecessor left that would keep the next one from starting."""
        self.socket.unlink(missing_ok=True)

    # Found

    def recorded(self) -> dict[str, Any] | None:
        """What was written when the server was started, if that process still runs."""
        try:
            record: dict[str, Any] = json.loads(self.home.record(self.name).read_text())
            found = facts(record["pid"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
        if found is None or found.process.started != record.get("started") or not self._is_ours(found):
            return None
        return record

    def find(self) -> Process | None:
        """The running server, also when whoever started it was killed before it could write that down."""
        if record := self.recorded():
            return Process(record["pid"], record["started"])
        return next((found.process for found in self._family() if self.is_main(found)), None)

    def adopt(self, process: Process) -> None:
        """Write down a running server that nobody has."""
        from flowforge.local.binaries import identify

        found = facts(process.pid)
        program = identify(Path(found.command.split(" ", 1)[0])) if found else None
        self._write_record(process, program.version if program else None, 0)

    def _is_ours(self, found: Facts) -> bool:
        return found.uid == self.account.uid and self.home.marker in found.command and self.is_family(found)

    def _family(self) -> list[Facts]:
        return [found for found in everyone() if self._is_ours(found)]

    # Started

    def start(self, lock: int) -> Process:
        """Start the server under the home's *lock*; returns at once, before it is ready."""
        from flowforge.local.launch import Log, daemon

        log = Log.begin(self.home.log(self.name))
        tenancy = self._occupy()
        try:
            argv, version = self.prepare(lock, log)
            self.remove_leftovers()
            process = daemon(argv, account=self.account, cwd=self.data, log=log, keep=tenancy)
        finally:
            os.close(tenancy)
        self._write_record(process, version, log.offset)
        return process

    def _occupy(self) -> int:
        """Take the tenancy lock, seeing off what a killed server left behind."""
        path = self.home.tenancy(self.name)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        begun = time.monotonic()
        measures = list(_EVICTION)
        while True:
            if lock_now(fd):
                return fd
            waited = time.monotonic() - begun
            if measures and waited > measures[0][0]:
                number = measures.pop(0)[1]
                for orphan in self._family():
                    send(orphan.process, number)
            if waited > _EVICTION_ENDS:
                os.close(fd)
                raise ServerStartError(
                    f"{self.data} is in use by a {self.title} that was not started for this home",
                    hint="was the folder moved while it ran, or is it shared with another container? stop that one",
                )
            time.sleep(0.01)

    def _write_record(self, process: Process, version: str | None, log_offset: int) -> None:
        from datetime import UTC, datetime

        record = {
            "pid": process.pid,
            "started": process.started,
            "since": datetime.now(UTC).isoformat(timespec="seconds"),
            "version": version,
            "log_offset": log_offset,
        }
        path = self.home.record(self.name)
        unfinished = path.with_suffix(".tmp")
        unfinished.write_text(json.dumps(record))
        unfinished.replace(path)

    def await_ready(self, process: Process, timeout: float) -> bool:
        """Wait until *process* accepts clients; False if it dies instead, an error if it takes too long."""
        deadline = time.monotonic() + timeout
        pause = 0.002
        while not self.ready(process):
            if not alive(process):
                return False
            if time.monotonic() > deadline:
                # It is left alone: a recovery that is killed has to begin anew.
                raise self.failure(
                    f"{self.title} (process {process.pid}) is not ready after {timeout:.0f} s in {self.data}",
                    self._log_tail(),
                    hint=f"it may still be recovering: try again, and see {self.home.log(self.name)}",
                )
            time.sleep(pause)
            pause = min(pause * 1.5, 0.05)
        return True

    def death(self) -> ServerStartError:
        """Build the error for a server that died when it was started."""
        return self.failure(f"{self.title} did not start in {self.data}", self._log_tail())

    def _log_tail(self) -> str:
        from flowforge.local.launch import Log

        record = self.recorded_or_last()
        return Log(self.home.log(self.name), int(record.get("log_offset", 0))).tail()

    def recorded_or_last(self) -> dict[str, Any]:
        """What was written at the last start, whether or not that process still runs."""
        try:
            record: dict[str, Any] = json.loads(self.home.record(self.name).read_text())
        except (OSError, ValueError):
            return {}
        return record

    def failure(self, what: str, said: str, hint: str | None = None) -> ServerStartError:
        """Build the error for a failed start: what, where, the last it said, what next."""
        import shutil

        # On a full disk the log may lack the very line that says so.
        if "No space left on device" in said or shutil.disk_usage(self.home.path).free < _FULL:
            return no_space(self.title, self.home)
        tail = "\n".join("  " + line for line in said.rstrip().splitlines()[-_TAIL:]) or "  (nothing)"
        hint = hint or f"see {self.home.log(self.name)}"
        return ServerStartError(f"{what}; the last it said:\n{tail}", hint=hint)

    # Stopped

    def stop(self, process: Process) -> None:
        """Stop *process*, gently first, and wait until it is gone."""
        for number, patience in self.stop_signals:
            send(process, number)
            deadline = time.monotonic() + patience
            while alive(process):
                if time.monotonic() > deadline:
                    break
                time.sleep(0.005)
            else:
                self.home.record(self.name).unlink(missing_ok=True)
                return
        raise ServerStartError(
            f"{self.title} (process {process.pid}) does not stop", hint=f"see {self.home.log(self.name)}"
        )


def no_space(title: str, home: Home) -> ServerStartError:
    """Build the error for a full disk."""
    return ServerStartError(
        f"{title} cannot start: no space left on the disk of {home.path}",
        hint="make room (a new home needs about 100 MB), or set FLOWFORGE_HOME to a folder on another disk",
    )
