"""Functions that do to their worker, their machine and their result whatever functions can do."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from shop import call  # type: ignore[import-not-found] # found in FLOWFORGE_PATH

from flowforge.steps.context import StepContext


def full_disk() -> int:
    """Write to a disk that has no room: the device says so to everybody."""
    with Path("/dev/full").open("w") as file:
        file.write("x" * 100_000)
        file.flush()
    return 1


# -- results -------------------------------------------------------------------------------------------------


def fifty_megabytes() -> list[str]:
    """Give more than a step may give."""
    return ["x" * 1000] * 50_000


def ten_thousand_deep() -> list[Any]:
    """Give what no recursive reader survives."""
    value: list[Any] = []
    for _ in range(10_000):
        value = [value]
    return value


def nul_in_a_key() -> dict[str, int]:
    """Give a key that Postgres does not store."""
    return {"a\0b": 1}


def surrogates() -> list[str]:
    """Give halves of characters, together and alone."""
    return ["\ud83d\ude00", "\ud83d", "\ude00\ud83d"]


def infinite() -> list[float]:
    """Give numbers that JSON does not have."""
    return [1e400, -1e400, float("nan")]


def huge_number() -> int:
    """Give a number of thousands of digits."""
    return 10**4000


# -- deaths --------------------------------------------------------------------------------------------------


def memory() -> int:
    """Take memory without end."""
    taken = []
    while True:
        taken.append(bytearray(16 * 1024 * 1024))


def exit_139() -> None:
    """End the interpreter as a segmentation fault would."""
    os._exit(139)


def forks(url: str, context: StepContext, count: int = 120) -> None:
    """Become many processes that never end, a bounded bomb, and end at once."""
    pids = []
    for _ in range(count):
        pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            if os.getpid() % 2:
                os.setsid()
            while True:
                time.sleep(60)
        pids.append(pid)
    call(url, context, pids=pids)
    while True:
        time.sleep(60)


def kill_worker() -> None:
    """Take the worker down."""
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(60)


_DAEMON = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
os.setsid()
if os.fork():
    os._exit(0)
print(os.getpid(), flush=True)
os.close(1)
time.sleep(600)
"""


def daemons(url: str, context: StepContext) -> None:
    """Leave two daemons that have done all they can to be nobody's, then ignore being asked to stop."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    pids = []
    for environment in (dict(os.environ), dict[str, str]()):
        child = subprocess.Popen([sys.executable, "-c", _DAEMON], env=environment, stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        pids.append(int(child.stdout.readline()))
        child.wait()
    call(url, context, pid=os.getpid(), daemons=pids)
    while True:
        time.sleep(1)
