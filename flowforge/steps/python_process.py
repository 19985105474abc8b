"""One child process as the worker sees it: started, called, stopped for good.

Whatever happens to a call (reply, crash, garbage, cancellation), the process is afterwards either idle and sound or
gone, with everything it has started.

    spawn -> idle <-> busy -> SIGTERM to the group -> grace -> SIGKILL to the group and all descendants -> reaped
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import logging
import os
import signal
import socket
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flowforge.model.outcome import StepError
from flowforge.steps import python_tree, python_wire, secrets
from flowforge.steps.python_output import Output
from flowforge.steps.python_wire import Frame, Garbage, Kind

if TYPE_CHECKING:
    from collections.abc import Callable

    from flowforge.steps.settings import StepSettings

logger = logging.getLogger(__name__)

#: Seconds that a process, whose connection broke, has to show its exit status, and a dismissed one to leave.
_PATIENCE = 2.0
_OPEN_FILES = 4096
_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Listener:
    """Who is told what a call reports."""

    progress: Callable[[bytes], None]
    log: Callable[[str], None]


class Crashed(Exception):
    """The process ended, or stopped making sense, before it replied."""

    def __init__(self, error: StepError, *, stale: bool) -> None:
        super().__init__(error.message)
        self.error = error
        #: Whether a warm process was found dead: the call has not begun, another process can take it.
        self.stale = stale


class ChildProcess:
    """A warm process that executes one function at a time."""

    def __init__(self, settings: StepSettings, process: asyncio.subprocess.Process, mark: str, output: Output) -> None:
        self._settings = settings
        self._process = process
        self._mark = mark
        self._output = output
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter
        self._calls = 0
        self._begun = False
        self._leaving = False
        self._exited = asyncio.create_task(process.wait())
        self._stopping: asyncio.Task[None] | None = None
        self._hurry = asyncio.Event()

    @classmethod
    async def spawn(cls, settings: StepSettings) -> ChildProcess:
        """Start a process; it is ready to be called at once, and takes the call when it has started."""
        ours, theirs = socket.socketpair()
        read_end, write_end = os.pipe()
        try:
            mark = python_tree.mark(next(_numbers))
            process = await asyncio.create_subprocess_exec(
                *_command(settings, theirs.fileno()),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=write_end,
                stderr=write_end,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
                env=_environment(mark),
            )
        except BaseException:
            ours.close()
            os.close(read_end)
            raise
        finally:
            theirs.close()
            os.close(write_end)
        child = cls(settings, process, mark, Output(read_end, settings.python_output_bytes))
        try:
            child._reader, child._writer = await asyncio.open_unix_connection(sock=ours)
        except BaseException:
            ours.close()
            await child.stop(0)
            raise
        return child

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def sound(self) -> bool:
        """Whether another call can be given to it."""
        ended = self._process.returncode is not None or self._reader.at_eof() or self._stopping is not None
        return not (ended or self._leaving)

    async def call(self, request: bytes, listener: Listener) -> Frame:
        """Return the frame that ends the call; raises Crashed when there is none, and is stopped then."""
        self._calls += 1
        self._begun = False
        self._output.attach(listener.log)
        try:
            self._writer.write(Frame(Kind.CALL, self._calls, request).pack())
            await self._writer.drain()
            reply = await self._reply(listener)
        except (Garbage, asyncio.IncompleteReadError, OSError) as error:
            stale = self._calls > 1 and not self._begun
            raise Crashed(await self._post_mortem(error), stale=stale) from None
        self._output.detach()
        if not self._leaving and python_tree.has_children(self.pid):
            # What a function leaves running must not reach into the next attempt.
            self._leaving = True
        return reply

    async def stop(self, grace: float) -> None:
        """End the process and all it has started; a cancellation meanwhile only takes the rest of the grace away."""
        if self._stopping is None:
            self._stopping = asyncio.create_task(self._stop(grace))
        cancelled: asyncio.CancelledError | None = None
        while not self._stopping.done():
            try:
                await asyncio.shield(self._stopping)
            except asyncio.CancelledError as error:
                cancelled = error
                self._hurry.set()
        if cancelled is not None:
            raise cancelled
        self._stopping.result()

    async def dismiss(self) -> None:
        """Let an idle process leave by itself, then make sure."""
        self._leaving = True
        self._writer.close()
        await asyncio.wait({self._exited}, timeout=_PATIENCE)
        await self.stop(0)

    async def _reply(self, listener: Listener) -> Frame:
        limit = max(self._settings.max_step_bytes, python_wire.MAX_ERROR)
        while True:
            frame = await python_wire.read(self._reader, limit)
            if frame.call != self._calls:
                continue
            if frame.kind is Kind.BEGUN:
                self._begun = True
            elif frame.kind is Kind.PROGRESS:
                listener.progress(frame.payload)
            elif frame.kind is Kind.LEAVING:
                self._leaving = True
            elif frame.kind is Kind.CALL:
                raise Garbage("a child does not call")
            else:
                return frame

    async def _post_mortem(self, error: Exception) -> StepError:
        """End the process and say what it died of."""
        by_itself = not isinstance(error, Garbage)
        if by_itself:
            await asyncio.wait({self._exited}, timeout=_PATIENCE)
        status = self._process.returncode
        await self.stop(0)
        details = {"output": self._output.tail} if self._output.tail else None
        if isinstance(error, Garbage):
            return StepError("CRASHED", f"the child process sent garbage: {error}", ("crash",), details=details)
        if status is None:
            message = "the child process closed its connection without a result"
            return StepError("CRASHED", message, ("crash",), details=details)
        return _death(status, details)

    async def _stop(self, grace: float) -> None:
        known = await asyncio.to_thread(python_tree.members, self.pid, self._mark)
        if grace > 0 and self._signal(signal.SIGTERM):
            # A function that comes to its end has nobody to reply to, and its process leaves.
            self._writer.transport.abort()
            hurry = asyncio.create_task(self._hurry.wait())
            await asyncio.wait({self._exited, hurry}, timeout=grace, return_when=asyncio.FIRST_COMPLETED)
            hurry.cancel()
            known |= await asyncio.to_thread(python_tree.members, self.pid, self._mark)
        self._signal(signal.SIGKILL)
        left = await asyncio.to_thread(python_tree.kill, self.pid, self._mark, known)
        await self._exited
        if left:
            logger.warning("%d processes of a python step could not be killed", left)
        if hasattr(self, "_writer"):
            self._writer.close()
            with contextlib.suppress(OSError):
                await self._writer.wait_closed()
        self._output.close()

    def _signal(self, number: signal.Signals) -> bool:
        """Signal the group, as long as its leader is not reaped: until then its number belongs to nobody else."""
        if self._process.returncode is not None:
            return False
        try:
            os.killpg(self.pid, number)
        except (ProcessLookupError, PermissionError):
            return False
        return True


def _command(settings: StepSettings, descriptor: int) -> list[str]:
    options = {
        "path": list(settings.python_path),
        "max_bytes": settings.max_step_bytes,
        "calls": settings.python_calls,
        "memory_bytes": settings.python_memory_bytes,
        "file_bytes": settings.python_file_bytes,
        "open_files": _OPEN_FILES,
    }
    # -P keeps the working directory from shadowing the modules that the child itself needs.
    program = [sys.executable, "-P", "-m", "flowforge.steps.python_child"]
    return [*program, str(descriptor), str(os.getpid()), json.dumps(options)]


def _environment(mark: str) -> dict[str, str]:
    """Return the worker's environment without secrets: a function gets them as arguments or not at all."""
    hidden = secrets.variables()
    kept = {name: value for name, value in os.environ.items() if name not in hidden}
    kept.pop("PYTHONINSPECT", None)
    return kept | {python_tree.VARIABLE: mark}


def _death(status: int, details: dict[str, str] | None) -> StepError:
    if status >= 0:
        message = f"the function ended its process with exit status {status}"
        return StepError("CRASHED", message, ("crash", f"exit_{status}"), details=details)
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    hint = "often the system's answer to too much memory" if name == "SIGKILL" else None
    return StepError("CRASHED", f"the child process died of {name}", ("crash", name), hint=hint, details=details)
