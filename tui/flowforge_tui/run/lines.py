"""A pane of lines: scrolls, finds, follows its end, and keeps its place when what it shows changes.

Only what is visible is drawn, so thousands of lines cost nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.segment import Segment
from textual import events
from textual.binding import BindingType
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from flowforge_tui import keys
from flowforge_tui.painting import Painted
from flowforge_tui.run.text import Line, Span, plain
from flowforge_tui.run.wrapping import wrapped


class Lines(Painted, ScrollView, can_focus=True):
    """Lines of spans."""

    BINDINGS: ClassVar[list[BindingType]] = keys.bindings(keys.MOVE)

    def __init__(self, *, id: str | None = None, follow: bool = False, wrap: bool = True) -> None:  # noqa: A002
        super().__init__(id=id)
        self._wraps = wrap
        self.following = follow
        self.found: list[int] = []
        self._given: list[Line] = []
        self._lines: list[Line] = []
        #: Where each line that was given begins in those that are laid out.
        self._starts: list[int] = []
        self._width = 0
        self._wanted = ""

    def show(self, lines: Sequence[Line], *, top: bool = False) -> None:
        """Show lines instead of those before; *top* says that they are about something else."""
        known = len(self._given)
        longer = known <= len(lines) and all(old is new for old, new in zip(self._given, lines, strict=False))
        if not top and (lines == self._given if not longer else known == len(lines)):
            return
        self._given = list(lines)
        self._lay_out(known if longer and not top else 0)
        if self.following:
            self.scroll_end(animate=False, immediate=True, force=True, x_axis=False)
        elif top:
            self.scroll_to(0, 0, animate=False, force=True)

    def find(self, wanted: str) -> int:
        """Mark a text wherever it is, whatever its case; go to the next place, and say how many there are."""
        self._wanted = wanted.lower()
        self._look()
        if self.found:
            self.following = False
            self.to_match(0)
        self.refresh()
        return len(self.found)

    def to_match(self, step: int) -> None:
        """Go to the next line that was found (+1), the one before (-1), or the first from here (0)."""
        if not self.found:
            return
        here = self.scroll_offset.y
        if step < 0:
            target = next((at for at in reversed(self.found) if at < here), self.found[-1])
        else:
            target = next((at for at in self.found if at >= here + step), self.found[0])
        self.following = False
        self.scroll_to(y=target, animate=False, force=True)

    def follow(self, *, following: bool) -> None:
        """Stay at the end, or stay here."""
        self.following = following
        if following:
            self.scroll_end(animate=False, immediate=True, force=True, x_axis=False)

    def action_move(self, by: int) -> None:
        """Go some lines down, or up."""
        self.scroll_to(y=self.scroll_offset.y + by, animate=False, force=True)

    def action_page(self, by: int) -> None:
        """Go a page down, or up."""
        self.action_move(by * max(self.size.height - 1, 1))

    def action_end(self, first: bool) -> None:  # noqa: FBT001 - an action's arguments are positional
        """Go to the first line, or to the last."""
        self.action_move(-len(self._lines) if first else len(self._lines))

    def on_resize(self, _: events.Resize) -> None:
        """Break lines anew."""
        self._lay_out()
        if self.following:
            self.scroll_end(animate=False, immediate=True, force=True, x_axis=False)

    @property
    def text(self) -> str:
        """All lines, without styles."""
        return plain(self._given)

    def _lay_out(self, known: int = 0) -> None:
        """Break the lines from the first that is not known; with those before nothing has happened."""
        width = max(self.scrollable_content_region.width - 1, 10)
        if not known or width != self._width:
            self._lines, self._starts, known = [], [], 0
        for line in self._given[known:]:
            self._starts.append(len(self._lines))
            self._lines += wrapped([line], width) if self._wraps else [line]
        self._width = width
        self._look()
        self.virtual_size = Size(width, len(self._lines))
        self.refresh()

    def _look(self) -> None:
        wanted = self._wanted
        self.found = [at for at, line in enumerate(self._lines) if wanted in plain([line]).lower()] if wanted else []

    def render_line(self, y: int) -> Strip:
        """Draw one line."""
        base, at, width = self.ground, self.scroll_offset.y + y, self.size.width
        if at >= len(self._lines):
            return Strip.blank(width, base)
        line = self._lines[at]
        if self._wanted:
            line = marked(line, self._wanted)
        return Strip([Segment(" ", base), *self.paint(line, base)]).adjust_cell_length(width, base)


def marked(line: Line, wanted: str) -> Line:
    """Return a line in which every place of a text is marked."""
    made: Line = []
    for span in line:
        text, lower, start = span.text, span.text.lower(), 0
        while (at := lower.find(wanted, start)) >= 0 and len(lower) == len(text):
            made += [Span(text[start:at], span.style), Span(text[at : at + len(wanted)], "match")]
            start = at + len(wanted)
        made.append(Span(text[start:], span.style))
    return made
