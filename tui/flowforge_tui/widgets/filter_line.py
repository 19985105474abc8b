"""The line above the list: the filter, how many runs it leaves, and by what they are sorted."""

from __future__ import annotations

from typing import Any

from textual import events
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.message import Message
from textual.widgets import Input

from flowforge.model.text import Span
from flowforge_tui.painting import Painting


class Aside(Painting):
    """A text at the right end of a line."""

    spans: tuple[Span, ...] = ()

    def say(self, *spans: Span) -> None:
        """Show a text."""
        if spans != self.spans:
            self.spans = spans
            width = sum(len(span.text) for span in spans) + 1
            self.styles.width = width
            self.refresh()

    def lines(self, width: int) -> list[list[Span]]:  # noqa: ARG002 - it is as wide as its text
        """Return the text."""
        return [list(self.spans)]


class FilterLine(Horizontal):
    """The line."""

    class Changed(Message):
        """The filter is another one."""

        def __init__(self, text: str, *, done: bool) -> None:
            super().__init__()
            self.text, self.done = text, done

    class Left(Message):
        """Whoever was typing has gone away; *cleared* with nothing left."""

    def compose(self) -> ComposeResult:
        """Make the line."""
        title = Aside(id="filter-title")
        title.spans = (Span(" Filter: ", "dim"),)
        yield title
        yield Input(placeholder="/ to filter", id="filter", compact=True, select_on_focus=False)
        yield Aside(id="filter-aside")

    @property
    def input(self) -> Input:
        """Where one types."""
        return self.query_one(Input)

    def aside(self, *spans: Span) -> None:
        """Show what the filter leaves, or what is wrong with it."""
        self.query_one("#filter-aside", Aside).say(*spans)

    def put(self, text: str) -> None:
        """Show a filter that came from elsewhere."""
        with self.input.prevent(Input.Changed):
            self.input.value = text

    def on_input_changed(self, event: Input.Changed) -> None:
        """Filter while one types."""
        event.stop()
        self.post_message(self.Changed(event.value, done=False))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Go on with what is left."""
        event.stop()
        self.post_message(self.Changed(event.value, done=True))

    def on_key(self, event: events.Key) -> None:
        """Leave with escape, or go down into the list."""
        if event.key in ("escape", "down", "tab"):
            event.stop()
            event.prevent_default()
            self.post_message(self.Left())


def count_text(shown: int, known: int, sorted_by: str, *, descending: bool, marked: int) -> list[Span]:
    """Return what stands at the right of a filter."""
    spans: list[Any] = [Span(f"{marked} marked  ", "key")] if marked else []
    arrow = "▾" if descending else "▴"
    return [*spans, Span(f"{shown} of {known}", "strong"), Span(f"  sort: {sorted_by} {arrow}", "dim")]
