"""Processes that are started to be measured: each alone in its session, and gone when we are.

Ctrl-C reaches this process only; it passes it on once, waits, and ends what does not listen.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import IO, Any

from tests.benchmarks.results import Failed

ROOT = Path(__file__).resolve().parent.parent.parent
#: Seconds that a process is given to end, gently and then less so.
PATIENCE = 20.0
#: Lines of what a process said that are shown when it failed.
TAIL = 15


def interrupt_once() -> None:
    """Let the first SIGINT or SIGTERM interrupt; what has to be stopped is then stopped undisturbed."""

    def interrupted(_number: int, _frame: FrameType | None) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupted)


@contextmanager
def running(
    argv: Sequence[str], environment: Mapping[str, str], *, out: int | IO[bytes] | None = None, show: bool = False
) -> Iterator[tuple[subprocess.Popen[bytes], IO[bytes]]]:
    """Start a process and see to it that it has ended with the block; yields it and what it says on stderr."""
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            list(argv),
            env=dict(environment),
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=said if out is None else out,
            stderr=None if show else said,
            start_new_session=True,
        )
        try:
            yield process, said
        finally:
            _end(process)


@contextmanager
def workers(count: int, queue: str, environment: Mapping[str, str]) -> Iterator[None]:
    """Let workers serve a queue."""
    words = ["worker", "start", "--queue", queue, "--processes", str(count)]
    with running([sys.executable, "-m", "flowforge_cli", *words], environment):
        yield


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process, and what is left of its group."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            process.wait(PATIENCE)
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def succeed(argv: Sequence[str], environment: Mapping[str, str]) -> None:
    """Run a process to its end; Failed says how it ended unless well."""
    with running(argv, environment) as (process, said):
        if code := process.wait():
            raise Failed(_failure(argv, code, said))


def document(argv: Sequence[str], environment: Mapping[str, str]) -> dict[str, Any]:
    """Run a process that prints one JSON document; Failed says how it ended otherwise."""
    show = sys.stderr.isatty()
    with tempfile.TemporaryFile() as out, running(argv, environment, out=out, show=show) as (process, said):
        code = process.wait()
        out.seek(0)
        text = out.read().decode(errors="replace")
        if code != 0:
            raise Failed(_failure(argv, code, said))
    try:
        answer: dict[str, Any] = json.loads(text)
    except ValueError as error:
        raise Failed(f"{_words(argv)} printed no document: {error}") from error
    return answer


def _failure(argv: Sequence[str], code: int, said: IO[bytes]) -> str:
    said.seek(0)
    lines = said.read().decode(errors="replace").strip().splitlines()[-TAIL:]
    return "\n".join([f"{_words(argv)} ended with {code}", *(f"  {line}" for line in lines)])


def _words(argv: Sequence[str]) -> str:
    return " ".join(Path(word).name if word == argv[0] else word for word in argv)
