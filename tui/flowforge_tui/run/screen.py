"""The screen of one run: its steps on a time axis, an inspector, its events and logs, at any moment of its history.

Workers look and post what they have seen; the handlers here own all state. While the past is looked at, what comes is
kept and not shown. Coming and going of panes, keys and time never moves the cursor from its step.
"""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from time import monotonic, perf_counter
from typing import TYPE_CHECKING
from uuid import UUID

from textual import on, work
from textual.message import Message

from flowforge.errors import FlowforgeError
from flowforge_tui.run import header, picture, rows, scrubber
from flowforge_tui.run.banner import Banner
from flowforge_tui.run.bars import Window
from flowforge_tui.run.diff import DiffScreen
from flowforge_tui.run.explain import ExplainPane
from flowforge_tui.run.header import Standing
from flowforge_tui.run.panes import Panes
from flowforge_tui.run.picture import Picture
from flowforge_tui.run.recording import Recording
from flowforge_tui.run.source import Seen, Source
from flowforge_tui.run.tail import LOGS
from flowforge_tui.run.timeline import Timeline

if TYPE_CHECKING:
    from flowforge.client import AsyncClient

#: Seconds between two looks at the run while it moves, and once it has ended; between two pictures of the time.
PACE, SLOW, FRAME = 0.25, 2.0, 0.25
#: How many times as long as a picture takes to draw the screen waits for the next: large runs are looked at less often.
CALM = 9
#: Seconds without an answer that are said.
SILENCE = 5
#: Frames after which what is written in words follows the time too.
WORDS = 4


def utc_now() -> datetime:
    """Return the time."""
    return datetime.now(UTC)


