"""What every screen of the dashboard is: a header, something in the middle, and a line of keys."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar

from textual.app import ComposeResult
from textual.screen import Screen
from textual.widget import Widget

from flowforge.model.text import one_line
from flowforge_tui import keys
from flowforge_tui.actions.verbs import ANSWERS
from flowforge_tui.live.live import Beat
from flowforge_tui.widgets.header import Header
from flowforge_tui.widgets.hints import Hints
from flowforge_tui.widgets.table import Table

if TYPE_CHECKING:
    from flowforge_tui.app import TopApp


class View(Screen[None]):
    """One of the screens that digits lead to."""

    #: Name of the view in the header.
    VIEW: ClassVar[str] = ""

    if TYPE_CHECKING:
        app: TopApp

    def compose(self) -> ComposeResult:
        """Make header, middle, and keys."""
        yield Header(self.VIEW)
        yield from self.middle()
        yield Hints()

    def middle(self) -> Iterable[Widget]:
        """Return what this screen is about."""
        raise NotImplementedError

    def on_mount(self) -> None:
        """Begin to hear what happens."""
        self.app.live.subscribe(self)

    def on_unmount(self) -> None:
        """Hear nothing any more."""
        self.app.live.unsubscribe(self)

    def on_beat(self, _: Beat) -> None:
        """Draw again what depends on the time."""
        if self.is_current:
            self.query_one(Header).beat()
            self.query_one(Hints).beat()
            self.beat()

    def beat(self) -> None:
        """Draw the middle again where it looks different."""

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Let nothing be changed where one may only look."""
        return not (keys.steers(action) and self.app.withheld) and super().check_action(action, parameters)

    def offers(self, verb: str) -> bool:
        """Return whether what a key does to a row is worth naming: where there is no row, it is not."""
        return verb not in ANSWERS and bool(self.query(Table)) and self.table.key is not None

    def on_screen_resume(self) -> None:
        """Show what has happened meanwhile."""
        self.query_one(Header).beat()
        self.beat()

    # -- what keys do everywhere ---------------------------------------------------------------------------

    @property
    def table(self) -> Table:
        """The list that keys go to."""
        focused = self.focused
        return focused if isinstance(focused, Table) else self.query(Table).first()

    def action_move(self, by: int) -> None:
        """Go some rows down, or up."""
        self.table.action_move(by)

    def action_page(self, by: int) -> None:
        """Go a page down, or up."""
        self.table.action_page(by)

    def action_end(self, first: bool) -> None:  # noqa: FBT001 - an action's arguments are positional
        """Go to the first row, or to the last."""
        self.table.action_end(first=first)

    def action_open(self) -> None:
        """Open the row under the cursor."""
        self.table.action_open()

    def action_back(self) -> None:
        """Go back; the first screens have nothing behind them."""
        self.app.go_back()

    def action_leave(self) -> None:
        """Go back, or quit."""
        if not self.app.go_back():
            self.app.exit()

    def copied(self) -> tuple[str, str] | None:
        """Return what is copied of the row under the cursor, and the command that shows it."""
        return None

    def action_copy(self) -> None:
        """Copy the id of the row under the cursor."""
        if (found := self.copied()) is not None:
            self.app.copy(found[0])

    def action_copy_command(self) -> None:
        """Copy the command that does the same as this screen."""
        if (found := self.copied()) is not None:
            self.app.copy(found[1])

    def say(self, text: object, severity: Any = "information", title: str = "") -> None:
        """Tell the person something, for a moment."""
        self.app.notify(one_line(text, 300), title=title, severity=severity, markup=False)
