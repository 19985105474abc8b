"""Where the simulation takes the place of something real: the statements, the clocks, the threads. Nothing else."""

from __future__ import annotations

import asyncio
import functools
import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

from flowforge.engine import clock as lease_clock
from flowforge.engine import degraded, loop, reader, relay, sweeper, worker
from flowforge.store import (
    alarms,
    direct,
    gates,
    incidents,
    leases,
    logs,
    outbox,
    pauses,
    runs,
    signals,
    steps,
    transitions,
    workers,
)
from flowforge.store import clock as store_clock
from flowforge_streams import memory_log
from tests.simulation import fleet, statements
from tests.simulation.loop import VirtualLoop


def _time(*_: Any) -> float:
    return asyncio.get_running_loop().time()


_CLOCK = SimpleNamespace(
    clock_gettime=_time, monotonic=_time, time=_time, CLOCK_BOOTTIME=getattr(time, "CLOCK_BOOTTIME", 0)
)


def _renew(link: Any, worker_id: str, keys: Sequence[Any], lease: Any) -> Any:
    return statements.renew(link.server, worker_id, keys, lease)


def _failed(duty: loop.Loop, error: Exception, *, traceback: bool) -> float:
    """Let a duty try again when a server is away; what else it fails at is a defect, and ends the schedule."""
    if traceback:
        running = asyncio.get_running_loop()
        assert isinstance(running, VirtualLoop)
        running.on_defect(f"{duty.name} failed", error)
    return _FAILED(duty, error, traceback=traceback)


_FAILED = loop.Loop._failed


#: (module, name, what stands for it).
_PATCHES: tuple[tuple[Any, str, Any], ...] = (
    *((runs, name, getattr(statements, name)) for name in ("look", "lock", "clock", "inputs", "by_idempotency_key")),
    *((steps, name, getattr(statements, name)) for name in ("select", "select_whole", "outputs", "newer_outputs")),
    *((transitions, name, getattr(statements, name)) for name in ("write", "insert")),
    *((outbox, name, getattr(statements, name)) for name in ("waiting", "take")),
    *((signals, name, getattr(statements, name)) for name in ("of_runs", "of_steps")),
    (direct, "waiting", statements.waiting_directly),
    (direct, "take", statements.take_directly),
    *((alarms, name, getattr(statements, name)) for name in ("due", "with_queued_steps", "take_epoch", "store_epoch")),
    *((gates, name, getattr(statements, name)) for name in ("ensure", "without_line", "admissible", "waited_at")),
    (gates, "lock", statements.lock_gates),
    *((runs, name, statements.none) for name in ("orphans", "started_by")),
    *((pauses, name, statements.none) for name in ("queues", "released")),
    (pauses, "free", statements.all_of),
    (runs, "release_keys", statements.nothing),
    (logs, "append", statements.nothing),
    (incidents, "open_one", statements.nothing),
    *((workers, name, statements.nothing) for name in ("register", "set_status", "forget")),
    (leases, "renew", _renew),
    (leases, "seen", lambda *_: leases.Seen("active", frozenset())),
    (loop.Loop, "_failed", _failed),
    (worker, "Heartbeat", fleet.TaskHeartbeat),
    (worker, "Fence", fleet.TaskFence),
    (worker, "Feed", fleet.NoFeed),
    (worker, "Degraded", functools.partial(degraded.Degraded, clock=_time)),
    *((module, "time", _CLOCK) for module in (lease_clock, store_clock, reader, memory_log)),
    # A duty that is told of its work looks seldom: most of a schedule would be looks at nothing.
    *((duty, "pause", 3.0) for duty in (relay.Relay, sweeper.Sweeper, degraded.Degraded)),
    (reader, "BLOCK", timedelta(seconds=6)),
)


@contextmanager
def simulated() -> Iterator[None]:
    """Put everything into its place, and back at the end."""
    kept = [(module, name, getattr(module, name)) for module, name, _ in _PATCHES]
    level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        for module, name, stand_in in _PATCHES:
            setattr(module, name, stand_in)
        yield
    finally:
        logging.disable(level)
        for module, name, real in kept:
            setattr(module, name, real)
