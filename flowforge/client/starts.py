"""Starting runs from a client: inputs checked, starts that come together committed together.

Invariant: an id that was handed out belongs to a committed run. The wake-up that follows the commit only shortens a
poll, so nobody waits for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

from flowforge.engine.engine import Engine
from flowforge.engine.gathering import Gathering
from flowforge.engine.plans import PlannedVersion
from flowforge.engine.starting import Start, Started
from flowforge.errors import InputError, UsageError
from flowforge.model.json import InvalidJson, decode, encode

#: Longest idempotency key, and the range of priorities (a smallint in Postgres).
MAX_KEY, PRIORITIES = 255, range(-32768, 32768)
#: Runs committed in one transaction: beyond a few hundred nothing is gained, and others wait longer.
TOGETHER = 500


class Starts:
    """The starts of one client."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._gathering: Gathering[Start, Started] = Gathering(self._commit, TOGETHER)
        self._wakes: set[asyncio.Task[int]] = set()

    def prepare(
        self,
        version: PlannedVersion,
        value: object = None,
        *,
        idempotency_key: str | None = None,
        labels: Mapping[str, str] | None = None,
        priority: int = 0,
        trigger: str = "api",
    ) -> Start:
        """Check an input and make the request of a run; InputError says all that is wrong with it."""
        value = {} if value is None else value
        try:
            text = encode(value, max_bytes=self._engine.settings.max_input_bytes)
        except InvalidJson as error:
            raise InputError(f"the input {error}", hint="the limit is FLOWFORGE_MAX_INPUT_BYTES") from None
        if version.plan.input_schema is not None:
            from flowforge.model.inputs import validate

            validate(version.plan.input_schema, decode(text))
        if idempotency_key is not None:
            _check_key(idempotency_key)
        if priority not in PRIORITIES:
            raise UsageError(f"a priority is between {PRIORITIES[0]} and {PRIORITIES[-1]}")
        start = Start(version, text, value, trigger, idempotency_key=idempotency_key, priority=priority)
        if labels:
            start.labels = dict(labels)
            for key, label in start.labels.items():
                _storable(f"label {key!r}", key + label)
        return start

    async def commit(self, starts: Sequence[Start]) -> list[Started]:
        """Commit runs in one transaction, maybe together with those of other callers; answers are in order."""
        return await self._gathering.do(starts)

    async def many(self, starts: Iterable[Start]) -> AsyncIterator[list[Started]]:
        """Commit runs, some hundred in a transaction; yield the answers as they come, in order."""
        left = iter(starts)
        while chunk := list(islice(left, TOGETHER)):
            yield await self.commit(chunk)

    async def _commit(self, starts: Sequence[Start]) -> list[Started]:
        started, consequences = await self._engine.starter.start(starts)
        self._engine.tracer.ended(consequences.spans)
        if consequences.dispatched:
            self._wake()
        return started

    def _wake(self) -> None:
        task = asyncio.create_task(self._engine.streams.signals.publish(self._engine.names.wake))
        self._wakes.add(task)
        task.add_done_callback(self._wakes.discard)

    async def close(self) -> None:
        """Let the last wake-ups leave, if there is somebody to take them."""
        if self._wakes:
            await asyncio.wait(self._wakes, timeout=1)
        for task in self._wakes:
            task.cancel()


def _check_key(key: str) -> None:
    if not 0 < len(key) <= MAX_KEY:
        raise UsageError(f"an idempotency key has 1 to {MAX_KEY} characters")
    _storable("the idempotency key", key)


def _storable(what: str, value: str) -> None:
    """Raise UsageError for text that Postgres cannot store."""
    try:
        encode(value)
    except InvalidJson as error:
        raise UsageError(f"{what} {error}") from None


def parse_input(text: str | bytes) -> Any:
    """Read an input given as JSON text; InputError says where it is wrong."""
    try:
        return decode(text)
    except InvalidJson as error:
        raise InputError(f"the input {error}") from None
