"""The client for notebooks and scripts: the asynchronous one, driven from a thread of its own.

Nothing is written twice: each method is the asynchronous client's, with its signature, waited for.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from functools import update_wrapper
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

from flowforge.client.core import AsyncClient

P = ParamSpec("P")
T = TypeVar("T")


def _waited(
    method: Callable[Concatenate[AsyncClient, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[Client, P], T]:
    """Turn an asynchronous method into one that returns when it is done."""

    def waiting(self: Client, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self.do(method(self.core, *args, **kwargs))

    update_wrapper(waiting, method)
    return waiting


class Client:
    """A connection to one installation; opened at once, closed by `close` or at the end of a `with` block."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="flowforge-client", daemon=True)
        self._thread.start()
        self.core = AsyncClient(*args, **kwargs)
        try:
            self.do(self.core.open())
        except BaseException:
            self._end()
            raise

    def do(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Wait for something asynchronous of this client."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def close(self) -> None:
        """Close every connection; embedded servers stay up."""
        if not self._loop.is_closed():
            self.do(self.core.close())
            self._end()

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    publish = _waited(AsyncClient.publish)
    publish_draft = _waited(AsyncClient.publish_draft)
    verify = _waited(AsyncClient.verify)
    archive = _waited(AsyncClient.archive)
    workflows = _waited(AsyncClient.workflows)
    versions = _waited(AsyncClient.versions)
    definition = _waited(AsyncClient.definition)
    run = _waited(AsyncClient.run)
    run_many = _waited(AsyncClient.run_many)
    get = _waited(AsyncClient.get)
    runs = _waited(AsyncClient.runs)
    find = _waited(AsyncClient.find)
    count = _waited(AsyncClient.count)
    plan = _waited(AsyncClient.plan)
    carry_out = _waited(AsyncClient.carry_out)
    events = _waited(AsyncClient.events)
    wait = _waited(AsyncClient.wait)
    logs = _waited(AsyncClient.logs)
    receipt = _waited(AsyncClient.receipt)
    receipts = _waited(AsyncClient.receipts)
    receipt_keys = _waited(AsyncClient.receipt_keys)
    rotate_receipt_key = _waited(AsyncClient.rotate_receipt_key)
    cancel = _waited(AsyncClient.cancel)
    retry = _waited(AsyncClient.retry)
    pause = _waited(AsyncClient.pause)
    resume = _waited(AsyncClient.resume)
    skip = _waited(AsyncClient.skip)
    signal = _waited(AsyncClient.signal)
    decide = _waited(AsyncClient.decide)
    replay = _waited(AsyncClient.replay)
    rehearse = _waited(AsyncClient.rehearse)
    incidents = _waited(AsyncClient.incidents)
    incident = _waited(AsyncClient.incident)
    resolve_incident = _waited(AsyncClient.resolve_incident)
    explain = _waited(AsyncClient.explain)
    queues = _waited(AsyncClient.queues)
    pause_queue = _waited(AsyncClient.pause_queue)
    resume_queue = _waited(AsyncClient.resume_queue)
    pause_workflow = _waited(AsyncClient.pause_workflow)
    resume_workflow = _waited(AsyncClient.resume_workflow)
    dead_letters = _waited(AsyncClient.dead_letters)
    pauses = _waited(AsyncClient.pauses)
    pause_history = _waited(AsyncClient.pause_history)
    workers = _waited(AsyncClient.workers)
    drain = _waited(AsyncClient.drain)
    capsule = _waited(AsyncClient.capsule)
    phases = _waited(AsyncClient.phases)
    at = _waited(AsyncClient.at)
    history = _waited(AsyncClient.history)
    diff = _waited(AsyncClient.diff)
    export = _waited(AsyncClient.export)
    import_capsule = _waited(AsyncClient.import_capsule)
    imported = _waited(AsyncClient.imported)
    forget = _waited(AsyncClient.forget)
