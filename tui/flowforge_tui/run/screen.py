"""The screen of one run: its steps on a time axis, an inspector, its events and logs, at any moment of its history.

Coming and going of panes, keys and time never moves the cursor from its step.
"""

from __future__ import annotations

import shlex
from dataclasses import replace
from datetime import datetime
from time import perf_counter

from textual import on, work

from flowforge.errors import FlowforgeError
from flowforge.model.status import RunStatus
from flowforge_tui.run import header, rows, scrubber
from flowforge_tui.run.banner import Banner
from flowforge_tui.run.bars import Window
from flowforge_tui.run.diff import DiffScreen
from flowforge_tui.run.explain import ExplainPane
from flowforge_tui.run.picture import Picture
from flowforge_tui.run.tail import LOGS
from flowforge_tui.run.timeline import Timeline
from flowforge_tui.run.watched import Watched
from flowforge_tui.widgets.hints import Hints

#: Frames after which what is written in words follows the time too.
WORDS = 4


class RunScreen(Watched):
    """One run."""

    #: What was opened by hand, or folded.
    _toggled: frozenset[str] = frozenset()
    #: Whether only steps in trouble are shown.
    _failures = False
    _frames = 0
    #: Whether the head has two lines.
    _high = False

    @property
    def selected_step(self) -> str | None:
        """The id of the step under the cursor."""
        return self.timeline.cursor

    def begin(self) -> None:
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
        whole, end = _axis(self.present)
        self.timeline.show(made, whole, shown.now if shown.past else end, past=shown.past)
        self.inspector.show(shown, self.timeline.cursor)
        self.tail.show(shown)
        self._draw_scrubber(shown)
        self.draw_head()
        self.query_one(Hints).beat()
        self.cost = perf_counter() - begun

    def grow(self, present: Picture) -> None:
        """Let bars grow with every frame, and words follow now and then."""
        self._frames += 1
        self.timeline.tick(*_axis(present))
        if self._frames % WORDS == 0:
            self.inspector.show(present, self.timeline.cursor)
            self.draw_head()

    def draw_head(self) -> None:
        """Show how the run stands; of one that could not be read, why."""
        shown = self.shown
        banner = self.query_one("#head", Banner)
        if shown is not None:
            standing = replace(self.standing, read_only=bool(getattr(self.app, "read_only", False)))
            made = header.lines(shown, standing, self.size.width, unicode=self.unicode)
            # A head that was two lines high stays that, or everything below it would jump with every event.
            self._high = self._high or len(made) > 1
            banner.show(made if len(made) > 1 or not self._high else [*made, []])
        else:
            banner.show(header.unknown(self.run_id, self.standing))

    def _draw_scrubber(self, shown: Picture) -> None:
        past = self.query_one("#scrubber", Banner)
        past.set_class(shown.past, "-open")
        past.show([scrubber.line(shown, self.size.width, unicode=self.unicode)] if shown.past else [])

    def on_resize(self) -> None:
        """Share the head's lines anew."""
        self._high = False
        self.draw_head()
        if self.shown is not None:
            self._draw_scrubber(self.shown)

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
        self.draw_head()
        if not self.standing.paused:
            self.call_later(self.look)

    # -- what can be done ----------------------------------------------------------------------------------

    def offers(self, verb: str) -> bool:
        """Return whether something can be done to the run as it stands, and is worth a place among the keys."""
        run = None if self.present is None else self.present.run
        if run is None:
            return False
        match verb:
            case "cancel":
                return not run.status.final
            case "retry":
                return run.status in (RunStatus.FAILED, RunStatus.CANCELLED)
            case "approve" | "reject":
                asked = [step for step in run.steps or () if "approval" in (step.waits_for or {})]
                return bool(asked) and not run.status.final
            case _:
                return True

    # -- going elsewhere -----------------------------------------------------------------------------------

    async def action_explain(self) -> None:
        """Say why the run stands where it stands."""
        await self.app.push_screen(ExplainPane(self.client, self.run_id, self.source.reference, unicode=self.unicode))

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


def _axis(present: Picture) -> tuple[Window, datetime]:
    """Return the time that a run has taken, and where it ends."""
    begun, end = present.run.created_at, present.end
    return Window(begun, max(end, begun)), end
