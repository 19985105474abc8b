"""The keys of a view, by what they are for."""

from __future__ import annotations

from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.screen import ModalScreen, Screen

from flowforge.model.text import Span
from flowforge_tui.keys import EVERY, sign
from flowforge_tui.painting import Painting, fit
from flowforge_tui.runs.query import EXAMPLE, FIELDS

Lines = list[list[Span]]


class Sheet(Painting):
    """The list."""

    def __init__(self, shown: Lines) -> None:
        super().__init__()
        self._shown = shown
        self.styles.height = len(shown)

    def lines(self, width: int) -> Lines:  # noqa: ARG002 - lines are short
        """Return the lines."""
        return self._shown


class KeysModal(ModalScreen[None]):
    """The window."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,question_mark,enter", "dismiss", "close"),
        Binding("j,down", "scroll(1)", show=False),
        Binding("k,up", "scroll(-1)", show=False),
    ]

    def __init__(self, about: Screen[Any]) -> None:
        super().__init__()
        # Looked up now: what is bound below this window is not bound any more once it is open.
        self._title = f"Keys of {getattr(about, 'VIEW', '') or 'this view'}"
        self._lines = _lines(about)

    def compose(self) -> ComposeResult:
        """Make the window."""
        with Vertical(id="window", classes="window tall") as window:
            window.border_title = self._title
            window.border_subtitle = "j k scroll, esc closes"
            with VerticalScroll(id="keys-scroll"):
                yield Sheet(self._lines)

    def action_scroll(self, lines: int) -> None:
        """Read on."""
        self.query_one(VerticalScroll).scroll_relative(y=lines, animate=False)


def _lines(about: Screen[Any]) -> Lines:
    bound: dict[str, list[str]] = {}
    labels: dict[str, str] = {}
    for key, active in about.active_bindings.items():
        name = active.binding.id or active.binding.action
        labels[name] = active.binding.description
        if active.binding.description:
            bound.setdefault(name, []).append(sign(key))
    groups = {(key.id, key.label): key.group for key in EVERY}
    lines: Lines = []
    for group in ("Act", "Time", "Look", "Move", "Everywhere", "Screens", "Here"):
        names = [name for name in bound if groups.get((name, labels[name]), "Here") == group]
        if names:
            lines.append([Span(f" {group}", "title")])
            lines += [_line(" ".join(bound[name]), labels[name]) for name in names]
            lines.append([])
    return [*lines, *_filters()]


def _line(keys: str, label: str) -> list[Span]:
    return [Span(f"   {fit(keys, 14)} ", "key"), Span(label)]


def _filters() -> Lines:
    half = len(FIELDS) // 2
    return [
        [Span(" Filter, as in ps --query", "title")],
        [Span(f"   {EXAMPLE}")],
        *([Span(f"   {' '.join(some)}", "dim")] for some in (FIELDS[:half], FIELDS[half:])),
        [Span("   a word is looked for in names, ids, labels and errors; !word must not occur", "dim")],
        [Span("   WAIT: for the gate and for workers. EXEC: since it was admitted.", "dim")],
    ]
