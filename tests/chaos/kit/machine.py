"""The servers of the fault suite: a Postgres and a Valkey of their own home, killed, frozen, and started again.

They are real ones with real settings, except that nothing is flushed to disk: every fault here is the death of a
process, which the page cache survives, and never the loss of power.
"""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from flowforge.local import Home, down, status, up
from flowforge.local.supervisor import ServerStatus
from tests.acceptance.kit.processes import gone
from tests.support.servers import Servers

#: A commit is on its way to the disk when it is answered, as in production; the disk is only not waited for.
POSTGRES = {"fsync": "off", "full_page_writes": "off", "max_connections": "200", "wal_compression": "off"}
VALKEY = {"appendonly": "yes", "appendfsync": "everysec"}

#: Bytes of a path to a socket are few: pytest's own folders are too deep.
_PREFIX = "chaos-"


class Machine:
    """One home with both servers up."""

    def __init__(
        self,
        folder: Path | None = None,
        *,
        postgres: Mapping[str, str] | None = None,
        valkey: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder or Path(tempfile.mkdtemp(prefix=_PREFIX, dir="/tmp"))
        self.folder.chmod(0o755)
        self.home = Home(self.folder / "h")
        self._settings = {"postgres": {**POSTGRES, **(postgres or {})}, "valkey": {**VALKEY, **(valkey or {})}}
        #: The name of a migrated database to copy.
        self.template: str | None = None
        self.start()

    def start(self) -> None:
        """Start what does not run, and wait until it works."""
        found = up(self.home, postgres=self._settings["postgres"], valkey=self._settings["valkey"])
        self.database_url, self.redis_url = found.database_url, found.redis_url

    def stop(self) -> None:
        """Stop both servers in good order."""
        down(self.home)

    def remove(self) -> None:
        """Stop everything and leave nothing behind."""
        for name in ("postgres", "valkey"):
            if self._status(name).running:
                self.thaw(name)
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    # -- faults --------------------------------------------------------------------------------------------

    def kill(self, name: str) -> None:
        """Let a server die at once; nobody starts it again but `start`."""
        pid = self.pid(name)
        os.kill(pid, signal.SIGKILL)
        gone(pid)

    def crash_postgres(self) -> None:
        """Let Postgres stop without a checkpoint, as `pg_ctl stop -m immediate` does."""
        pid = self.pid("postgres")
        os.kill(pid, signal.SIGQUIT)
        gone(pid)

    def stop_postgres(self) -> None:
        """Let Postgres stop in good order, for a copy of its data; Valkey goes on."""
        pid = self.pid("postgres")
        os.kill(pid, signal.SIGINT)
        gone(pid)

    def freeze(self, name: str) -> None:
        """Stop a server in the middle of whatever it does, with its children."""
        self._signal(name, signal.SIGSTOP)

    def thaw(self, name: str) -> None:
        """Let a frozen server go on."""
        self._signal(name, signal.SIGCONT)

    def _signal(self, name: str, number: int) -> None:
        for pid in self._family(name):
            # Sessions of Postgres end by themselves meanwhile.
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    # -- where things are ----------------------------------------------------------------------------------

    def pid(self, name: str) -> int:
        """Return the process id of `postgres` or `valkey`."""
        pid = self._status(name).pid
        assert pid is not None, f"{name} does not run"
        return pid

    def runs(self, name: str) -> bool:
        """Say whether a server runs."""
        return self._status(name).running

    def data(self, name: str) -> Path:
        """The data folder of a server."""
        return self._status(name).data

    def socket(self, name: str) -> Path:
        """The Unix socket of a server, for proxies."""
        return self._status(name).socket

    @property
    def servers(self) -> Servers:
        """The servers as the rest of the tests know them."""
        return Servers(self.database_url, self.redis_url)

    def _status(self, name: str) -> ServerStatus:
        found = status(self.home)
        return {"postgres": found.postgres, "valkey": found.valkey}[name]

    def _family(self, name: str) -> list[int]:
        """Return a server and its children, the parent first: frozen, it starts no others."""
        parent = self.pid(name)
        children = [
            int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit() and _parent_of(entry) == parent
        ]
        return [parent, *children]


def _parent_of(entry: Path) -> int | None:
    try:
        return int((entry / "stat").read_text(errors="replace").rpartition(")")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return None
