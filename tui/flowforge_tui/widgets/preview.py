"""Below a list: more of what the cursor is on, as many lines as one asks for."""

from __future__ import annotations

from flowforge.model.text import Span
from flowforge_tui.painting import Painting
from flowforge_tui.run.wrapping import wrapped

#: Cells of a name before what is said about it.
HANG = 10


class Preview(Painting):
    """The panel."""

    def __init__(self, *, lines: int = 1) -> None:
        super().__init__()
        self._shown: list[list[Span]] = []
        self.styles.height = lines + 1

    def show(self, lines: list[list[Span]]) -> None:
        """Show lines."""
        if lines != self._shown:
            self._shown = lines
            self.refresh()

    def resize(self, lines: int) -> None:
        """Take so many lines."""
        self.styles.height = lines + 1
        self.refresh()

    def lines(self, width: int) -> list[list[Span]]:
        """Return a rule, and what is shown; what is too long goes on below, beside its name."""
        return [[Span("─" * width, "dim")], *wrapped(self._shown, width, hang=HANG)]
