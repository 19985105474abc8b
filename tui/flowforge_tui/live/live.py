"""What keeps every screen up to date: a snapshot from Postgres, then what the events stream says has changed.

An event only says which run to read again, so a lost or repeated one does no harm; everything that has not ended is
read again now and then. While a server is away the last known state stays, its age is shown, and it is asked until it
answers. Whoever wants to know is sent messages; nothing here touches a widget.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from textual.message import Message
from textual.message_pump import MessagePump

from flowforge.client import AsyncClient
from flowforge.errors import FlowforgeError
from flowforge.model.documents import RunEvent, RunFilter
from flowforge.model.overview import Pulse, RunSummary
from flowforge.model.status import FINAL_RUN, RunStatus
from flowforge_streams.errors import StreamError
from flowforge_tui.live.throughput import Throughput
from flowforge_tui.options import Options

#: Runs read again at a time, and runs read at first.
BATCH, FIRST = 400, 500
#: When data is called old, and a server that should have brought newer ones silent.
OLD = timedelta(seconds=10)
#: Seconds between two looks at the installation, and before a server that is away is asked again.
PULSE, AGAIN = 2.0, 1.0
ACTIVE = tuple(status for status in RunStatus if status not in FINAL_RUN)
_ENDS = frozenset({"workflow.completed", "workflow.failed", "workflow.cancelled"})


class Fresh(Message):
    """Runs were read."""

    def __init__(self, runs: Sequence[RunSummary]) -> None:
        super().__init__()
        self.runs = runs


class Beat(Message):
    """Time has passed, or something about servers has changed: what shows either is drawn again."""


class Live:
    """The state that all screens share, and the tasks that keep it."""

    def __init__(self, client: AsyncClient, options: Options) -> None:
        self.client = client
        self._options = options
        self._listeners: list[MessagePump] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._changed: dict[UUID, None] = {}
        self._ahead = timedelta()
        self.pulse: Pulse | None = None
        #: Why a server cannot be asked; None while it answers.
        self.postgres_error: str | None = "connecting"
        self.streams_error: str | None = None
        #: What the stream server last said it is.
        self.streams_version = "redis"
        #: When something was last read, by this machine's clock.
        self.fresh_at: datetime | None = None
        self.paused_at: datetime | None = None
        self.throughput = Throughput()
        self.opened = asyncio.Event()
        #: The first runs were read.
        self.ready = asyncio.Event()

    # -- listeners -----------------------------------------------------------------------------------------

    def subscribe(self, listener: MessagePump) -> None:
        """Send messages to a screen from now on."""
        self._listeners.append(listener)

    def unsubscribe(self, listener: MessagePump) -> None:
        """Stop sending messages to a screen."""
        self._listeners = [one for one in self._listeners if one is not listener]

    def _tell(self, make: Callable[[], Message]) -> None:
        for listener in self._listeners:
            listener.post_message(make())

    # -- time ----------------------------------------------------------------------------------------------

    def now(self) -> datetime:
        """Return the database's time, as far as known; while paused it stands still."""
        return (self.paused_at or self._options.clock()) + self._ahead

    def clock(self) -> datetime:
        """Return the database's time, as far as known; it goes on while the screen is held still."""
        return self._options.clock() + self._ahead

    @property
    def age(self) -> timedelta | None:
        """How old what is shown is; None before anything was read."""
        return None if self.fresh_at is None else self._options.clock() - self.fresh_at

    @property
    def silent(self) -> bool:
        """Whether nothing was read for long although it was asked for."""
        return not self.paused and self.age is not None and self.age > OLD

    @property
    def paused(self) -> bool:
        """Whether the screen is held still."""
        return self.paused_at is not None

    def pause(self) -> None:
        """Hold everything still, or let it go on."""
        self.paused_at = None if self.paused else self._options.clock()
        self._tell(Beat)

    # -- tasks ---------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to keep up."""
        self._tasks = [asyncio.create_task(self._live(), name="live")]

    async def stop(self) -> None:
        """End every task, then the connections."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.client.close()

    async def _live(self) -> None:
        await self._again(self.client.open)
        self.opened.set()
        await self.look()
        await self._again(self._first)
        await asyncio.gather(
            self._beats(),
            self._forever(self._listen, 0),
            self._forever(self._changes, self._options.interval),
            self._forever(self.look, PULSE),
            self._forever(self._resync, self._options.resync),
        )

    async def _beats(self) -> None:
        """Let time pass on every screen, whether servers answer or not."""
        while True:
            self._tell(Beat)
            await asyncio.sleep(self._options.interval)

    async def _again(self, work: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        """Do something until it has worked."""
        worked = await self.tried(work)
        while not worked:
            await asyncio.sleep(AGAIN)
            worked = await self.tried(work)

    async def _forever(self, work: Callable[[], Coroutine[Any, Any, Any]], pause: float) -> None:
        while True:
            begun = time.monotonic()
            worked = await self.tried(work) if not self.paused or work == self._listen else True
            left = (pause if worked else AGAIN) - (time.monotonic() - begun)
            await asyncio.sleep(max(0.0, left))

    async def tried(self, work: Callable[[], Coroutine[Any, Any, Any]]) -> bool:
        """Do something with the servers; remember which of them is away."""
        try:
            await work()
        except StreamError as error:
            self.streams_error = str(error)
        except FlowforgeError as error:
            self.postgres_error = error.message
        else:
            return True
        self._tell(Beat)
        return False

    # -- reading -------------------------------------------------------------------------------------------

    async def look(self) -> None:
        """Take the installation's pulse."""
        asked = self._options.clock()
        pulse = await self.client.pulse()
        self._read()
        self._adjust(pulse.at, asked)
        self.pulse = pulse
        self.streams_version = pulse.streams or self.streams_version
        self.streams_error = None if pulse.streams else self.streams_error or "the stream server does not answer"
        self._tell(Beat)

    def _adjust(self, at: datetime, asked: datetime) -> None:
        """Set the clock by the database's, no further than is certain: the answer may have been long on its way."""
        self._ahead = min(max(self._ahead, at - self._options.clock()), at - asked)

    async def load(self, wanted: RunFilter) -> frozenset[UUID]:
        """Read the runs that a filter matches, a few first, so that the newest are there at once; return their ids."""
        found = await self.client.summaries(replace(wanted, limit=min(FIRST, wanted.limit)))
        self._bring(found)
        if len(found) == FIRST and wanted.limit > FIRST:
            found = await self.client.summaries(wanted)
            self._bring(found[FIRST:])
        return frozenset(run.id for run in found)

    async def _first(self) -> None:
        await self.load(RunFilter(limit=self._options.limit))
        self.ready.set()
        self._tell(Beat)

    async def _resync(self) -> None:
        """Read what has not ended, and the newest, whatever the events said."""
        self._bring(await self.client.summaries(RunFilter(statuses=ACTIVE, limit=self._options.limit)))
        self._bring(await self.client.summaries(RunFilter(limit=100)))

    async def _changes(self) -> None:
        """Read runs again that something has happened to."""
        if not self._changed:
            return
        ids = list(self._changed)[:BATCH]
        runs = await self.client.summaries(ids)
        for run_id in ids:
            self._changed.pop(run_id, None)
        self._bring(runs)

    async def _listen(self) -> None:
        self.streams_error = None
        async for event in self.client.feed():
            self.heard(event)
        raise StreamError("the events stream ended")

    def heard(self, event: RunEvent) -> None:
        """Take notice of an event."""
        self._changed[event.run] = None
        if event.type in _ENDS:
            self.throughput.ended(time.monotonic())

    def touch(self, run_ids: Sequence[UUID]) -> None:
        """Read runs again soon: something was done to them here."""
        self._changed.update(dict.fromkeys(run_ids))

    async def refresh(self) -> None:
        """Read everything again, now."""
        await self.tried(self.look)
        await self.tried(self._first)

    def _bring(self, runs: Sequence[RunSummary]) -> None:
        self._read()
        if runs:
            self._tell(lambda: Fresh(runs))

    def _read(self) -> None:
        self.fresh_at, self.postgres_error = self._options.clock(), None
