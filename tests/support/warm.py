"""Commands in processes that are forked from a warm interpreter: real ones, without their half a second of imports.

A command has its own process, environment, folder, standard streams and end, as if it had been typed; only what every
command imports is imported once. Whoever wants a command as it is installed starts `python -m flowforge_cli`.
"""

from __future__ import annotations

import atexit
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import termios
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import NamedTuple

#: What the warm interpreter does: import, then fork for every request; the child goes on as the command.
_PROGRAM = """
import gc, importlib, json, os, pkgutil, random, socket, sys
import flowforge, flowforge_cli, flowforge_streams
for package in (flowforge, flowforge_cli, flowforge_streams):
    for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if not found.name.startswith(("flowforge.forensics", "flowforge.api")) and not found.name.endswith("__main__"):
            importlib.import_module(found.name)
from flowforge_cli.app import main

def child():
    control = socket.socket(fileno=int(sys.argv[1]))
    while True:
        _, given, _, _ = socket.recv_fds(control, 1, 4)
        if not given:
            os._exit(0)
        pid = os.fork()
        if pid == 0:
            return control, given
        for fd in given:
            os.close(fd)
        control.send(str(pid).encode())
        control.recv(1)
        control.send(str(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])).encode())

gc.collect()
gc.freeze()
control, given = child()
with os.fdopen(given[0]) as file:
    request = json.load(file)
for target, fd in enumerate(given[1:]):
    os.dup2(fd, target)
    os.close(fd)
# What the streams know of the files behind them is known from the old ones.
for fd, name in ((1, "stdout"), (2, "stderr")):
    setattr(sys, name, open(fd, "w", encoding=getattr(sys, name).encoding, closefd=False))
control.close()
os.environ.clear()
os.environ.update(request["environment"])
os.chdir(request["folder"])
random.seed()
main(request["words"])
"""


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    out: bytes
    err: bytes


class Warm:
    """A warm interpreter; one command at a time."""

    def __init__(self, *options: str) -> None:
        self._control, theirs = socket.socketpair()
        self._process = subprocess.Popen(
            [sys.executable, *options, "-c", _PROGRAM, str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        theirs.close()

    def type(
        self, words: Sequence[str], *, folder: Path, environment: Mapping[str, str], stdin: bytes, patience: float
    ) -> Ended:
        """Run a command to its end; one that takes longer than *patience* seconds is killed, which is an error."""
        request = {"words": list(words), "folder": str(folder), "environment": dict(environment)}
        with (
            tempfile.TemporaryFile() as asked,
            tempfile.TemporaryFile() as given,
            tempfile.TemporaryFile() as out,
            tempfile.TemporaryFile() as err,
        ):
            for file, text in ((asked, json.dumps(request).encode()), (given, stdin)):
                file.write(text)
                file.seek(0)
            socket.send_fds(self._control, [b"!"], [one.fileno() for one in (asked, given, out, err)])
            code = self._code(patience, words)
            for file in (out, err):
                file.seek(0)
            return Ended(code, out.read(), err.read())

    def show(
        self, words: Sequence[str], *, folder: Path, environment: Mapping[str, str], columns: int, patience: float
    ) -> Ended:
        """Run a command whose stdout and stderr are a terminal; what it shows there is its output."""
        request = {"words": list(words), "folder": str(folder), "environment": dict(environment)}
        with (
            tempfile.TemporaryFile() as asked,
            Path(os.devnull).open("rb") as nothing,
            _terminal(columns) as (fd, seen),
        ):
            asked.write(json.dumps(request).encode())
            asked.seek(0)
            socket.send_fds(self._control, [b"!"], [asked.fileno(), nothing.fileno(), fd, fd])
            code = self._code(patience, words)
        return Ended(code, bytes(seen), b"")

    def _code(self, patience: float, words: Sequence[str]) -> int:
        self._control.settimeout(60)
        pid = int(self._answer())
        self._control.send(b"!")
        self._control.settimeout(patience)
        try:
            return int(self._answer())
        except TimeoutError:
            os.kill(pid, signal.SIGKILL)
            self._control.settimeout(60)
            self._answer()
            raise subprocess.TimeoutExpired(list(words), patience) from None

    def _answer(self) -> bytes:
        answer = self._control.recv(32)
        assert answer, f"the warm interpreter ended with {self._process.wait()}"
        return answer

    def close(self) -> None:
        """End it."""
        self._control.close()
        self._process.wait()


@contextmanager
def _terminal(columns: int) -> Iterator[tuple[int, bytearray]]:
    """Yield a terminal of so many columns, and what is shown on it: all of it after the block."""
    ours, theirs = os.openpty()
    termios.tcsetwinsize(theirs, (50, columns))
    seen = bytearray()

    def read() -> None:
        # EIO: the last one who had the terminal open has closed it.
        with suppress(OSError):
            while data := os.read(ours, 65536):
                seen.extend(data)

    reading = threading.Thread(target=read, daemon=True)
    reading.start()
    try:
        yield theirs, seen
    finally:
        os.close(theirs)
        reading.join(60)
        os.close(ours)


@cache
def warm(*options: str) -> Warm:
    """Return the warm interpreter of this process; it ends with it."""
    one = Warm(*options)
    atexit.register(one.close)
    return one
