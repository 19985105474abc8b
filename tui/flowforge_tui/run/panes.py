"""The panes of a run's screen, and the keys that turn, enlarge and search them; the screen says what they show."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal
from textual.screen import Screen

from flowforge_tui import keys
from flowforge_tui.run.banner import Banner
from flowforge_tui.run.bars import legend
from flowforge_tui.run.inspector import Inspector
from flowforge_tui.run.tail import EVENTS, LOGS, Tail
from flowforge_tui.run.timeline import Timeline
from flowforge_tui.widgets.hints import Hints


class Panes(Screen[None]):
    """Head, steps, inspector, and tail."""

    CSS_PATH: ClassVar[list[str]] = ["../palette.tcss", "../widgets/widgets.tcss", "screen.tcss"]  # type: ignore[assignment]
    HORIZONTAL_BREAKPOINTS: ClassVar[list[tuple[int, str]] | None] = [(0, "-narrow"), (100, "-wide")]  # type: ignore[misc]
    VERTICAL_BREAKPOINTS: ClassVar[list[tuple[int, str]] | None] = [(0, "-low"), (20, "-middle"), (30, "-high")]  # type: ignore[misc]
    AUTO_FOCUS = "#timeline"
    BINDINGS: ClassVar[list[BindingType]] = keys.bindings(keys.RUN)

    def __init__(self, *, unicode: bool = True) -> None:
        super().__init__()
        self.unicode = unicode

    def compose(self) -> ComposeResult:
        """Make the panes."""
        yield Banner(id="head")
        yield Banner(id="scrubber")
        yield Timeline(id="timeline")
        yield Banner(id="legend")
        with Horizontal(id="below"):
            yield Inspector(id="inspector", unicode=self.unicode)
            yield Tail(id="tail")
        yield Hints()

    def on_mount(self) -> None:
        """Say what the marks mean."""
        self.query_one("#legend", Banner).show([legend(unicode=self.unicode)])

    @property
    def timeline(self) -> Timeline:
        """The table of steps."""
        return self.query_one(Timeline)

    @property
    def inspector(self) -> Inspector:
        """What there is to say about a step."""
        return self.query_one(Inspector)

    @property
    def tail(self) -> Tail:
        """Events and logs."""
        return self.query_one(Tail)

    # -- what keys do --------------------------------------------------------------------------------------

    def action_tab(self, by: int) -> None:
        """Go to another tab of the inspector."""
        self.remove_class("-tail")
        self.inspector.step_tab(by)

    def action_logs(self) -> None:
        """Show the logs of the step, of all steps, the events."""
        tail = self.tail
        self.add_class("-tail")
        if tail.tabs.chosen == EVENTS:
            tail.choose(LOGS, self.timeline.cursor)
        elif tail.step is not None:
            tail.choose(LOGS)
        else:
            tail.choose(EVENTS)
            self.remove_class("-tail")

    def action_filter(self) -> None:
        """Look for a text in events or logs."""
        self.add_class("-tail", "-expanded")
        self.tail.action_find()

    def action_match(self, step: int) -> None:
        """Go to the next place of what was looked for, or the one before."""
        self.tail.action_match(step)

    def action_resize(self, by: int) -> None:
        """Make the panes below larger or smaller."""
        if by > 0:
            self.set_class(self.has_class("-expanded"), "-full")
            self.add_class("-expanded")
        elif self.has_class("-full"):
            self.remove_class("-full")
        else:
            self.remove_class("-expanded")

    def inspect(self) -> None:
        """Read on in the inspector."""
        self.add_class("-expanded")
        self.inspector.lines.focus()

    def leave_panes(self) -> bool:
        """End a search, or make the panes below small again; False when there was nothing of it."""
        if self.tail.finding:
            self.tail.stop_finding()
        elif self.has_class("-expanded"):
            self.remove_class("-expanded", "-full", "-tail")
            self.timeline.focus()
        else:
            return False
        return True
