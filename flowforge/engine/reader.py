"""Reading and reclaiming deliveries of one lane.

A reader takes no more than the worker has room for. After an error its last reply may be lost with deliveries in
it, so it reads its own pending entries again before it goes on. The reclaimer takes over what other consumers let
lie for a lease, and clears away consumers that are gone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta

from flowforge.engine.crash import crash_point
from flowforge.engine.loop import Loop
from flowforge_streams.delivery import START, Delivery
from flowforge_streams.errors import StreamClosed, StreamError
from flowforge_streams.seam import Group

#: Deliveries taken at once.
LIMIT = 256
#: How long a read waits for the first delivery.
BLOCK = timedelta(seconds=2)
#: Consumers that have been idle for this long and own nothing are deleted.
RETIRE_AFTER = timedelta(hours=1)


class Reader(Loop):
    """Takes deliveries of one lane."""

    def __init__(
        self,
        group: Group,
        consumer: str,
        room: Callable[[], int],
        take: Callable[[Sequence[Delivery]], None],
    ) -> None:
        super().__init__()
        self._group, self._consumer, self._room, self._take = group, consumer, room, take
        #: The last reply may be lost: look at what is pending first.
        self._uncertain = True

    @property
    def name(self) -> str:
        """Which lane it reads."""
        return f"reader of {self._group.stream}"

    async def run_once(self) -> float | None:
        """Take what there is room for; wait for room if there is none."""
        room = self._room()
        self.proven = room > 0
        if room <= 0:
            return 1.0
        try:
            if self._uncertain:
                await self._read_own()
                self._uncertain = False
                return 0
            deliveries = await self._group.read(self._consumer, count=min(room, LIMIT), block=BLOCK)
        except StreamClosed:
            return None
        except StreamError:
            self._uncertain = True
            raise
        if deliveries:
            crash_point("reader.after_read")
            self._take(deliveries)
        return 0

    async def _read_own(self) -> None:
        after = START
        while deliveries := await self._group.read_own(self._consumer, count=LIMIT, after=after):
            self._take(deliveries)
            after = deliveries[-1].entry_id


class Reclaimer(Loop):
    """Takes over deliveries of one lane that their consumers let lie."""

    def __init__(
        self,
        group: Group,
        consumer: str,
        lease: timedelta,
        room: Callable[[], int],
        take: Callable[[Sequence[Delivery]], None],
    ) -> None:
        super().__init__()
        self._group, self._consumer, self._lease = group, consumer, lease
        self._room, self._take = room, take
        self._cursor = START
        self.pause = lease.total_seconds() / 2

    async def run_once(self) -> float | None:
        """Look at one window of the pending entries; at the end of a pass, at the consumers."""
        room = self._room()
        if room <= 0:
            return None
        found = await self._group.reclaim(
            self._consumer, min_idle=self._lease, count=min(room, LIMIT), cursor=self._cursor
        )
        self._cursor = found.cursor
        if found.deliveries:
            crash_point("reclaimer.after_reclaim")
            self._take(found.deliveries)
        if not found.done:
            return 0
        for consumer in await self._group.consumers():
            if consumer.name != self._consumer and consumer.idle > RETIRE_AFTER:
                await self._group.retire(consumer.name, min_idle=RETIRE_AFTER)
        return None
