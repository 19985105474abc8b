"""Celery: a chain of three tasks, and a chord, each task's JSON result persisted in the same Valkey.

The settings follow the guide "Optimizing" of its documentation for many short tasks:

- The prefork pool with two processes, one per processor of the machine that the comparison was made for.
- A prefetch multiplier of 64: the guide says 50 to 150 for short tasks, "say 64, or 128".
- JSON for tasks and results, and results that are kept for their usual day. Early acknowledgement, which is the default
  and its fastest: a task whose worker dies is lost. Nothing here is durable beyond the append-only file of Valkey,
  which is synced every second, as it is for FlowForge.
- Fair scheduling, the default since 4.0; task events off, the default.

The client sends chains as fast as it can, then waits for every result; results are told by publish/subscribe. Celery
subscribes on one connection and looks on another whether the result is there already; a result that comes in between is
never told, so the client looks again every second.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.benchmarks.peers.answers import answer, arguments

#: Names the broker, which keeps the results too; read when the tasks' module is imported, here and in the worker.
URL = "BENCH_CELERY_URL"
TASKS = "tests.benchmarks.peers.celery_tasks"
PROCESSES, PREFETCH = 2, 64
#: Seconds to wait for a result, and until it is looked for again.
PATIENCE, LOOK_AGAIN = 600, 1
WARM_UP = 20
SETTINGS = {
    "pool": "prefork",
    "processes": PROCESSES,
    "worker_prefetch_multiplier": PREFETCH,
    "serializer": "json",
    "result_backend": "the broker's Valkey",
    "task_acks_late": "default (off)",
    "fanout": "chord",
}


@contextmanager
def worker() -> Iterator[None]:
    """Start a worker; it ends with the block."""
    words = ["worker", "--pool", "prefork", "--concurrency", str(PROCESSES), "--loglevel", "ERROR"]
    command = [sys.executable, "-m", "celery", "--quiet", "--app", TASKS, *words]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        _await(process)
        yield
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _await(process: subprocess.Popen[bytes]) -> None:
    """Wait until the worker answers; it is an error if it ends instead."""
    from tests.benchmarks.peers.celery_tasks import app

    while not app.control.ping(timeout=0.5):
        if process.poll() is not None:
            raise SystemExit(f"Celery's worker ended with {process.returncode}")


def send(no: int) -> Any:
    """Send one chain of three."""
    from celery import chain

    from tests.benchmarks.peers import celery_tasks as tasks

    return chain(tasks.begin.s(no), tasks.go_on.s(), tasks.go_on.s())()


def await_result(sent: Any) -> None:
    """Wait until something that was sent has its result."""
    from celery.exceptions import TimeoutError as NotYet

    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            sent.get(timeout=LOOK_AGAIN)
        except NotYet:
            if time.monotonic() > deadline:
                raise
        else:
            return


def execute(no: int) -> float:
    """Run one chain to its end; return the seconds it took."""
    began = time.perf_counter()
    await_result(send(no))
    return time.perf_counter() - began


def fan_out(steps: int) -> float:
    """Run one chord to its end; return the seconds it took."""
    from celery import chord

    from tests.benchmarks.peers import celery_tasks as tasks

    began = time.perf_counter()
    await_result(chord(tasks.begin.s(no) for no in range(steps))(tasks.join.s()))
    return time.perf_counter() - began


def at_once(count: int) -> float:
    """Run many chains; return the seconds from the first one sent to the last one ended."""
    began = time.perf_counter()
    for sent in [send(no) for no in range(count)]:
        await_result(sent)
    return time.perf_counter() - began


def main() -> None:
    """Measure one task."""
    chosen = arguments(__doc__)
    # redis-py writes unix://PATH?db=0, kombu redis+socket://PATH.
    os.environ[URL] = chosen.url.replace("unix://", "redis+socket://").partition("?")[0]
    waited: list[float] = []
    with worker():
        for no in range(WARM_UP):
            execute(no)
        if chosen.task == "linear":
            seconds = at_once(chosen.count)
        elif chosen.task == "fanout":
            fan_out(WARM_UP)
            seconds = fan_out(chosen.count)
        else:
            waited = [execute(no) for no in range(chosen.count)]
            seconds = sum(waited)
    answer(chosen.task, chosen.count, SETTINGS, seconds=seconds, waited=waited)


if __name__ == "__main__":
    main()
