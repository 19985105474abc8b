"""Acknowledging deliveries, in batches, after their settlements are committed.

An acknowledgement that is lost costs nothing: the delivery is reclaimed later and the claim finds it out of date.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Mapping

from flowforge.engine.crash import crash_point
from flowforge.engine.message import NO_ENTRY
from flowforge_streams.delivery import Delivery
from flowforge_streams.errors import StreamError
from flowforge_streams.seam import Group
from flowforge_streams.throttle import ThrottledLog

log = logging.getLogger(__name__)
#: Whoever writes nonsense into a stream writes a lot of it.
_buried = ThrottledLog(log)


class Acker:
    """Collects finished deliveries and acknowledges them together."""

    def __init__(self, groups: Mapping[str, Group]) -> None:
        #: By stream.
        self._groups = groups
        self._finished: dict[str, list[str]] = defaultdict(list)
        self._buried: list[tuple[Delivery, str]] = []
        self._some = asyncio.Event()
        #: The last flush of a stopping worker waits for the one under way, which would be cancelled with its task.
        self._flushing = asyncio.Lock()

    def ack(self, delivery: Delivery | None) -> None:
        """Finish a delivery, if there is one."""
        if delivery is not None and delivery.entry_id != NO_ENTRY:
            self._finished[delivery.stream].append(delivery.entry_id)
            self._some.set()

    def bury(self, delivery: Delivery, reason: str) -> None:
        """Put away a delivery nobody can use."""
        _buried.warning("message %s in %s is buried: %s", delivery.entry_id, delivery.stream, reason)
        if delivery.entry_id != NO_ENTRY:
            self._buried.append((delivery, reason))
            self._some.set()

    async def run(self) -> None:
        """Acknowledge until cancelled."""
        while True:
            await self._some.wait()
            await self.flush()

    async def flush(self) -> None:
        """Acknowledge what is finished now, after whatever is being acknowledged."""
        async with self._flushing:
            await self._flush()

    async def _flush(self) -> None:
        self._some.clear()
        finished, self._finished = self._finished, defaultdict(list)
        buried, self._buried = self._buried, []
        try:
            for stream, entry_ids in finished.items():
                await self._groups[stream].ack(entry_ids)
                crash_point("acker.after_ack")
            for delivery, reason in buried:
                await self._groups[delivery.stream].bury(delivery, reason)
        except StreamError as error:
            log.debug("acknowledgements are lost, reclaiming will repeat them: %s", error)
