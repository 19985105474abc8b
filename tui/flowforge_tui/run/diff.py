"""The Diff screen: two runs side by side, what differs, and where they first went different ways."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, ClassVar
from uuid import UUID

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.screen import Screen
from textual.widgets import Footer

from flowforge.errors import FlowforgeError
from flowforge_tui.run import compare
from flowforge_tui.run.banner import Banner
from flowforge_tui.run.lines import Lines
from flowforge_tui.run.picture import Picture
from flowforge_tui.run.source import Source
from flowforge_tui.run.text import Line, Span, one_line


class DiffScreen(Screen[None]):
    """Two runs."""

    CSS_PATH: ClassVar[list[str]] = ["palette.tcss", "diff.tcss"]  # type: ignore[assignment]
    AUTO_FOCUS = "#diff-lines"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f", "different", "Only what differs", id="diff.different"),
        Binding("v", "swap", "Swap A and B", id="diff.swap"),
        Binding("ctrl+r", "read", "Refresh", show=False, id="diff.refresh"),
        Binding("escape,q", "dismiss", "Back", key_display="esc", id="diff.back"),
    ]

    class Read(Message):
        """Both runs were read, or could not be."""

        def __init__(self, sides: tuple[Picture, Picture] | None, trouble: str = "") -> None:
            super().__init__()
            self.sides, self.trouble = sides, trouble

    def __init__(self, client: Any, left: UUID, right: UUID, *, unicode: bool = True) -> None:
        super().__init__()
        self.unicode = unicode
        self._sources = Source(client, left), Source(client, right)
        self.sides: tuple[Picture, Picture] | None = None
        self._different = False

    def compose(self) -> ComposeResult:
        """Make the screen."""
        yield Banner(id="diff-head")
        yield Lines(id="diff-lines")
        yield Footer(compact=True, show_command_palette=False)

    def on_mount(self) -> None:
        """Read both runs."""
        self.action_read()

    @work(exclusive=True, group="read")
    async def action_read(self) -> None:
        """Read both runs, and post them."""
        now = datetime.now(UTC)
        try:
            left, right = [(await source.turn()).picture(now) for source in self._sources]
        except (FlowforgeError, OSError, TimeoutError) as error:
            self.post_message(self.Read(None, str(error) or type(error).__name__))
        else:
            self.post_message(self.Read((left, right)))

    @on(Read)
    def _read(self, event: Read) -> None:
        event.stop()
        if event.sides is None:
            self.query_one(Banner).show([[Span(f" ! {one_line(event.trouble, 200)}; ctrl+r tries again", "bad")]])
        else:
            self.sides = event.sides
            self._draw()

    def on_resize(self) -> None:
        """Share the columns anew."""
        self._draw()

    def action_different(self) -> None:
        """Show only steps that differ, or all."""
        self._different = not self._different
        self._draw()

    def action_swap(self) -> None:
        """Compare the other way round."""
        if self.sides is not None:
            self.sides = self.sides[1], self.sides[0]
            self._sources = self._sources[1], self._sources[0]
            self._draw()

    def _draw(self) -> None:
        if self.sides is None:
            return
        found = compare.pairs(*self.sides)
        differing = [pair for pair in found if pair.differs]
        made: list[Line] = compare.head(*self.sides, unicode=self.unicode)
        made.append([Span(f" {len(differing)} of {len(found)} steps differ", "strong")])
        self.query_one(Banner).show([*made, compare.heading(self.size.width)])
        rows = compare.rows(differing if self._different else found, self.size.width, unicode=self.unicode)
        self.query_one(Lines).show(rows or [[Span("Both runs went the same way.", "ok")]])
