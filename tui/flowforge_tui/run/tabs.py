"""The line above a pane: what it is about, its tabs, and a note on the right. Keys and mouse choose."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from textual import events
from textual.message import Message

from flowforge_tui.run.banner import Banner
from flowforge_tui.run.text import Line, Span
from flowforge_tui.run.wrapping import cells, wrapped


class Tabs(Banner):
    """One line of tabs."""

    class Chosen(Message):
        """A tab was clicked."""

        def __init__(self, tabs: Tabs, name: str) -> None:
            super().__init__()
            self.tabs, self.name = tabs, name

    def __init__(self, names: Sequence[str], *, id: str | None = None) -> None:  # noqa: A002 - Textual's word
        super().__init__(id=id)
        self.names = list(names)
        self.chosen = self.names[0]
        self._starts: list[int] = []
        self._title: Line = []
        self._note: Line = []

    def label(self, title: Line, note: Line | None = None) -> None:
        """Say what the pane is about, and what there is to note."""
        self._title, self._note = title, note or []
        self._draw()

    def choose(self, name: str) -> None:
        """Choose a tab."""
        self.chosen = name
        self._draw()

    def step(self, by: int) -> str:
        """Choose the tab beside the chosen one; return it."""
        at = (self.names.index(self.chosen) + by) % len(self.names)
        self.choose(self.names[at])
        return self.chosen

    def on_resize(self) -> None:
        """Share the line anew."""
        self._draw()

    def on_click(self, event: events.Click) -> None:
        """Choose the tab that was clicked."""
        for start, name in reversed(list(zip(self._starts, self.names, strict=True))):
            if event.x >= start:
                if event.x < start + len(name) + 2:
                    self.post_message(self.Chosen(self, name))
                return

    def _draw(self) -> None:
        tabs: Line = []
        self._starts = []
        room = self.size.width - sum(len(name) + 3 for name in self.names)
        title = wrapped([self._title], max(room - 2, 8))[0] if room > 8 and self._title else []  # noqa: PLR2004
        title = [Span(" "), *title] if title else []
        at = cells(title) + 1
        for name in self.names:
            self._starts.append(at)
            tabs.append(Span(f"[{name}]", "tab") if name == self.chosen else Span(f" {name} ", "dim"))
            tabs.append(Span(" "))
            at += len(name) + 3
        note = self._note if at + sum(cell_len(span.text) for span in self._note) <= self.size.width else []
        gap = self.size.width - at - cells(note)
        self.show([[*title, Span(" "), *tabs, Span(" " * max(gap, 0)), *note]])
