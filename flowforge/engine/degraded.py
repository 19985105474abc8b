"""Degraded claiming: the work goes on, slowly, while no stream carries it.

    healthy    rows leave the outbox: look now and then
    degraded   a row has been there for PATIENCE, and our relay published nothing: take dispatches of our lanes
    healthy    our relay has published something; or nothing has waited for QUIET, and the stream server answers

What is wrong with the streams does not matter (away, hung, full, read-only): only that dispatches do not leave. While
there are none, nothing would prove that they leave again: then an answer will do, and costs PATIENCE if it told too
little. The claim decides as always who executes, so nothing runs twice when a relay and a worker meet. The rate is
bounded: many workers that poll are what the streams are there to avoid.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from flowforge.engine import message
from flowforge.engine.crash import crash_point
from flowforge.engine.loop import Loop
from flowforge.store import direct
from flowforge.store.database import Database
from flowforge_streams.delivery import Delivery
from flowforge_streams.errors import StreamError

log = logging.getLogger(__name__)

#: Seconds that a row may lie in the outbox while nothing is published.
PATIENCE = 3.0
#: Seconds in which nothing may have waited before the stream server is asked whether it is back.
QUIET = 10.0
#: Seconds in which it has to answer: meanwhile nobody looks whether a dispatch has come.
ANSWER = 1.0
#: Dispatches of a lane taken at once, and seconds between two looks: at most 200 a second for a worker.
LIMIT, INTERVAL = 50, 0.25


@dataclass(frozen=True, slots=True)
class Source:
    """A lane that the worker serves."""

    lane: str
    #: Key of its stream: what deliveries of the lane are recognised by.
    stream: str
    room: Callable[[], int]


class Degraded(Loop):
    """Feeds a worker from the outbox when its relay cannot feed the streams."""

    pause = 1.0

    def __init__(
        self,
        database: Database,
        sources: Sequence[Source],
        take: Callable[[Sequence[Delivery]], None],
        published: Callable[[], int],
        answers: Callable[[], Awaitable[object]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self._database, self._sources, self._take = database, sources, take
        #: How many dispatches our relay has published so far.
        self._published = published
        #: Asks the stream server something; raises StreamError where no answer comes.
        self._answers = answers
        self._clock = clock
        #: When we looked lately, and the newest row of then.
        self._seen: deque[tuple[float, int]] = deque()
        self._seen_published = 0
        #: Since when nothing has waited, or no answer has come.
        self._quiet_since: float | None = None
        self.active = False
        self.taken = 0

    async def run_once(self) -> float | None:
        """Look whether dispatches leave; take some if they do not."""
        async with self._database.connection() as connection:
            self._judge(await direct.waiting(connection, [source.lane for source in self._sources]))
            for source in self._sources if self.active else ():
                if (room := min(source.room(), LIMIT)) > 0:
                    rows = await direct.take(connection, source.lane, room)
                    self._feed([message.direct(source.stream, row) for row in rows])
        if self.active and await self._over():
            self._end()
        return INTERVAL if self.active else None

    def _feed(self, deliveries: Sequence[Delivery]) -> None:
        if deliveries:
            crash_point("degraded.after_take")
            self.taken += len(deliveries)
            self._take(deliveries)

    def _judge(self, waiting: tuple[int, int] | None) -> None:
        """Decide from the oldest and the newest row whether dispatches leave."""
        published, now = self._published(), self._clock()
        if published != self._seen_published:
            self._seen_published = published
            self._seen.clear()
            if self.active:
                self._end()
        if waiting is None:
            self._seen.clear()
            self._quiet_since = now if self._quiet_since is None else self._quiet_since
            return
        self._quiet_since = None
        oldest, newest = waiting
        self._seen.append((now, newest))
        while len(self._seen) > 1 and self._seen[1][0] <= now - PATIENCE:
            self._seen.popleft()
        since, known = self._seen[0]
        # Ids grow: what is no newer than the newest of then has been here since then, whatever was taken meanwhile.
        if not self.active and since <= now - PATIENCE and oldest <= known:
            self.active = True
            log.warning("the streams take no dispatches; claiming straight from Postgres, slowly")

    async def _over(self) -> bool:
        """Say whether the streams are back as far as can be told while there is nothing to publish."""
        if self._quiet_since is None or self._clock() - self._quiet_since < QUIET:
            return False
        try:
            async with asyncio.timeout(ANSWER):
                await self._answers()
        except (StreamError, TimeoutError):
            self._quiet_since = None
            return False
        return True

    def _end(self) -> None:
        self.active = False
        log.info("the streams take dispatches again; %d were claimed straight from Postgres", self.taken)
