"""The Explain pane: why a run stands where it stands, as the client says it, kept up to date while it is open.

An imported run is explained as it stood when it was exported, which no server is asked about.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar
from uuid import UUID

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.message import Message
from textual.screen import ModalScreen

from flowforge.errors import FlowforgeError
from flowforge_tui.run.banner import Banner
from flowforge_tui.run.lines import Lines
from flowforge_tui.run.text import Line, Span, clock, duration, moment, one_line, short_id

if TYPE_CHECKING:
    from flowforge.client import AsyncClient

#: Beyond it a time of day says too little.
DAY = timedelta(hours=20)
#: Seconds between two questions.
PACE = 2.0
_WEIGHTS = {
    "held": ("■", "#", "HELD", "bad"),
    "blocked": ("‖", "=", "BLOCKED", "warn"),
    "waits": ("◷", "~", "WAITS", "warn"),
    "works": ("▶", ">", "WORKS", "active"),
    "notes": ("·", ".", "NOTE", "dim"),
}


def lines(document: Mapping[str, Any], *, unicode: bool = True) -> list[Line]:
    """Return an explanation document as lines: the summary, what would move it, then each cause with what causes it."""
    made: list[Line] = [[Span(one_line(document["summary"] or "Nothing holds it up.", 2_000), "strong")]]
    if document.get("command"):
        made.append([Span("try  ", "dim"), Span(one_line(document["command"], 400), "key")])
    at = datetime.fromisoformat(document["at"])
    for cause in document["causes"]:
        made += [[], *_cause(cause, at, 0, unicode=unicode)]
    return made


def _cause(cause: Mapping[str, Any], at: datetime, depth: int, *, unicode: bool) -> Iterator[Line]:
    glyph, plain, word, style = _WEIGHTS.get(cause["weight"], ("?", "?", str(cause["weight"]).upper(), ""))
    pad = "  " * depth
    subject = f"{cause['subject']['kind']} {one_line(cause['subject']['name'], 80)}"
    lead = Span(f"{'↳' if unicode else '>'} ", "dim") if depth else Span("")
    yield [Span(pad), lead, Span(f"{glyph if unicode else plain} {word:<8}", style), Span(subject, "strong")]
    pad += "    "
    yield [Span(pad), Span(one_line(cause["text"], 400)), Span(_times(cause, at), "dim")]
    for holder in cause["holders"]:
        since = "" if holder["since"] is None else f", for {duration(at - datetime.fromisoformat(holder['since']))}"
        doing = f": {one_line(holder['doing'], 120)}" if holder["doing"] else ""
        yield [Span(f"{pad}held by ", "dim"), Span(f"{holder['kind']} {one_line(holder['name'], 80)}{doing}{since}")]
    if cause["count"] > 1:
        names = one_line(", ".join(cause["members"]), 200)
        yield [Span(f"{pad}{cause['count']} of them: ", "dim"), Span(names)]
    if cause["behind"]:
        behind = "1 step waits" if cause["behind"] == 1 else f"{cause['behind']} steps wait"
        yield [Span(f"{pad}{behind} behind it", "dim")]
    if cause["command"]:
        yield [Span(f"{pad}try  ", "dim"), Span(one_line(cause["command"], 400), "key")]
    for because in cause["because"]:
        yield from _cause(because, at, depth + 1, unicode=unicode)


def _times(cause: Mapping[str, Any], at: datetime) -> str:
    parts = []
    if cause["since"] is not None:
        parts.append(f"since {clock(datetime.fromisoformat(cause['since']))}")
    if cause["until"] is not None:
        until = datetime.fromisoformat(cause["until"])
        when = clock(until) if until - at < DAY else moment(until)
        parts.append(f"until {when}" + (f", in {duration(until - at)}" if until > at else ""))
    return f"  ({', '.join(parts)})" if parts else ""


class ExplainPane(ModalScreen[None]):
    """Shows an explanation."""

    CSS_PATH: ClassVar[list[str]] = ["../palette.tcss", "../widgets/widgets.tcss", "explain.tcss"]  # type: ignore[assignment]
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,e,q", "dismiss", "Close", show=False),
        Binding("ctrl+r", "ask", "Ask again", show=False),
    ]

    class Explained(Message):
        """The client has answered."""

        def __init__(self, document: Mapping[str, Any] | None, trouble: str = "") -> None:
            super().__init__()
            self.document, self.trouble = document, trouble

    def __init__(
        self,
        client: AsyncClient,
        run_id: UUID,
        reference: str | UUID | None = None,
        *,
        unicode: bool = True,
        watch: bool = True,
    ) -> None:
        super().__init__()
        self.client, self.run_id, self.unicode = client, run_id, unicode
        #: What the command line calls it: a file, where the run is in none of our tables.
        self.reference = reference or run_id
        self._watches = watch

    def compose(self) -> ComposeResult:
        """Make the pane."""
        with Vertical(id="explain"):
            yield Banner(id="explain-title")
            yield Lines(id="explain-lines")

    def on_mount(self) -> None:
        """Ask."""
        self._title("asking")
        self.query_one(Lines).focus()
        if self._watches:
            self.watch_run()

    @work(exclusive=True, group="explain")
    async def watch_run(self) -> None:
        """Ask again and again."""
        while True:
            await self.action_ask()
            await asyncio.sleep(PACE)

    async def action_ask(self) -> None:
        """Ask now."""
        try:
            answer = await self.client.explain(self.reference)
        except (FlowforgeError, OSError, TimeoutError) as error:
            self.post_message(self.Explained(None, str(error) or type(error).__name__))
        else:
            self.post_message(self.Explained(answer.document()))

    @on(Explained)
    def _explained(self, event: Explained) -> None:
        event.stop()
        if event.document is None:
            self._title(f"! {one_line(event.trouble, 200).rstrip('.')}; trying again", "bad")
            return
        self._title(f"as of {clock(datetime.fromisoformat(event.document['at']))}")
        self.query_one(Lines).show(lines(event.document, unicode=self.unicode))

    def _title(self, note: str, style: str = "dim") -> None:
        title = [Span(" Why ", "here"), Span(f" run {short_id(self.run_id)}  ", "strong"), Span(note, style)]
        self.query_one("#explain-title", Banner).show([[*title, Span("  esc close", "dim")]])
