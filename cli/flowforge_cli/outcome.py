"""Waiting for runs: with a worker of one's own when there is no other, and letting go without harm.

Whoever waits only watches. Ctrl-C and --timeout end the waiting, never the run; a worker that was brought along
takes its leave as any worker does, and what it had not finished goes to others.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from flowforge_cli import exit_codes, render, run_text, session
from flowforge_cli.exit_codes import ExitCode
from flowforge_cli.text import short_id

if TYPE_CHECKING:
    from uuid import UUID

    from flowforge.client import AsyncClient
    from flowforge.model.documents import Run

T = TypeVar("T")

#: Seconds that a worker gets to leave, beyond those its steps have.
LEAVE = 17.0

#: A worker's life in this process; None where others do the work.
Working: TypeAlias = "asyncio.Task[None] | None"


@asynccontextmanager
async def working(client: AsyncClient, queues: Sequence[str]) -> AsyncIterator[Working]:
    """Bring a worker for as long as the block lasts, for the queues that no other serves."""
    alone = [queue for queue in queues if not await client.worker_alive([queue])]
    if not alone:
        yield None
        return
    from flowforge.engine.worker import Worker

    if not session.options.debug:
        render.log_to_stderr("warning", tracebacks=False)
    words = "" if alone == ["default"] else " ".join(f" --queue {queue}" for queue in alone)
    what = "no worker is running" if not words else f"no worker serves {', '.join(alone)}"
    render.say(f"{what}: working here for as long as this waits (flowforge worker start{words} for a lasting one)")
    client.engine.settings = client.settings.model_copy(update={"queues": tuple(alone)})
    worker = Worker(client.engine)
    task = asyncio.create_task(worker.run())
    try:
        yield task
    finally:
        worker.stop()
        # The second call hands back what is still running: nobody waits for it here any more.
        worker.stop()
        # Its own limits end it sooner; should they not hold, its leases protect what it had.
        await asyncio.wait({task}, timeout=client.settings.kill_grace.total_seconds() + LEAVE)
        if task.done() and not task.cancelled():
            task.exception()


async def until(
    runs: Sequence[UUID], waiting: Callable[[], Awaitable[T]], timeout: float | None, worker: Working = None
) -> T | None:
    """Wait; when the time is over or somebody interrupts, say that the runs go on and how to come back."""
    task = asyncio.ensure_future(waiting())
    tasks: set[asyncio.Future[object]] = {task} if worker is None else {task, worker}  # type: ignore[arg-type]
    try:
        await asyncio.wait(tasks, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
    except asyncio.CancelledError:
        render.progress_done()
        _detached(runs, "interrupted", worker)
        raise
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait({task})
    if not task.cancelled():
        return task.result()
    if worker is not None and worker.done():
        raise _worker_failed(runs, worker)
    _detached(runs, f"not ended after {timeout:g} s", worker)
    return None


def _worker_failed(runs: Sequence[UUID], worker: asyncio.Task[None]) -> Exception:
    from flowforge.errors import FlowforgeError

    error = worker.exception()
    if isinstance(error, FlowforgeError):
        return error
    reason = "" if error is None else f" ({type(error).__name__}: {error})"
    names = " ".join(short_id(run_id) for run_id in runs)
    return FlowforgeError(
        f"the worker in this process has failed{reason}; run {names} waits for another one",
        hint="flowforge worker start",
    )


def _detached(runs: Sequence[UUID], why: str, worker: Working) -> None:
    names = " ".join(short_id(run_id) for run_id in runs)
    verb = "watch" if len(runs) == 1 else "wait"
    render.say(f"{why}: run {names} goes on" if len(runs) == 1 else f"{why}: {len(runs)} runs go on")
    render.hint(f"  help: flowforge {verb} {names}")
    if worker is not None:
        render.hint("  no other worker is running, so it waits for one: flowforge worker start")


def ended(run: Run) -> ExitCode:
    """Tell how a run ended; return its exit code."""
    render.say(run_text.outcome(run, unicode=render.unicode(), now=datetime.now(UTC)))
    if run.error:
        if run.error.get("hint"):
            render.hint(f"  help: {run.error['hint']}")
        render.hint(f"  next: flowforge explain {short_id(run.id)} · flowforge retry {short_id(run.id)}")
    return exit_codes.of_status(run.status.value)
