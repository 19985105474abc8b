"""One run that is looked at again and again: as it is, as it was, and how fresh that is.

Workers look and post what they have seen; the handlers here own all state. While the past is looked at, what comes is
kept and not shown.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from time import monotonic
from typing import TYPE_CHECKING
from uuid import UUID

from textual import on, work
from textual.message import Message

from flowforge.errors import FlowforgeError
from flowforge_tui.run import picture
from flowforge_tui.run.header import Standing
from flowforge_tui.run.panes import Panes
from flowforge_tui.run.picture import Picture
from flowforge_tui.run.recording import Recording
from flowforge_tui.run.source import Seen, Source

if TYPE_CHECKING:
    from flowforge.client import AsyncClient

#: Seconds between two looks at the run while it moves, and once it has ended; between two pictures of the time.
PACE, SLOW, FRAME = 0.25, 2.0, 0.25
#: How many times as long as a picture takes to draw the screen waits for the next: large runs are looked at less often.
CALM = 9
#: Seconds without an answer that are said.
SILENCE = 5


def utc_now() -> datetime:
    """Return the time."""
    return datetime.now(UTC)


class Watched(Panes):
    """The panes of one run, and what is known of it."""

    class Looked(Message):
        """The run was looked at."""

        def __init__(self, seen: Seen, logs: Sequence[tuple[str, int, str]] | None) -> None:
            super().__init__()
            self.seen, self.logs = seen, logs

    class LookFailed(Message):
        """The run could not be looked at."""

        def __init__(self, error: Exception) -> None:
            super().__init__()
            self.error = error

    def __init__(
        self,
        client: AsyncClient,
        run_id: UUID,
        *,
        clock: Callable[[], datetime] = utc_now,
        unicode: bool = True,
        watch: bool = True,
        source: Source | Recording | None = None,
    ) -> None:
        super().__init__(unicode=unicode)
        self.client, self.run_id = client, run_id
        self.source = source or Source(client, run_id)
        #: The run as it is, and the number of the event after which it is shown; None: as it is.
        self.present: Picture | None = None
        self.position: int | None = None
        self.standing = Standing(recorded=self.recorded)
        #: Seconds that the last picture took.
        self.cost = 0.0
        self._clock, self._watches = clock, watch
        #: The picture of the past that was shown last.
        self._past: Picture | None = None
        #: When the question was asked that has not been answered yet.
        self._asked_at: float | None = None
        #: Something was seen that is not on the screen yet, because nothing shall move; and what was written.
        self._stale = False
        self._logs: Sequence[tuple[str, int, str]] = ()

    def on_mount(self) -> None:
        """Begin to look."""
        self.draw_head()
        if self._watches:
            self.watch_run()
            self.set_interval(FRAME, self.frame)

    # -- what a screen makes of it -------------------------------------------------------------------------

    def begin(self) -> None:
        """Put the cursor where one begins to read; the run was shown for the first time."""
        raise NotImplementedError

    def redraw(self) -> None:
        """Show the picture in every pane."""
        raise NotImplementedError

    def draw_head(self) -> None:
        """Show how the run stands."""
        raise NotImplementedError

    def grow(self, present: Picture) -> None:
        """Show that time has passed and nothing has happened."""
        raise NotImplementedError

    # -- what others may ask -------------------------------------------------------------------------------

    @property
    def shown(self) -> Picture | None:
        """The picture on the screen: of the present, or of the past."""
        if self.present is None or self.position is None:
            return self.present
        if self._past is None or len(self._past.events) != self.position or self._past.total != self.present.total:
            self._past = picture.at(self.present, self.position)
        return self._past

    @property
    def recorded(self) -> bool:
        """Whether it can only be looked at."""
        return isinstance(self.source, Recording)

    @property
    def workflow(self) -> str:
        """The workflow that it is a run of."""
        return "" if self.present is None or self.recorded else self.present.run.workflow

    # -- looking -------------------------------------------------------------------------------------------

    @work(exclusive=True, group="watch")
    async def watch_run(self) -> None:
        """Look again and again: often while the run moves."""
        while True:
            await self.look()
            moves = self.present is not None and not self.present.ended
            pause = max(PACE, self.cost * CALM)
            await asyncio.sleep(pause if moves and not self.standing.trouble else SLOW)

    async def look(self) -> None:
        """Look once, and post what was seen."""
        self._asked_at = monotonic()
        try:
            seen = await self.source.turn()
            logs = await self.source.logs() if seen.changed else None
        except (FlowforgeError, OSError, TimeoutError) as error:
            self.post_message(self.LookFailed(error))
        else:
            self.post_message(self.Looked(seen, logs))
        self._asked_at = None

    async def action_look(self) -> None:
        """Look now."""
        await self.look()

    @on(Looked)
    def _looked(self, event: Looked) -> None:
        """Show what was seen, unless the past is looked at, or nothing shall move."""
        event.stop()
        first = self.present is None
        self._stale = self._stale or event.seen.changed or bool(self.standing.trouble)
        self.standing = replace(self.standing, trouble="")
        if event.logs is not None:
            self._logs = event.logs
        if not self._stale or (self.standing.paused and not first):
            return
        self._stale = False
        self.present = event.seen.picture(self._clock())
        self.tail.show_logs(self._logs)
        self.redraw()
        if first:
            self.begin()

    @on(LookFailed)
    def _failed(self, event: LookFailed) -> None:
        event.stop()
        self.standing = replace(self.standing, trouble=str(event.error) or type(event.error).__name__)
        self.draw_head()

    def frame(self) -> None:
        """Follow the time."""
        self._say_silence()
        present = self.present
        if present is None or not self.is_current or present.ended or self.position is not None or self.standing.paused:
            return
        self.present = present.later(self._clock())
        self.grow(self.present)

    def _say_silence(self) -> None:
        """Say that the servers do not answer, and for how long."""
        waited = 0 if self._asked_at is None else int(monotonic() - self._asked_at)
        if waited >= SILENCE and self.is_current:
            self.standing = replace(self.standing, trouble=f"no answer for {waited}s")
            self.draw_head()
