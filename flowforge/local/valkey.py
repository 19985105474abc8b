"""The stream server: how Valkey (or Redis) is configured, and when it is ready.

Dispatches survive a crash of Valkey: every write is in the append-only file before its answer leaves, and on
disk within a second. What is lost beyond that is rebuilt from Postgres.
"""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from flowforge.errors import ServerStartError
from flowforge.local.process import Facts, Process
from flowforge.local.server import Server
from flowforge.local.sockets import ask

if TYPE_CHECKING:  # whoever only verifies a running server pays for nothing else
    from flowforge.local.launch import Log

SETTINGS = {
    "port": "0",  # the Unix socket only: nothing on this machine or beyond can reach it over the network
    "unixsocketperm": "700",
    "appendonly": "yes",
    "appendfsync": "everysec",  # Postgres is the truth: a second of lost dispatches costs latency, not work
    "save": "",  # no RDB snapshots beside the append-only file: they would fork and write everything twice
    "maxmemory-policy": "noeviction",  # an evicted stream entry would be a silently delayed step
    "daemonize": "no",  # our launcher does that, and keeps the log and the tenancy lock
    "dir": ".",  # the working folder it is put into: the path to it may be closed to its account
    "loglevel": "notice",
}


class Valkey(Server):
    """Valkey, or Redis 6.2 or later where there is no Valkey."""

    name: ClassVar[str] = "valkey"
    title: ClassVar[str] = "Valkey"
    # SIGKILL is harmless as a last resort: what was answered is in the file already.
    stop_signals = ((signal.SIGTERM, 15.0), (signal.SIGKILL, 5.0))

    @property
    def socket(self) -> Path:
        """The socket in the home's socket folder."""
        return self.sockets / "valkey.sock"

    @property
    def url(self) -> str:
        """The URL for redis-py."""
        return f"unix://{self.socket}?db=0"

    def ready(self, process: Process) -> bool:
        """Whether it answers a PING; raise if it answers that it cannot work."""
        answer = ask(self.socket, b"PING\r\n")
        if answer is not None and answer.startswith(b"-") and not answer.startswith(b"-LOADING"):
            said = answer[1:].decode(errors="replace").strip()
            raise ServerStartError(
                f"Valkey (process {process.pid}) runs but cannot work: {said}",
                hint=f"is the disk of {self.home.path} full? see {self.home.log(self.name)}",
            )
        return answer is not None and answer.startswith(b"+PONG")

    def stalled(self) -> bool:
        """Whether a connection is made but a PING is not answered: it is stopped, or busy with something long.

        Postgres is the truth, and workers claim from it meanwhile: it is as if the server was away.
        """
        return ask(self.socket) is not None and ask(self.socket, b"PING\r\n") is None

    def is_family(self, found: Facts) -> bool:
        """The server, or its child that rewrites the append-only file."""
        return found.program.startswith(("valkey-", "redis-"))

    def is_main(self, found: Facts) -> bool:
        """Children rename themselves."""
        return found.program in ("valkey-server", "redis-server")

    def prepare(self, lock: int, log: Log) -> tuple[list[str], str]:  # noqa: ARG002  (nothing to run beforehand)
        """Create the data folder if need be; Valkey creates its files itself."""
        from flowforge.local.binaries import find_valkey
        from flowforge.local.reach import within_reach

        program = find_valkey()
        if not self.data.exists():
            self.data.mkdir(mode=0o700)
            self.account.own(self.data)
        settings = {
            **SETTINGS,
            "unixsocket": str(self.socket),
            "proc-title-template": f"{{title}} {self.home.marker}",  # how the process is recognised
            **self.settings,
        }
        arguments = [part for key, value in settings.items() for part in (f"--{key}", value)]
        return [str(within_reach(program.path, self.account, [program.path])), *arguments], program.version
