"""A few lines that are simply shown."""

from __future__ import annotations

from collections.abc import Sequence

from flowforge_tui.painting import Painting
from flowforge_tui.run.text import Line, plain


class Banner(Painting):
    """Shows lines of spans; what is too long is cut."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - Textual's word
        super().__init__(id=id)
        self._shown: list[Line] = []

    def show(self, lines: Sequence[Line]) -> None:
        """Show other lines."""
        if lines == self._shown:
            return
        self._shown = list(lines)
        if self.styles.height is None or self.styles.height.value != len(lines):
            self.styles.height = len(lines)
        self.refresh()

    def lines(self, width: int) -> list[Line]:  # noqa: ARG002 - what is too long is cut
        """Return the lines."""
        return self._shown

    @property
    def text(self) -> str:
        """The lines without styles."""
        return plain(self._shown)
