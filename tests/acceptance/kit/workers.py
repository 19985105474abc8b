"""Worker processes: started by the command, killed, frozen, or asked to leave."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from tests.acceptance.kit.installation import Shell
from tests.support.eventually import eventually_sync
from tests.support.sql import Sql


class WorkerProcess:
    """One `flowforge worker start`."""

    def __init__(
        self,
        shell: Shell,
        log: Path,
        database_url: str,
        /,
        *,
        words: Sequence[str] = ("worker", "start"),
        inside: Sequence[str] = (),
        **settings: str,
    ) -> None:
        self.log = log
        self._database_url = database_url
        self.process: subprocess.Popen[bytes] = shell.begin(*words, log=log, inside=inside, **settings)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    @property
    def said(self) -> str:
        """Everything it has logged."""
        return self.log.read_text(errors="replace")

    def ready(self) -> WorkerProcess:
        """Wait until it has registered itself."""
        sql = Sql(self._database_url)
        try:
            query = "SELECT count(*) FROM workers WHERE pid = %s AND status = 'active'"
            eventually_sync(lambda: self._lives() and sql.value(query, self.pid) > 0, what="the worker registers")
        finally:
            sql.close()
        return self

    def _lives(self) -> bool:
        assert self.process.poll() is None, f"the worker ended with {self.process.returncode}:\n{self.said[-2000:]}"
        return True

    def kill(self) -> None:
        """End it at once, as a power failure does."""
        self.process.kill()
        self.process.wait()

    def freeze(self) -> None:
        """Stop it in the middle of whatever it does."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        os.kill(self.pid, signal.SIGCONT)

    def stop(self) -> None:
        """Ask it to leave; it has to do so with exit code 0."""
        self.process.terminate()
        code = self.process.wait(timeout=60)
        assert code == 0, f"the worker left with {code}:\n{self.said[-2000:]}"

    def abandon(self) -> None:
        """End it whatever state it is in."""
        if self.process.poll() is None:
            with suppress(ProcessLookupError):
                self.thaw()
            self.process.terminate()
            try:
                self.process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                self.kill()
