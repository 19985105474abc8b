"""How styles by name become a terminal's: one set of component classes, so that themes decide about every colour."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual.widget import Widget

from flowforge_tui.run.text import Span

#: Every style that a Span may name.
NAMES = (
    *("ok", "bad", "warn", "active", "dim", "strong", "key", "number", "text", "match", "here", "tab"),
    *("exec", "queued", "backoff", "timer", "signal", "children"),
)


class Painted(Widget):
    """A widget that draws spans."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {f"paint--{name}" for name in NAMES}

    def paint(self, spans: Iterable[Span], base: Style) -> list[Segment]:
        """Return spans as segments on the background of *base*; their text is taken as it is."""
        return [Segment(span.text, base + self.brush(span.style)) for span in spans if span.text]

    def brush(self, name: str) -> Style:
        """Return the style of a name, without a background of its own unless it is meant to have one."""
        return self.get_component_rich_style(f"paint--{name}", partial=True) if name else Style.null()
