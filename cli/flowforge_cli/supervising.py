"""Several worker processes under one: started, started anew when they crash, told to stop together.

The children hold the reading end of a pipe whose writing end lives here; a supervisor that is killed closes it, and
the children stop as if asked to.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from flowforge_cli import session
from flowforge_cli.exit_codes import ExitCode
from flowforge_cli.working import SUPERVISOR

log = logging.getLogger("flowforge.supervisor")

#: Seconds before a process that crashed is replaced: doubled each time up to the last, reset by a minute of life.
FIRST_PAUSE, LAST_PAUSE, STEADY = 0.5, 30.0, 60.0


def command(*words: str) -> list[str]:
    """Return the command line of another process like this one."""
    profile = ["--profile", session.options.profile] if session.options.profile else []
    return [sys.executable, "-m", "flowforge_cli", *profile, *words]


def worker_command(concurrency: int | None, queues: Sequence[str], grace: str | None) -> list[str]:
    """Return the command line of one worker process."""
    words = ["worker", "start"]
    words += [] if concurrency is None else ["--concurrency", str(concurrency)]
    words += [word for queue in queues for word in ("--queue", queue)]
    return command(*words, *([] if grace is None else ["--grace", grace]))


@dataclass
class Children:
    """Child processes that end when this one does."""

    argv: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._read, self._write = os.pipe()
        self.running: list[subprocess.Popen[bytes]] = []

    def start(self, *, out: int | None = None, err: int | None = None) -> subprocess.Popen[bytes]:
        """Start one."""
        environment = {**os.environ, **self.environment, SUPERVISOR: str(self._read)}
        # A session of its own: Ctrl-C reaches the supervisor only, which passes it on once.
        child = subprocess.Popen(
            self.argv,
            env=environment,
            pass_fds=[self._read],
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
        )
        self.running.append(child)
        return child

    def signal(self, number: int) -> None:
        """Send a signal to all that run."""
        for child in self.running:
            if child.poll() is None:
                child.send_signal(number)

    def stop(self, patience: float) -> None:
        """Ask all to stop, and see to it that they have."""
        self.signal(signal.SIGTERM)
        deadline = time.monotonic() + patience
        for child in self.running:
            try:
                child.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        os.close(self._read)
        os.close(self._write)


def supervise(count: int, argv: Sequence[str]) -> int:
    """Keep *count* processes running until a signal; a second signal is passed on too, and hurries them."""
    children = Children(argv)
    signals: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _: signals.append(received))
    # Delivered while we wait for a child, in whatever order: one signal ends the waiting.
    slots = [_Slot(children) for _ in range(count)]
    log.info("%d workers started", count)
    passed = 0
    while True:
        if len(signals) > passed:
            log.info("stopping %d workers", sum(slot.alive for slot in slots))
            children.signal(signal.SIGTERM)
            passed += 1
        alive = [slot.look(stopping=passed > 0) for slot in slots]
        if passed and not any(alive):
            return ExitCode.OK
        if not any(alive) and all(slot.left for slot in slots):
            return ExitCode.OK
        time.sleep(0.05)


class _Slot:
    """A place for one worker process."""

    def __init__(self, children: Children) -> None:
        self._children = children
        self._pause = FIRST_PAUSE
        self._again_at = 0.0
        #: Its process has left of its own accord, as a drained one does.
        self.left = False
        self._begin()

    def _begin(self) -> None:
        self._began = time.monotonic()
        self._child: subprocess.Popen[bytes] | None = self._children.start()

    @property
    def alive(self) -> bool:
        """Whether its process runs."""
        return self._child is not None and self._child.poll() is None

    def look(self, *, stopping: bool) -> bool:
        """Replace a process that crashed, after a pause; return whether one runs."""
        if self.alive or self.left:
            return self.alive
        now = time.monotonic()
        if self._child is not None:
            code = self._child.returncode
            self._children.running.remove(self._child)
            self._child = None
            if code == 0:
                self.left = True
                return False
            self._pause = FIRST_PAUSE if now - self._began > STEADY else min(self._pause * 2, LAST_PAUSE)
            self._again_at = now + self._pause
            log.warning("a worker process ended with %s; the next one starts in %.1f s", _ending(code), self._pause)
        if not stopping and now >= self._again_at:
            self._begin()
        return self.alive


def _ending(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
