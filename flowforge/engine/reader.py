"""Reading and reclaiming deliveries of one lane.

A reader takes no more than the worker has room for. Readers of several lanes wait at the same time, so what one gets
may find its room taken by another: it is kept until there is room again, and handed back to other workers where that
takes long. After an error its last reply may be lost with deliveries in it, so it reads its own pending entries again
before it goes on. A group that had to be made again may have lost dispatches: whoever makes it says so. The reclaimer
takes over what other consumers let lie for a lease, and clears away consumers that are gone.

During an upgrade a newer release may write messages that this one does not know. They are neither taken nor buried
but handed back, for a worker of that release to reclaim; what nobody wanted for long is buried after all.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta

from flowforge.engine.crash import crash_point
from flowforge.engine.loop import Loop
from flowforge.engine.message import VERSION, is_newer
from flowforge_streams.delivery import START, Delivery
from flowforge_streams.errors import StreamClosed, StreamError
from flowforge_streams.seam import Group
from flowforge_streams.throttle import ThrottledLog

log = logging.getLogger(__name__)
_handed_back = ThrottledLog(log)

#: Deliveries taken at once.
LIMIT = 256
#: How long a read waits for the first delivery.
BLOCK = timedelta(seconds=2)
#: How long deliveries that found no room are kept from other workers.
PATIENCE = timedelta(seconds=1)
#: Consumers that have been idle for this long and own nothing are deleted.
RETIRE_AFTER = timedelta(hours=1)
#: A message of a newer release that is older than this was left by one that is not here any more.
GIVE_UP_AFTER = timedelta(hours=1)


class Reader(Loop):
    """Takes deliveries of one lane."""

    def __init__(
        self,
        group: Group,
        consumer: str,
        room: Callable[[], int],
        take: Callable[[Sequence[Delivery]], None],
        lost: Callable[[], None] = lambda: None,
        held: Callable[[], bool] = lambda: False,
    ) -> None:
        super().__init__()
        self._group, self._consumer, self._room, self._take = group, consumer, room, take
        #: Told when the stream may have lost dispatches.
        self._lost = lost
        #: Says whether nothing may be taken from the lane's queue.
        self._held = held
        self._recreated = group.recreated
        #: The last reply may be lost: look at what is pending first.
        self._uncertain = True
        #: Deliveries that found no room, and since when (on the monotonic clock) none of them has.
        self._left: Sequence[Delivery] = ()
        self._left_since = 0.0

    @property
    def name(self) -> str:
        """Which lane it reads."""
        return f"reader of {self._group.stream}"

    async def run_once(self) -> float | None:
        """Take what there is room for; wait for room if there is none."""
        room = self._room()
        self.proven = room > 0
        if room <= 0:
            if self._left and time.monotonic() - self._left_since >= PATIENCE.total_seconds():
                await self._hand_back()
            return PATIENCE.total_seconds()
        try:
            if self._uncertain:
                await self._read_own()
                self._uncertain = False
                return 0
            if self._left:
                self._take_what_fits(self._left)
                return 0
            deliveries = await self._group.read(self._consumer, count=min(room, LIMIT), block=BLOCK)
        except StreamClosed:
            return None
        except StreamError:
            self._uncertain = True
            raise
        finally:
            self._report_loss()
        if deliveries and self._held():
            # The queue was paused while the read waited: whoever looks first after that takes them over.
            await self._group.hand_back(self._consumer, [one.entry_id for one in deliveries])
        elif deliveries:
            crash_point("reader.after_read")
            self._take_what_fits(await ours(self._group, self._consumer, deliveries))
        return 0

    async def run(self) -> None:
        """Read until stopped; then leave to others what found no room."""
        await super().run()
        # Where the stream server is away, they are reclaimed for having been idle.
        with suppress(StreamError):
            await self._hand_back()

    def _take_what_fits(self, deliveries: Sequence[Delivery]) -> None:
        """Take deliveries and keep the rest; others may have filled the room since it was looked at."""
        room = max(0, self._room())
        if room:
            self._take(deliveries[:room])
        self._left, self._left_since = deliveries[room:], time.monotonic()

    async def _hand_back(self) -> None:
        left, self._left = self._left, ()
        await self._group.hand_back(self._consumer, [one.entry_id for one in left])

    def _report_loss(self) -> None:
        if self._group.recreated != self._recreated:
            self._recreated = self._group.recreated
            self._lost()

    async def _read_own(self) -> None:
        """Take all that is pending here: most of it is under way, and is recognised; what was kept is among it."""
        self._left = ()
        after = START
        while deliveries := await self._group.read_own(self._consumer, count=LIMIT, after=after):
            self._take(await ours(self._group, self._consumer, deliveries))
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
        self.proven = room > 0
        if room <= 0:
            return None
        found = await self._group.reclaim(
            self._consumer, min_idle=self._lease, count=min(room, LIMIT), cursor=self._cursor
        )
        self._cursor = found.cursor
        if found.deliveries:
            crash_point("reclaimer.after_reclaim")
            usable, room = await ours(self._group, self._consumer, found.deliveries), max(0, self._room())
            self._take(usable[:room])
            await self._group.hand_back(self._consumer, [one.entry_id for one in usable[room:]])
        if not found.done:
            return 0
        for consumer in await self._group.consumers():
            if consumer.name != self._consumer and consumer.idle > RETIRE_AFTER:
                await self._group.retire(consumer.name, min_idle=RETIRE_AFTER)
        return None


async def ours(group: Group, consumer: str, deliveries: Sequence[Delivery]) -> Sequence[Delivery]:
    """Return what this release can read, or has to bury; hand the rest back."""
    other = [one for one in deliveries if one.fields.get("v") != VERSION]
    oldest = (time.time() - GIVE_UP_AFTER.total_seconds()) * 1000
    newer = [one for one in other if is_newer(one) and int(one.entry_id.partition("-")[0]) > oldest]
    if not newer:
        return deliveries
    _handed_back.warning(
        "%d messages in %s were written by a newer release and are left to its workers", len(newer), group.stream
    )
    await group.hand_back(consumer, [one.entry_id for one in newer])
    return [one for one in deliveries if one not in newer]
