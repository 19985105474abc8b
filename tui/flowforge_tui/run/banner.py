"""A few lines that are simply shown."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text
from textual.widgets import Static

from flowforge_tui.painting import Painted, ascii_only
from flowforge_tui.run.text import Line, plain


class Banner(Painted, Static):
    """Shows lines of spans; what is too long is cut."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - Textual's word
        super().__init__(id=id)
        self._shown: list[Line] = []

    def show(self, lines: Sequence[Line]) -> None:
        """Show other lines."""
        if lines == self._shown:
            return
        self._shown = list(lines)
        text = Text(no_wrap=True, overflow="crop", end="")
        for at, line in enumerate(lines):
            for span in line:
                text.append(span.text if self.unicode else ascii_only(span.text), self.brush(span.style))
            text.append("\n" if at < len(lines) - 1 else "")
        self.update(text, layout=False)
        if self.styles.height is None or self.styles.height.value != len(lines):
            self.styles.height = len(lines)

    @property
    def text(self) -> str:
        """The lines without styles."""
        return plain(self._shown)

    def notify_style_update(self) -> None:
        """Take on the colours of another theme."""
        super().notify_style_update()
        shown, self._shown = self._shown, []
        if shown and self.is_mounted:
            self.show(shown)
