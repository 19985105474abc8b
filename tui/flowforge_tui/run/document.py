"""Lines with a cursor, at which parts of a document are folded and opened by keys and mouse.

The cursor stays on its line when what it shows changes above or below it; who owns the document decides what folding
means, and is told.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import ClassVar

from rich.segment import Segment
from textual import events
from textual.binding import BindingType
from textual.message import Message
from textual.strip import Strip

from flowforge_tui import keys
from flowforge_tui.run.folding import Handle, Path
from flowforge_tui.run.lines import Lines
from flowforge_tui.run.text import Line


class Document(Lines):
    """The lines, and the one under the cursor."""

    BINDINGS: ClassVar[list[BindingType]] = keys.bindings(keys.DOCUMENT)

    class Folded(Message):
        """A part is to be folded, or opened."""

        def __init__(self, path: Path) -> None:
            super().__init__()
            self.path = path

    class AllFolded(Message):
        """Everything is to be folded, or opened."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - Textual's word
        super().__init__(id=id)
        #: The line of the cursor, as it is laid out.
        self.cursor = 0

    def show(self, lines: Sequence[Line], *, top: bool = False) -> None:
        """Show lines instead of those before; *top* says that they are about something else."""
        if top:
            self.cursor = 0
        super().show(lines, top=top)
        self.cursor = min(self.cursor, max(len(self._lines) - 1, 0))

    @property
    def handle(self) -> Handle | None:
        """What can be folded at the cursor."""
        return self._handle_at(self.cursor)

    def _handle_at(self, at: int) -> Handle | None:
        if not 0 <= at < len(self._lines):
            return None
        line = self._given[bisect_right(self._starts, at) - 1]
        return line if isinstance(line, Handle) else None

    # -- moving --------------------------------------------------------------------------------------------

    def action_move(self, by: int) -> None:
        """Move the cursor."""
        self._go_to(self.cursor + by)

    def _go_to(self, at: int) -> None:
        self.cursor = min(max(at, 0), max(len(self._lines) - 1, 0))
        top, height = self.scroll_offset.y, max(self.size.height, 1)
        if not top <= self.cursor < top + height:
            to = self.cursor if self.cursor < top else self.cursor - height + 1
            self.scroll_to(y=to, animate=False, force=True)
        self.refresh()

    # -- folding -------------------------------------------------------------------------------------------

    def action_fold(self, opened: bool | None = None) -> None:  # noqa: FBT001 - an action's arguments are positional
        """Fold or open what is at the cursor; where that is so already, go to the next such place."""
        handle = self.handle
        if handle is not None and handle.opened is not opened:
            self.post_message(self.Folded(handle.path))
        elif opened is not None:
            self._to_handle(1 if opened else -1)

    def _to_handle(self, step: int) -> None:
        at = self.cursor + step
        while 0 <= at < len(self._lines):
            if self._handle_at(at) is not None:
                self._go_to(at)
                return
            at += step

    def action_fold_all(self) -> None:
        """Fold everything, or open everything."""
        self.post_message(self.AllFolded())

    def on_click(self, event: events.Click) -> None:
        """Put the cursor on a line; fold or open what is there."""
        at = int(event.y) + self.scroll_offset.y
        if at < len(self._lines):
            self._go_to(at)
            self.action_fold()

    # -- drawing -------------------------------------------------------------------------------------------

    def watch_has_focus(self, has_focus: bool) -> None:  # noqa: FBT001 - Textual's signature
        """Show whether the keys go here."""
        super().watch_has_focus(has_focus)
        self.refresh()

    def render_line(self, y: int) -> Strip:
        """Draw one line; that of the cursor is marked while the keys go here."""
        strip = super().render_line(y)
        if not self.has_focus or y + self.scroll_offset.y != self.cursor or not self._lines:
            return strip
        mark = Strip([Segment("▌" if self.unicode else ">", self.ground + self.brush("active"))])
        return Strip.join([mark, strip.crop(1, strip.cell_length)])
