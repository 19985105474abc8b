"""Events and captured logs of a run: they follow what comes, can be searched, and are bounded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.widgets import Input

from flowforge_tui import keys
from flowforge_tui.run import history
from flowforge_tui.run.lines import Lines
from flowforge_tui.run.picture import Picture
from flowforge_tui.run.tabs import Tabs
from flowforge_tui.run.text import Line, Span, one_line

EVENTS, LOGS = "Events", "Logs"


class Tail(Vertical):
    """Events and logs."""

    BINDINGS: ClassVar[list[BindingType]] = keys.bindings(keys.TAIL)

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - Textual's word
        super().__init__(id=id)
        self._picture: Picture | None = None
        self._logs: Sequence[tuple[str, int, str]] = ()
        #: The step whose logs are wanted; None: of all.
        self.step: str | None = None
        self._wanted = ""
        self._events = history.EventLines()

    def compose(self) -> ComposeResult:
        """Make the tabs, the lines, and the line to type in."""
        yield Tabs([EVENTS, LOGS], id="tail-tabs")
        yield Lines(id="tail-lines", follow=True)
        yield Input(placeholder="find", id="find", compact=True)

    @property
    def tabs(self) -> Tabs:
        """The line of tabs."""
        return self.query_one(Tabs)

    @property
    def lines(self) -> Lines:
        """What the chosen tab shows."""
        return self.query_one(Lines)

    @property
    def finding(self) -> bool:
        """Whether a text is being looked for."""
        return bool(self._wanted) or self.query_one(Input).has_class("-open")

    def show(self, picture: Picture) -> None:
        """Show the history of a picture."""
        self._picture = picture
        self._draw()

    def show_logs(self, logs: Sequence[tuple[str, int, str]]) -> None:
        """Show what attempts wrote."""
        self._logs = logs
        if self.tabs.chosen == LOGS:
            self._draw()

    def choose(self, tab: str, step: str | None = None) -> None:
        """Go to a tab; of logs, those of one step or of all."""
        self.tabs.choose(tab)
        self.step = step
        self._draw(top=True)

    @on(Tabs.Chosen)
    def _tab_clicked(self, event: Tabs.Chosen) -> None:
        event.stop()
        self.choose(event.name)

    # -- finding and following -----------------------------------------------------------------------------

    def action_follow(self) -> None:
        """Follow what comes, or stay here."""
        self.lines.follow(following=not self.lines.following)
        self._label()

    def action_find(self) -> None:
        """Ask for a text to look for."""
        line = self.query_one(Input)
        line.add_class("-open")
        line.focus()

    def action_match(self, step: int) -> None:
        """Go to the next place, or the one before."""
        self.lines.to_match(step)
        self._label()

    def stop_finding(self) -> None:
        """Look for nothing any more."""
        line = self.query_one(Input)
        line.remove_class("-open")
        line.value = ""
        self._find("")
        self.lines.focus()

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        event.stop()
        self._find(event.value)

    @on(Input.Submitted)
    def _entered(self, event: Input.Submitted) -> None:
        event.stop()
        self.query_one(Input).remove_class("-open")
        self.lines.focus()

    def _find(self, wanted: str) -> None:
        self._wanted = wanted
        self.lines.find(wanted)
        self._label()

    # -- drawing -------------------------------------------------------------------------------------------

    def _draw(self, *, top: bool = False) -> None:
        picture = self._picture
        if picture is None:
            return
        if self.tabs.chosen == EVENTS:
            made = self._events.of(picture.events) or [[Span("no events yet", "dim")]]
        else:
            made = self._log_lines(picture)
        self.lines.show(made, top=top)
        self._label()

    def _log_lines(self, picture: Picture) -> list[Line]:
        """Logs have no times: the past shows those of the attempts that had begun."""
        begun = {(one.step, one.attempt) for one in picture.events if one.type == "step.started"}
        logs = [log for log in self._logs if not picture.past or (log[0], log[1]) in begun]
        return history.log_lines(logs, self.step) or [
            [Span("nothing was written; what python steps print and log is captured", "dim")]
        ]

    def _label(self) -> None:
        picture, lines = self._picture, self.lines
        moves = picture is not None and not picture.past and not picture.ended
        mode = "live" if moves and lines.following else "tail" if lines.following else "t tail"
        found = f"{len(lines.found)} found, n N  " if self._wanted else "/find  "
        note = [Span(found, "match" if self._wanted else "dim"), Span(mode, "active" if lines.following else "dim")]
        self.tabs.label([Span(one_line(self.step, 40), "strong")] if self.step else [], note)