class RunScreen(Panes):
    """One run."""

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
        self._clock, self._watches = clock, watch
        self._toggled: set[str] = set()
        self._failures = False
        self._frames = 0
        #: Whether the head has two lines.
        self._high = False
        #: The picture of the past that was shown last.
        self._past: Picture | None = None
        #: Seconds that the last picture took.
        self._cost = 0.0
        #: When the question was asked that has not been answered yet.
        self._asked_at: float | None = None
        #: Something was seen that is not on the screen yet, because nothing shall move; and what was written.
        self._stale = False
        self._logs: Sequence[tuple[str, int, str]] = ()

    def on_mount(self) -> None:
        """Begin to look."""
        if self._watches:
            self.watch_run()
            self.set_interval(FRAME, self.frame)

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
    def selected_step(self) -> str | None:
        """The id of the step under the cursor."""
        return self.timeline.cursor

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
            pause = max(PACE, self._cost * CALM)
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
            self._start()

    @on(LookFailed)
    def _failed(self, event: LookFailed) -> None:
        event.stop()
        self.standing = replace(self.standing, trouble=str(event.error) or type(event.error).__name__)
        self._draw_head()

    def _start(self) -> None:
        """Begin at what matters: a failure, else what runs."""
        table = self.timeline
        for status in ("failed", "retrying", "running", "waiting", "queued"):
            key = next((row.key for row in table.rows if row.status == status and not row.open), None)
            if key is not None:
                table.go_to(key)
                return

    # -- showing -------------------------------------------------------------------------------------------

    def redraw(self) -> None:
        """Show the picture in every pane."""
        shown, begun = self.shown, perf_counter()
        if shown is None or self.present is None:
            return
        made = rows.build(shown, self._toggled, failures=self._failures, unicode=self.unicode)
        self.timeline.show(made, self._whole(), shown.now if shown.past else self._end(), past=shown.past)
        self.inspector.show(shown, self.timeline.cursor)
        self.tail.show(shown)
        self._draw_scrubber(shown)
        self._draw_head()
        self._cost = perf_counter() - begun

    def frame(self) -> None:
        """Follow the time: bars grow with every frame, words now and then."""
        self._say_silence()
        present = self.present
        if present is None or not self.is_current or present.ended or self.position is not None or self.standing.paused:
            return
        self.present = present.later(self._clock())
        self._frames += 1
        self.timeline.tick(self._whole(), self._end())
        if self._frames % WORDS == 0:
            self.inspector.show(self.present, self.timeline.cursor)
            self._draw_head()

    def _say_silence(self) -> None:
        """Say that the servers do not answer, and for how long."""
        waited = 0 if self._asked_at is None else int(monotonic() - self._asked_at)
        if waited >= SILENCE and self.is_current:
            self.standing = replace(self.standing, trouble=f"no answer for {waited}s")
            self._draw_head()

    def _draw_head(self) -> None:
        shown = self.shown
        banner = self.query_one("#head", Banner)
        if shown is not None:
            made = header.lines(shown, self.standing, self.size.width, unicode=self.unicode)
            # A head that was two lines high stays that, or everything below it would jump with every event.
            self._high = self._high or len(made) > 1
            banner.show(made if len(made) > 1 or not self._high else [*made, []])
        elif self.standing.trouble:
            banner.show(header.unknown(self.run_id, self.standing))

    def _draw_scrubber(self, shown: Picture) -> None:
        past = self.query_one("#scrubber", Banner)
        past.set_class(shown.past, "-open")
        past.show([scrubber.line(shown, self.size.width, unicode=self.unicode)] if shown.past else [])

    def on_resize(self) -> None:
        """Share the head's lines anew."""
        self._high = False
        self._draw_head()
        if self.shown is not None:
            self._draw_scrubber(self.shown)

    def _whole(self) -> Window:
        assert self.present is not None
        return Window(self.present.run.created_at, max(self._end(), self.present.run.created_at))

    def _end(self) -> datetime:
        assert self.present is not None
        return self.present.end

    # -- the cursor ----------------------------------------------------------------------------------------

    @on(Timeline.StepSelected)
    def _selected(self, event: Timeline.StepSelected) -> None:
        event.stop()
        shown = self.shown
        if shown is not None:
            self.inspector.show(shown, event.key)
            tail = self.tail
            if tail.step is not None:
                tail.choose(LOGS, event.key)

    @on(Timeline.StepOpened)
    def _opened(self, event: Timeline.StepOpened) -> None:
        """Open or fold what is inside, or show all about the step."""
        event.stop()
        if event.row.inside:
            self._toggled ^= {event.row.key}
            self.redraw()
        else:
            self.inspect()

    def action_failures(self) -> None:
        """Show only steps that failed or were tried again, or all."""
        self._failures = not self._failures
        self.set_class(self._failures, "-failures")
        self.redraw()

    # -- time ----------------------------------------------------------------------------------------------

    def action_scrub(self, by: int) -> None:
        """Go back or forth in the run's history; behind its last event is the present."""
        if self.present is not None and self.present.total:
            self.position = scrubber.moved(self.position, by, self.present.total)
            self.redraw()

    def action_pause(self) -> None:
        """Let nothing move on the screen, or go on; the run does not notice."""
        self.standing = replace(self.standing, paused=not self.standing.paused)
        self._draw_head()
        if not self.standing.paused:
            self.call_later(self.look)

    # -- going elsewhere -----------------------------------------------------------------------------------

    async def action_explain(self) -> None:
        """Say why the run stands where it stands."""
        if self.recorded:
            self.notify("a recording stands still; its events and errors say why", markup=False)
            return
        await self.app.push_screen(ExplainPane(self.client, self.run_id, unicode=self.unicode))

    @work(exclusive=True, group="diff")
    async def action_difference(self) -> None:
        """Compare with the last run that completed."""
        try:
            other = await self.source.last_good()
        except (FlowforgeError, OSError, TimeoutError) as error:
            self.notify(str(error), severity="error", markup=False)
            return
        if other is None:
            self.notify("No other run of this workflow has completed", severity="warning", markup=False)
        else:
            await self.app.push_screen(DiffScreen(self.client, other.id, self.source.reference, unicode=self.unicode))

    def action_copy(self) -> None:
        """Copy the run's id."""
        self.app.copy_to_clipboard(str(self.run_id))
        self.notify(f"Copied {self.run_id}", markup=False)

    def action_copy_command(self) -> None:
        """Copy the command that shows the same."""
        seen = self.shown
        at = f" --at {len(seen.events)}" if seen is not None and seen.past else ""
        command = f"flowforge show {shlex.quote(str(self.source.reference))}{at}"
        self.app.copy_to_clipboard(command)
        self.notify(f"Copied: {command}", markup=False)

    def action_back(self) -> None:
        """Undo one thing: a search, the past, a large pane, a filter; then leave."""
        if self.position is not None and not self.tail.finding:
            self.position = None
            self.redraw()
        elif self.leave_panes():
            return
        elif self._failures:
            self.action_failures()
        else:
            self.action_leave()

    def action_leave(self) -> None:
        """Go back to where this screen was opened from."""
        _ = self.dismiss()
