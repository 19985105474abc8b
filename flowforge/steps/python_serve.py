"""The life of a child process: one call after the other, until the socket closes or the child is worn out.

It replies to every call exactly once. Output is flushed before the reply, so that the worker, having the reply,
can take all that the function printed out of the pipe.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import logging
import os
import signal
import socket
import sys
import threading
from typing import Any

from flowforge.model.json import encode
from flowforge.steps.context import StepCancelled, StepContext
from flowforge.steps.python_call import Caller
from flowforge.steps.python_problem import Problem
from flowforge.steps.python_sources import Sources
from flowforge.steps.python_wire import MAX_PROGRESS, Frame, Kind, receive

#: Growth of the resident memory after which a child is replaced.
_GROWTH_BYTES = 256 * 1024 * 1024


def serve(descriptor: int, options: dict[str, Any]) -> None:
    """Answer the calls that arrive on the socket."""
    connection = socket.socket(fileno=descriptor)
    connection.set_inheritable(False)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)  # type: ignore[union-attr]
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    faulthandler.enable()
    sys.path[:0] = [os.path.abspath(folder) for folder in options["path"]] + [os.getcwd()]  # noqa: PTH100, PTH109
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the worker listens no more
        Server(connection, options).run()


class Server:
    """Serves one connection."""

    def __init__(self, connection: socket.socket, options: dict[str, Any]) -> None:
        self._connection = connection
        self._options = options
        self._caller = Caller(options["max_bytes"])
        self._sources = Sources()
        self._sending = threading.Lock()
        self._pid = os.getpid()
        self._home = os.getcwd()  # noqa: PTH109
        self._calls = 0
        self._first_size: int | None = None
        self._cancelled = False
        self._busy = False
        signal.signal(signal.SIGTERM, self._on_terminate)

    def run(self) -> None:
        """Answer calls until there are no more."""
        leaving = False
        while not leaving and (frame := receive(self._connection)) is not None:
            if self._sources.changed():
                self._send(Frame(Kind.OUTDATED, frame.call))
                return
            self._send(Frame(Kind.BEGUN, frame.call))
            reply, worn = self._answer(frame)
            leaving = worn or self._worn()
            if leaving:
                self._send(Frame(Kind.LEAVING, frame.call))
            self._send(reply)

    def _answer(self, frame: Frame) -> tuple[Frame, bool]:
        self._calls += 1
        self._busy, self._cancelled = True, False
        signal.signal(signal.SIGTERM, self._on_terminate)
        worn = False
        try:
            request = json.loads(frame.payload)
            context = self._context(request["context"], frame.call)
            text = self._caller.call(request["function"], request["args"], context)
            reply = Frame(Kind.RESULT, frame.call, text.encode())
        except Problem as problem:
            worn = problem.fatal
            reply = Frame(Kind.ERROR, frame.call, problem.encode())
        if os.getpid() != self._pid:
            os._exit(0)  # the function forked, and its copy came back here: it has no call to answer
        self._busy = False
        self._tidy()
        return reply, worn

    def _context(self, facts: dict[str, Any], call: int) -> StepContext:
        def report(value: Any) -> None:
            payload = encode(value, max_bytes=MAX_PROGRESS).encode()
            try:
                self._send(Frame(Kind.PROGRESS, call, payload))
            except OSError:
                # The worker listens no more: the attempt is over, whatever the function still does.
                raise StepCancelled from None

        return StepContext(**facts, report=report, is_cancelled=lambda: self._cancelled)

    def _send(self, frame: Frame) -> None:
        if os.getpid() == self._pid:
            with self._sending:
                self._connection.sendall(frame.pack())

    def _on_terminate(self, *_: object) -> None:
        if not self._busy:
            os._exit(0)
        self._cancelled = True
        self._caller.cancel()

    def _tidy(self) -> None:
        """Undo what would surprise the next function, and let the worker see everything that was printed."""
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
        with contextlib.suppress(OSError):
            os.chdir(self._home)
        self._sources.note()

    def _worn(self) -> bool:
        """Say whether this process has served long enough, or has grown too much."""
        size = _resident()
        if self._first_size is None:
            self._first_size = size
        return self._calls >= self._options["calls"] or size > self._first_size + max(_GROWTH_BYTES, self._first_size)


def _resident() -> int:
    """Return the resident memory in bytes; 0 where the system does not say."""
    try:
        descriptor = os.open("/proc/self/statm", os.O_RDONLY)
    except OSError:
        return 0
    try:
        return int(os.read(descriptor, 200).split()[1]) * os.sysconf("SC_PAGE_SIZE")
    finally:
        os.close(descriptor)
