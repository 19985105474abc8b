"""The Diff screen: two runs side by side, what differs, and where they part."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, ClassVar
from uuid import UUID

from textual import on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.message import Message
from textual.screen import Screen

from flowforge.errors import FlowforgeError
from flowforge.model.comparing import Difference
from flowforge_tui import keys
from flowforge_tui.run import compare
from flowforge_tui.run.banner import Banner
from flowforge_tui.run.lines import Lines
from flowforge_tui.run.text import Span, one_line
from flowforge_tui.widgets.hints import Hints

if TYPE_CHECKING:
    from flowforge.client import AsyncClient


class DiffScreen(Screen[None]):
    """Two runs."""

    CSS_PATH: ClassVar[list[str]] = ["../palette.tcss", "../widgets/widgets.tcss", "diff.tcss"]  # type: ignore[assignment]
    AUTO_FOCUS = "#diff-lines"
    BINDINGS: ClassVar[list[BindingType]] = keys.bindings(keys.DIFFERENCE)

    class Compared(Message):
        """The client has answered."""

        def __init__(self, found: Difference | None, trouble: str = "") -> None:
            super().__init__()
            self.found, self.trouble = found, trouble

    def __init__(self, client: AsyncClient, before: str | UUID, after: str | UUID, *, unicode: bool = True) -> None:
        super().__init__()
        self.client, self.unicode = client, unicode
        self.sides = before, after
        self.found: Difference | None = None
        self._different = False

    def compose(self) -> ComposeResult:
        """Make the screen."""
        yield Banner(id="diff-head")
        yield Lines(id="diff-lines", wrap=False)
        yield Hints(without=("pause-live",))

    def on_mount(self) -> None:
        """Compare."""
        self.query_one(Banner).show([[Span(" comparing", "dim")]])
        self.action_compare()

    @work(exclusive=True, group="compare")
    async def action_compare(self) -> None:
        """Ask for the difference, and post it."""
        try:
            found = await self.client.diff(*self.sides)
        except (FlowforgeError, OSError, TimeoutError) as error:
            self.post_message(self.Compared(None, str(error) or type(error).__name__))
        else:
            self.post_message(self.Compared(found))

    @on(Compared)
    def _compared(self, event: Compared) -> None:
        event.stop()
        if event.found is None:
            self.query_one(Banner).show([[Span(f" ! {one_line(event.trouble, 200)}; ctrl+r tries again", "bad")]])
            return
        self.found = event.found
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
        self.sides = self.sides[1], self.sides[0]
        self.action_compare()

    def action_copy(self) -> None:
        """Copy both ids."""
        self.app.copy_to_clipboard(" ".join(str(one) for one in self.sides))

    def action_copy_command(self) -> None:
        """Copy the command that does the same."""
        self.app.copy_to_clipboard(shlex.join(["flowforge", "diff", *(str(one) for one in self.sides)]))

    def action_back(self) -> None:
        """Go back."""
        _ = self.dismiss()

    action_leave = action_back

    def _draw(self) -> None:
        found, width = self.found, self.size.width
        if found is None:
            return
        head = compare.head(found, unicode=self.unicode)
        self.query_one(Banner).show([*head, compare.heading(found, width - 2)])
        rows = compare.rows(found, width - 2, different=self._different, unicode=self.unicode)
        self.query_one(Lines).show(rows or [[Span("no step differs", "ok")]])
