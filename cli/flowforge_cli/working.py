"""A worker in this process: it runs until it is asked to stop, by a signal or by the end of its supervisor."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
from typing import TYPE_CHECKING

from flowforge_cli.exit_codes import ExitCode

if TYPE_CHECKING:
    from flowforge.client import AsyncClient
    from flowforge.engine.worker import Worker

#: Names the descriptor of a pipe that the supervisor holds open: its end means that the supervisor is gone.
SUPERVISOR = "FLOWFORGE_SUPERVISOR_FD"

#: New objects between two looks for cycles. A worker makes tens of thousands a second that die by themselves; looking
#: every 700, as Python does, takes a fifth of its time.
COLLECT_EVERY = 50_000

log = logging.getLogger("flowforge.worker")


async def work(client: AsyncClient) -> int:
    """Run a worker until it was asked to stop and has."""
    from flowforge.engine.worker import Worker

    worker = Worker(client.engine)
    stop_on_signals(worker)
    stop_with_supervisor(worker)
    settings = client.settings
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_EVERY, 20, 20)
    log.info("worker %s serves %s, %d at a time", worker.id, ", ".join(settings.queues), settings.concurrency)
    await worker.run()
    log.info("worker %s has stopped", worker.id)
    return ExitCode.OK


def stop_on_signals(worker: Worker) -> None:
    """Stop the worker at SIGTERM and SIGINT: gently the first time, at once the second."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, worker.stop)


def stop_with_supervisor(worker: Worker) -> None:
    """Stop the worker when the process that looks after it is gone, however that ended."""
    descriptor = os.environ.pop(SUPERVISOR, None)
    if descriptor is None:
        return
    loop, number = asyncio.get_running_loop(), int(descriptor)
    os.set_inheritable(number, False)

    def gone() -> None:
        loop.remove_reader(number)
        log.warning("the supervisor is gone")
        worker.stop()

    loop.add_reader(number, gone)
