"""A list of any length of which only what is seen is drawn; cursor and marks belong to keys, not to places.

What changes is drawn again line by line. New rows never move what one looks at: the row under the cursor keeps its
place on the screen, unless nobody has moved the cursor from the top, where the newest stays in sight.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, ClassVar, Protocol

from rich.style import Style
from textual import events
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from flowforge.model.text import Span
from flowforge_tui.painting import Painted, fit
from flowforge_tui.widgets.columns import GAP, Column, Placed, place

#: Cells left of the first column, for the cursor and the mark.
MARGIN = 3


class Rows(Protocol):
    """What a table shows: keys in an order, and what each looks like."""

    def __len__(self) -> int: ...
    def key(self, place: int) -> Hashable:
        """Return the key of the row at a place."""

    def find(self, key: Any) -> int | None:
        """Return where a key is."""

    def cells(self, place: int) -> Sequence[Span]:
        """Return a cell for every column."""


class Listed:
    """Rows of a short list, made beforehand."""

    def __init__(self, rows: Sequence[tuple[Hashable, Sequence[Span]]] = ()) -> None:
        self._rows = rows
        self._places = {key: place for place, (key, _) in enumerate(rows)}

    def __len__(self) -> int:
        return len(self._rows)

    def key(self, place: int) -> Hashable:
        """Return the key of the row at a place."""
        return self._rows[place][0]

    def find(self, key: Hashable) -> int | None:
        """Return where a key is."""
        return self._places.get(key)

    def cells(self, place: int) -> Sequence[Span]:
        """Return a cell for every column."""
        return self._rows[place][1]


class Table(ScrollView, Painted, can_focus=True, inherit_bindings=False):
    """The list."""

    # Textual looks for them along the first base only.
    COMPONENT_CLASSES: ClassVar[set[str]] = Painted.COMPONENT_CLASSES

    class Moved(Message):
        """The cursor is on another row."""

        def __init__(self, table: Table) -> None:
            super().__init__()
            self.table = table

        @property
        def control(self) -> Table:
            """The table."""
            return self.table

    class Opened(Moved):
        """The row under the cursor was chosen."""

    class TitleClicked(Message):
        """A column's title was clicked."""

        def __init__(self, table: Table, key: str) -> None:
            super().__init__()
            self.table, self.key = table, key

    def __init__(self, columns: Sequence[Column], **how: Any) -> None:
        super().__init__(**how)
        self.columns = tuple(columns)
        self.rows: Rows = Listed()
        self.marks: set[Hashable] = set()
        #: Column by which the rows are sorted, and whether the greatest is first.
        self.sorted_by: tuple[str, bool] | None = None
        self.cursor = 0
        self._cursor_key: Hashable | None = None
        #: Nobody has moved the cursor from the top.
        self._at_home = True
        self._drawn: dict[int, Any] = {}
        self._placed: list[Placed] = []

    # -- what is shown -------------------------------------------------------------------------------------

    @property
    def key(self) -> Any:
        """The key of the row under the cursor as it was last drawn; None in an empty table."""
        if self._cursor_key is not None and self.rows.find(self._cursor_key) is not None:
            return self._cursor_key
        return self._key_here()

    @property
    def room(self) -> int:
        """How many cells a line has, beside the scroll bar."""
        return self.scrollable_content_region.width

    def _key_here(self) -> Any:
        return self.rows.key(self.cursor) if self.cursor < len(self.rows) else None

    def show(self, rows: Rows | None = None) -> None:
        """Show rows, or what has become of those shown: only lines that look different are drawn again."""
        if rows is not None:
            self.rows = rows
        self._keep_cursor()
        size = Size(max(1, self.room), len(self.rows) + 1)
        if size != self.virtual_size:
            self.virtual_size = size
        self.marks = {key for key in self.marks if self.rows.find(key) is not None}
        for y in range(1, self.size.height):
            if self._drawn.get(y) != self._look(y):
                self.refresh(Region(0, y, self.room, 1))
        if (key := self._key_here()) != self._cursor_key:
            self._cursor_key = key
            self.post_message(self.Moved(self))

    def _keep_cursor(self) -> None:
        if self._at_home or self._cursor_key is None:
            self.cursor = 0
            return
        found = self.rows.find(self._cursor_key)
        at = min(self.cursor, max(0, len(self.rows) - 1)) if found is None else found
        moved, self.cursor = at - self.cursor, at
        if moved and round(self.scroll_offset.y) + moved >= 0 and found is not None:
            self.virtual_size = Size(max(1, self.room), len(self.rows) + 1)
            self.scroll_to(y=self.scroll_offset.y + moved, animate=False, immediate=True, force=True)

    def _look(self, y: int) -> Any:
        """Return all that a line's drawing depends on."""
        at = y - 1 + self.scroll_offset.y
        if at >= len(self.rows):
            return None
        return (tuple(self.rows.cells(at)), at == self.cursor, self.rows.key(at) in self.marks)

    # -- drawing -------------------------------------------------------------------------------------------

    def render_line(self, y: int) -> Strip:
        """Draw one line: the titles, or a row."""
        width = self.room
        if y == 0:
            self._placed = place(self.columns, width - MARGIN)
            return self.strip([Span(" " * MARGIN), *self._titles()], width)
        look = self._drawn[y] = self._look(y)
        if look is None:
            return Strip.blank(width, self.ground)
        cells, here, marked = look
        base = self.ground + self.brush("cursor") if here else self.ground
        margin = Span(f"{'>' if here else ' '}{'●' if marked else ' '} ", "key")
        return self.strip([margin, *self._fitted(cells)], width, base)

    def _titles(self) -> list[Span]:
        spans = []
        for one in self._placed or place(self.columns, self.room - MARGIN):
            by = self.sorted_by
            arrow = "" if by is None or by[0] != one.column.key else "▾" if by[1] else "▴"
            spans.append(Span(fit(one.column.title + arrow, one.width, right=one.column.right), "title"))
            spans.append(Span(" " * GAP))
        return spans

    def _fitted(self, cells: Sequence[Span]) -> list[Span]:
        spans = []
        for one in self._placed or place(self.columns, self.room - MARGIN):
            cell = cells[one.no]
            spans.append(Span(fit(cell.text, one.width, right=one.column.right), cell.style))
            spans.append(Span(" " * GAP))
        return spans

    def brush(self, name: str) -> Style:
        """Let the cursor's line be seen only where the keys go."""
        return super().brush("strong" if name == "cursor" and not self.has_focus else name)

    # -- moving --------------------------------------------------------------------------------------------

    def move(self, to: int) -> None:
        """Put the cursor on a row and show it."""
        last = len(self.rows) - 1
        if last < 0:
            return
        self.cursor = max(0, min(to, last))
        self._at_home = self.cursor == 0
        self._cursor_key = self._key_here()
        top, room = self.scroll_offset.y, max(1, self.size.height - 1)
        if self.cursor < top:
            self.scroll_to(y=self.cursor, animate=False, immediate=True, force=True)
        elif self.cursor >= top + room:
            self.scroll_to(y=self.cursor - room + 1, animate=False, immediate=True, force=True)
        self.refresh()
        self.post_message(self.Moved(self))

    def action_move(self, by: int) -> None:
        """Go some rows down, or up."""
        self.move(self.cursor + by)

    def action_page(self, by: int) -> None:
        """Go a page down, or up."""
        self.move(self.cursor + by * max(1, self.size.height - 2))

    def action_end(self, *, first: bool) -> None:
        """Go to the first row, or to the last."""
        self.move(0 if first else len(self.rows) - 1)

    def action_open(self) -> None:
        """Open the row under the cursor."""
        if self.key is not None:
            self.post_message(self.Opened(self))

    def action_mark(self) -> None:
        """Mark the row under the cursor, or unmark it, and go on to the next."""
        if self.key is None:
            return
        self.marks ^= {self.key}
        self.move(self.cursor + 1)

    def watch_has_focus(self, has_focus: bool) -> None:  # noqa: FBT001 - Textual's signature
        """Show whether the keys go here."""
        super().watch_has_focus(has_focus)
        self.refresh()

    # -- mouse ---------------------------------------------------------------------------------------------

    def on_resize(self) -> None:
        """Keep the cursor in sight."""
        self.virtual_size = Size(max(1, self.room), len(self.rows) + 1)
        self._drawn.clear()
        if self.rows:
            self.move(self.cursor)

    def on_click(self, event: events.Click) -> None:
        """Choose a row, open it with two clicks, or sort by a column."""
        if event.y == 0:
            left = event.x - MARGIN
            for one in self._placed:
                if one.left <= left < one.left + one.width + GAP:
                    self.post_message(self.TitleClicked(self, one.column.key))
            return
        at = event.y - 1 + self.scroll_offset.y
        if at < len(self.rows):
            self.move(at)
            if event.chain > 1:
                self.action_open()
