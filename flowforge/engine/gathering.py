"""Sharing a round trip: requests that come while one is under way go together in the next.

A lone request waits for nobody, and a hundred at once cost two round trips. Requests are never answered from a round
trip that began before they were made, so everybody sees what was committed before they asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

import psycopg

from flowforge.errors import BackendError, FlowforgeError

T = TypeVar("T")
R = TypeVar("R")


class Gathering(Generic[T, R]):
    """Does *work* for the requests of several callers at once, up to *limit* requests at a time.

    *work* answers in the order of the requests, and if it raises, nothing of it is done. When it refuses what several
    callers gave it, it is asked again for each of them, so that each hears of its own faults only.
    """

    def __init__(self, work: Callable[[Sequence[T]], Awaitable[list[R]]], limit: int) -> None:
        self._work = work
        self._limit = limit
        self._waiting: list[tuple[Sequence[T], asyncio.Future[list[R]]]] = []
        self._running: asyncio.Task[None] | None = None

    async def do(self, requests: Sequence[T]) -> list[R]:
        """Return the answers to requests, which stay together."""
        future: asyncio.Future[list[R]] = asyncio.get_running_loop().create_future()
        self._waiting.append((requests, future))
        if self._running is None:
            self._running = asyncio.create_task(self._run())
        return await future

    async def _run(self) -> None:
        """Work until nobody waits; a task of its own, so that no caller's cancellation ends it for the others."""
        try:
            while self._waiting:
                await self._serve(self._next())
        finally:
            self._running = None

    def _next(self) -> list[tuple[Sequence[T], asyncio.Future[list[R]]]]:
        taken, size = 0, 0
        for requests, _ in self._waiting:
            size += len(requests)
            if taken and size > self._limit:
                break
            taken += 1
        batch, self._waiting = self._waiting[:taken], self._waiting[taken:]
        return batch

    async def _serve(self, batch: Sequence[tuple[Sequence[T], asyncio.Future[list[R]]]]) -> None:
        try:
            answers = await self._work([request for requests, _ in batch for request in requests])
        except BaseException as error:  # noqa: BLE001 - handed to whoever asked
            if len(batch) > 1 and _is_refusal(error):
                for one in batch:
                    await self._serve([one])
                return
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
            return
        position = 0
        for requests, future in batch:
            if not future.done():
                future.set_result(answers[position : position + len(requests)])
            position += len(requests)


def _is_refusal(error: BaseException) -> bool:
    """Whether somebody's request is at fault, and not the server."""
    return isinstance(error, FlowforgeError | psycopg.Error) and not isinstance(error, BackendError)
