"""The functions that the python steps of the acceptance tests call."""

from __future__ import annotations

import asyncio
import ctypes
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from flowforge.steps.context import StepContext, StepFailure


def call(url: str, context: StepContext, **body: Any) -> dict[str, Any]:
    """Have an effect on the outside world."""
    attempt = {"FlowForge-Attempt": str(context.attempt), "FlowForge-Token": str(context.token)}
    headers = {"Content-Type": "application/json", "Idempotency-Key": context.idempotency_key, **attempt}
    request = urllib.request.Request(url, json.dumps(body).encode(), headers, method="POST")
    with urllib.request.urlopen(request, timeout=100) as response:
        answer: dict[str, Any] = json.load(response)
    return answer


def effect(url: str, context: StepContext) -> dict[str, Any]:
    """Have an effect, and say who had it."""
    return {"pid": os.getpid(), "answer": call(url, context, pid=os.getpid(), attempt=context.attempt)}


@dataclass
class Item:
    """What an order is made of."""

    price: Decimal
    count: int


def total(items: list[Item], day: date) -> dict[str, Any]:
    """Take typed arguments: nothing here works with the JSON they were."""
    return {"total": str(sum(item.price * item.count for item in items)), "year": day.year}


async def slept(seconds: float) -> str:
    """Be a coroutine."""
    await asyncio.sleep(seconds)
    return "awake"


def nap(seconds: float) -> float:
    """Take a while."""
    time.sleep(seconds)
    return seconds


def about(context: StepContext) -> dict[str, Any]:
    """Say what the context says."""
    return {
        "run_id": context.run_id,
        "workflow": context.workflow,
        "version": context.version,
        "step": context.step,
        "attempt": context.attempt,
        "key": context.idempotency_key,
        "cancelled": context.cancelled,
    }


def progress(url: str, context: StepContext) -> str:
    """Say how far it is, then go on for a while."""
    for done in range(3):
        context.progress({"done": done, "of": 3})
    call(url, context)
    return "done"


def flaky(url: str, failures: int, context: StepContext) -> int:
    """Fail a number of times, then give the number of the attempt that did not."""
    call(url, context, attempt=context.attempt)
    if context.attempt <= failures:
        raise LookupError(f"attempt {context.attempt} does not work")
    return context.attempt


def refuse(message: str) -> None:
    """Fail in the function's own words, for good."""
    raise StepFailure(message, code="CARD_DECLINED", retryable=False, hint="ask for another card")


def say(lines: int) -> int:
    """Write to everything that is captured."""
    print("first line")
    for number in range(lines):
        print(f"line {number} " + "x" * 80)
    print("to stderr", file=sys.stderr)
    logging.getLogger("shop").warning("a warning")
    os.system("echo from a shell")
    print("last line without an end", end="")
    return lines


# -- results that cannot be stored ---------------------------------------------------------------------------


def not_json() -> object:
    """Give what JSON does not know."""
    return call


def nan() -> float:
    """Give what JSON does not know and Python writes all the same."""
    return float("nan")


def nul() -> str:
    """Give what Postgres does not store."""
    return "a\0b"


def surrogate() -> str:
    """Give what is no text."""
    return "\ud800"


def large(size: int) -> str:
    """Give a lot."""
    return "x" * size


# -- functions that do not end well --------------------------------------------------------------------------


def loop(url: str, context: StepContext) -> None:
    """Never end."""
    call(url, context, pid=os.getpid())
    while True:
        pass


def deaf(url: str, context: StepContext) -> None:
    """Never end, and listen to nobody; have a child that does the same."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    child = subprocess.Popen(["/bin/sh", "-c", "trap '' TERM; while :; do sleep 1; done"])
    call(url, context, pid=os.getpid(), child=child.pid)
    while True:
        time.sleep(1)


def polite(url: str, context: StepContext) -> None:
    """Run until asked to stop, and say so."""
    call(f"{url}/started", context, pid=os.getpid())
    while not context.cancelled:
        time.sleep(0.01)
    call(f"{url}/stopped", context)
    context.heartbeat()


def leave(status: int) -> None:
    """End the interpreter."""
    print("leaving", flush=True)
    os._exit(status)


def segfault() -> None:
    """Read what is not there."""
    ctypes.string_at(0)


def kill() -> None:
    """Die of what the kernel sends when memory is short."""
    os.kill(os.getpid(), signal.SIGKILL)


def leave_threads() -> str:
    """Return while a thread goes on."""
    threading.Thread(target=time.sleep, args=(600,)).start()
    return "returned"


def exit_by_name() -> None:
    """Call sys.exit."""
    sys.exit(3)


def recurse(depth: int = 0) -> int:
    """Recurse without end."""
    return recurse(depth + 1) + 1
