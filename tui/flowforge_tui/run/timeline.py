"""The table of steps: rails, state, attempts, and the bar on the time axis, one row for each step.

The cursor belongs to a step, not to a line: whatever comes, goes or is folded around it, it stays on its step, and the
step stays where it is on the screen. Only visible rows are drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import ClassVar

from rich.segment import Segment
from textual import events
from textual.binding import BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from flowforge_tui import keys
from flowforge_tui.painting import Painted
from flowforge_tui.run.bars import Window
from flowforge_tui.run.columns import Columns, drawn, heading
from flowforge_tui.run.rows import Row

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MINUTE = timedelta(minutes=1)
#: Zooms that one key goes through.
WHOLE, STEP, MINUTE, FREE = "", "step", "last minute", "free"


class Timeline(Painted, ScrollView, can_focus=True):
    """Steps on a time axis."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"timeline--cursor", "timeline--cursor-dim"}

    BINDINGS: ClassVar[list[BindingType]] = keys.bindings(keys.LIST, keys.TIMELINE)

    class StepSelected(Message):
        """The cursor is on another step."""

        def __init__(self, key: str) -> None:
            super().__init__()
            self.key = key

    class StepOpened(Message):
        """A step was opened: what is inside it is wanted, or all about it."""

        def __init__(self, row: Row) -> None:
            super().__init__()
            self.row = row

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - Textual's word
        super().__init__(id=id)
        self._columns = Columns.of((), 80)
        self.rows: list[Row] = []
        self.cursor: str | None = None
        self.zoom = WHOLE
        self._places: dict[str, int] = {}
        self._whole = Window(_EPOCH, _EPOCH + _MINUTE)
        self._window = self._whole
        self._now = _EPOCH
        self._past = False

    # -- what is shown -------------------------------------------------------------------------------------

    def show(self, rows: Sequence[Row], whole: Window, now: datetime, *, past: bool = False) -> None:
        """Show rows instead of those before; the cursor stays on its step."""
        before = self._places.get(self.cursor or "")
        self.rows = list(rows)
        self._places = {row.key: at for at, row in enumerate(self.rows)}
        self._columns = Columns.of(self.rows, self.size.width, self._columns.name)
        self._past = past
        self.virtual_size = Size(self.size.width, len(self.rows) + 1)
        self.tick(whole, now)
        if not self.rows:
            self.cursor = None
            return
        at = self._places.get(self.cursor or "")
        if at is None:
            self._select(min(before or 0, len(self.rows) - 1))
        elif before is not None and at != before:
            self.scroll_to(y=max(0, self.scroll_offset.y + at - before), animate=False, force=True)

    def tick(self, whole: Window, now: datetime) -> None:
        """Let time go on: bars that are open grow."""
        self._whole, self._now = whole, now
        self._look()
        self.refresh()

    @property
    def selected(self) -> Row | None:
        """The row of the cursor."""
        at = self._places.get(self.cursor or "")
        return None if at is None else self.rows[at]

    @property
    def window(self) -> Window:
        """The piece of time on the screen."""
        return self._window

    # -- moving --------------------------------------------------------------------------------------------

    def action_move(self, by: int) -> None:
        """Move the cursor."""
        if self.rows:
            at = self._places.get(self.cursor or "", 0)
            self._select(min(max(at + by, 0), len(self.rows) - 1))

    def action_page(self, by: int) -> None:
        """Move the cursor by a screen."""
        self.action_move(by * max(self.size.height - 2, 1))

    def action_end(self, first: bool) -> None:  # noqa: FBT001 - an action's arguments are positional
        """Go to the first step, or to the last."""
        self.action_move(-len(self.rows) if first else len(self.rows))

    def action_open(self) -> None:
        """Open the step of the cursor."""
        if self.selected is not None:
            self.post_message(self.StepOpened(self.selected))

    def on_click(self, event: events.Click) -> None:
        """Select the step that was clicked; open it when it is clicked again."""
        at = int(event.y) - 1 + self.scroll_offset.y
        if event.y >= 1 and at < len(self.rows):
            if self.rows[at].key == self.cursor:
                self.action_open()
            self._select(at)

    def go_to(self, key: str) -> None:
        """Put the cursor on a step, if it has a row."""
        at = self._places.get(key)
        if at is not None:
            self._select(at)

    def _select(self, at: int) -> None:
        before = self._places.get(self.cursor or "")
        if self.rows[at].key != self.cursor:
            self.cursor = self.rows[at].key
            self.post_message(self.StepSelected(self.cursor))
        top, height = self.scroll_offset.y, max(self.size.height - 1, 1)
        if at < top or at >= top + height:
            self.scroll_to(y=at if at < top else at - height + 1, animate=False, force=True)
        if self.zoom == STEP:
            self._look()
            self.refresh()
        else:
            self._refresh_rows(before, at)

    def _refresh_rows(self, *places: int | None) -> None:
        """Draw some rows again, and no others: that is what moving the cursor comes to."""
        for at in places:
            if at is not None:
                self.refresh(Region(0, at - self.scroll_offset.y + 1, self.size.width, 1))

    # -- zooming -------------------------------------------------------------------------------------------

    def action_zoom_next(self) -> None:
        """Look at the whole run, at the step, at the last minute."""
        choices = [WHOLE, STEP] + ([MINUTE] if self._whole.length > _MINUTE else [])
        self.zoom = choices[(choices.index(self.zoom) + 1) % len(choices)] if self.zoom in choices else WHOLE
        self._look()
        self.refresh()

    def action_zoom(self, factor: float) -> None:
        """Look closer, or from further away, at what the step of the cursor did."""
        self._free(self._window.zoomed(factor, self._middle()))

    def action_pan(self, share: float) -> None:
        """Look at what was earlier or later."""
        self._free(self._window.moved(share))

    def _free(self, window: Window) -> None:
        self._window = window.within(self._whole)
        self.zoom = WHOLE if self._window == self._whole else FREE
        self.refresh()

    def _middle(self) -> datetime:
        step = self._of_step()
        window = self._window
        return window.start + window.length / 2 if step is None else step.start + step.length / 2

    def _of_step(self) -> Window | None:
        row = self.selected
        if row is None or not row.intervals:
            return None
        start = min(one.start for one in row.intervals)
        end = max(self._now if one.open else one.end for one in row.intervals)
        return Window(start, end)

    def _look(self) -> None:
        """Choose what is looked at."""
        step = self._of_step() if self.zoom == STEP else None
        if step is not None:
            margin = step.length / 10
            self._window = Window(step.start - margin, step.end + margin).within(self._whole)
        elif self.zoom == MINUTE:
            self._window = Window(self._whole.end - _MINUTE, self._whole.end).within(self._whole)
        elif self.zoom != FREE:
            self._window = self._whole

    # -- drawing -------------------------------------------------------------------------------------------

    def on_resize(self, event: events.Resize) -> None:
        """Share the width anew where it is another one, and keep the cursor on the screen."""
        least = self._columns.name if event.size.width == self.virtual_size.width else 0
        self.virtual_size = Size(event.size.width, len(self.rows) + 1)
        self._columns = Columns.of(self.rows, event.size.width, least)
        self.refresh()
        at = self._places.get(self.cursor or "")
        if at is not None:
            self.call_after_refresh(self._select, at)

    def render_line(self, y: int) -> Strip:
        """Draw the axis, or one row."""
        base, width = self.ground, self.size.width
        columns = self._columns
        if y == 0:
            here = self._now if self._past else None
            line = heading(columns, self._window, self._whole.start, zoom=self.zoom, here=here)
            return Strip(self.paint(line, base)).adjust_cell_length(width, base)
        at = self.scroll_offset.y + y - 1
        if at >= len(self.rows):
            return Strip.blank(width, base)
        row = self.rows[at]
        mark = " "
        if row.key == self.cursor:
            mark = ">" if not self.unicode else "▌"
            base += self.get_component_rich_style("timeline--cursor" if self.has_focus else "timeline--cursor-dim")
        line = drawn(row, columns, self._window, self._now, unicode=self.unicode)
        return Strip([Segment(mark, base), *self.paint(line, base)]).adjust_cell_length(width, base)
