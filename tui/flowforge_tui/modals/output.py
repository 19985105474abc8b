"""What a command of the CLI prints, while it prints it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Label, RichLog

from flowforge_tui.modals.child import Child

if TYPE_CHECKING:
    from flowforge_tui.app import TopApp

#: Lines that are kept, and how many characters of one.
LINES, LONGEST = 5_000, 4_000
#: Cells of the window, nine tenths of the screen, that are no text: its border and padding, and a scroll bar.
AROUND = 5


class OutputModal(ModalScreen[None]):
    """The window."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "dismiss", "close; what runs is stopped"),
        Binding("j,down", "scroll(1)", show=False),
        Binding("k,up", "scroll(-1)", show=False),
        Binding("pagedown,space", "scroll(15)", show=False),
        Binding("pageup", "scroll(-15)", show=False),
        Binding("g,home", "scroll(-100000)", show=False),
        Binding("G,end", "scroll(100000)", show=False),
        Binding("y,o", "copy_command", "copy the command"),
    ]

    if TYPE_CHECKING:
        app: TopApp

    def __init__(self, arguments: Sequence[str]) -> None:
        super().__init__()
        self.arguments = list(arguments)
        width = self.app.size.width * 9 // 10 - AROUND
        self._child = Child([*self.app.options.command, *arguments], width=max(40, width))

    def compose(self) -> ComposeResult:
        """Make the window."""
        with Vertical(id="window", classes="window tall") as window:
            window.border_title = self.app.plain(f"flowforge {shlex.join(self.arguments)}", 200)
            yield RichLog(max_lines=LINES, wrap=True, min_width=20, markup=False, highlight=False, auto_scroll=False)
            yield Label("running; esc stops it", id="problem", markup=False)

    def on_mount(self) -> None:
        """Start the command."""
        self.query_one(RichLog).focus()
        self.run_worker(self._run(), exclusive=True)

    async def on_unmount(self) -> None:
        """End what still runs: nobody sees any more what it prints."""
        self.workers.cancel_node(self)
        await self._child.end()

    async def _run(self) -> None:
        log = self.query_one(RichLog)
        async for line in self._child.lines():
            log.write(Text(self.app.plain(line, LONGEST)))
        code = await self._child.code()
        self.query_one("#problem", Label).update("done; esc closes" if code == 0 else f"exit code {code}; esc closes")
        await self.app.live.tried(self.app.live.look)

    def action_scroll(self, lines: int) -> None:
        """Read on."""
        self.query_one(RichLog).scroll_relative(y=lines, animate=False)

    def action_copy_command(self) -> None:
        """Copy the command line."""
        self.app.copy(f"flowforge {shlex.join(self.arguments)}")
