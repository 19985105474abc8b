"""The first line of every screen: which installation, whether its servers answer, how old what one sees is."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import NamedTuple

from rich.cells import cell_len
from textual import events

from flowforge.model.text import Span, duration
from flowforge_tui.live.live import OLD
from flowforge_tui.painting import Painting

#: Cells that are left free, so that a longer number does not turn everything round.
SLACK = 2


class Tab(NamedTuple):
    """A screen that the header leads to."""

    view: str
    digit: str
    title: str
    #: Named only where one is.
    rare: bool = False


TABS = (
    Tab("runs", "1", "Runs"),
    Tab("queues", "2", "Queues"),
    Tab("workers", "3", "Workers"),
    Tab("schedules", "4", "Schedules"),
    Tab("incidents", "5", "Incidents"),
    Tab("imported", "6", "Imported", rare=True),
)


class Header(Painting):
    """The line."""

    def __init__(self, view: str) -> None:
        super().__init__()
        self.view = view
        self._last: list[Span] = []

    def beat(self) -> None:
        """Draw it again if it looks different."""
        if self._spans(self.size.width) != self._last:
            self.refresh()

    def lines(self, width: int) -> list[list[Span]]:
        """Return the line."""
        self._last = self._spans(width)
        return [self._last]

    def _spans(self, width: int) -> list[Span]:
        age = self._age()
        for left, counts, tabs in self._choices():
            if _size([*left, *counts, *age, *tabs]) + SLACK < width:
                break
        gap = max(1, width - _size([*left, *counts, *age, *tabs]))
        self._tabs_at = width - _size(tabs)
        return [*left, *counts, *age, Span(" " * gap), *tabs]

    def _choices(self) -> Iterator[tuple[list[Span], list[Span], list[Span]]]:
        """Yield servers, counts and tabs as they may stand side by side; what takes less room later."""
        counts = self._counts()
        place = Span(f" {self.app.options.place} ")
        name = [Span(" FlowForge ", "strong"), place]
        yield [*name, *self._servers(short=False)], counts, self._tabs(short=False)
        yield [*name, *self._servers(short=True)], counts, self._tabs(short=False)
        yield [place, *self._servers(short=True)], counts, self._tabs(short=False)
        yield [*name, *self._servers(short=False)], counts, self._tabs(short=True)
        yield [*name, *self._servers(short=True)], counts, self._tabs(short=True)
        yield self._servers(short=True), counts, self._tabs(short=True)
        yield self._servers(short=True), [], self._tabs(short=True)

    def _servers(self, *, short: bool) -> list[Span]:
        live = self.app.live
        postgres = "" if live.pulse is None or short else f" {live.pulse.postgres}"
        name, _, number = live.streams_version.partition(" ")
        streams = live.streams_error or ("connecting" if live.pulse is None else None)
        return [
            *_server("pg" + postgres, live.postgres_error, connecting=live.pulse is None, silent=live.silent),
            *_server(name if short or not number else f"{name} {number}", streams, connecting=live.pulse is None),
        ]

    def _counts(self) -> list[Span]:
        pulse = self.app.live.pulse
        if pulse is None:
            return []
        spans = [Span(" │ ", "dim"), Span(f"{pulse.active} active", "active" if pulse.active else "dim")]
        spans.append(Span(f" {pulse.failed} failed/1h", "bad" if pulse.failed else "dim"))
        if pulse.workers == 0:
            spans.append(Span(" no worker", "warn"))
        return spans

    def _age(self) -> list[Span]:
        live = self.app.live
        spans = [Span(" │ ", "dim")]
        if live.paused:
            return [*spans, Span(" PAUSED ", "badge"), *([] if live.age is None else [Span(f" {_whole(live.age)}")])]
        if live.age is None:
            return [*spans, Span("no data yet", "warn")]
        spans.append(Span(f"{_whole(live.age)} ago", "warn" if live.age > OLD else "dim"))
        if self.app.read_only:
            spans.append(Span(" READ ONLY", "warn"))
        return spans

    def _tabs(self, *, short: bool) -> list[Span]:
        spans = []
        for tab in TABS:
            here = tab.view == self.view
            name = tab.title if here or not (short or tab.rare) else ""
            count = self._incidents() if tab.view == "incidents" else ""
            blank = " " if name else ""
            text = f"[{tab.digit}]{name}{count}" if here else f"{tab.digit}{blank}{name}{count}"
            spans.append(Span(text, "strong" if here else "bad" if count else "dim"))
            spans.append(Span(" "))
        return spans

    def _incidents(self) -> str:
        pulse = self.app.live.pulse
        return f"({pulse.incidents})" if pulse and pulse.incidents else ""

    def on_click(self, event: events.Click) -> None:
        """Go to the screen whose name was clicked."""
        at = self._tabs_at
        for tab, (span, _) in zip(TABS, _pairs(self._tabs_shown()), strict=True):
            if at <= event.x < at + cell_len(span.text):
                self.app.action_view(tab.view)
            at += cell_len(span.text) + 1

    def _tabs_shown(self) -> list[Span]:
        full = self._tabs(short=False)
        return full if _size(full) == self.size.width - self._tabs_at else self._tabs(short=True)


def _whole(age: timedelta) -> str:
    """Return an age without parts of a second, which nobody can follow."""
    whole = timedelta(seconds=int(age.total_seconds()))
    return f"{whole.seconds}s" if whole < timedelta(minutes=1) else duration(whole)


def _server(name: str, error: str | None, *, connecting: bool = False, silent: bool = False) -> list[Span]:
    if error is None and silent:
        return [Span(" ◌ ", "warn"), Span(f"{name} does not answer", "warn")]
    if error is None:
        return [Span(" ● ", "ok"), Span(name)]
    word = "connecting" if connecting and error == "connecting" else "DOWN, reconnecting"
    return [Span(" ◌ ", "bad"), Span(f"{name} {word}", "bad")]


def _size(spans: list[Span]) -> int:
    return sum(cell_len(span.text) for span in spans)


def _pairs(spans: list[Span]) -> list[tuple[Span, Span]]:
    return list(zip(spans[::2], spans[1::2], strict=True))
