"""Asking before something is changed: what would happen, why, and the safe choice in focus."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widget import Widget
from textual.widgets import Button, Input, Label, Static, TextArea

from flowforge.model.text import one_line
from flowforge_tui.actions.verbs import Field

if TYPE_CHECKING:
    from flowforge_tui.app import TopApp

#: With more targets than this, their number has to be typed.
MANY = 20
#: Lines of the window that are not about what would happen: its border, what is wrong, the choices.
AROUND = 4
#: Characters of a command that are shown; all of them are copied.
LONGEST = 300


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked."""

    title: str
    effects: Sequence[str]
    act: str
    safe: str
    count: int
    fields: Sequence[Field]
    #: What the reason is called; None where none is kept.
    reason: str | None
    command: Callable[[Mapping[str, str]], str]


class Confirm(ModalScreen[Mapping[str, str] | None]):
    """The question; answered with what was typed, or with nothing."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "keep", "leave everything as it is"),
        Binding("q,n", "keep", show=False),
        Binding("y", "act", "do it"),
        Binding("o", "copy_command", "copy the command"),
        Binding("left,up", "app.focus_previous", show=False),
        Binding("right,down", "app.focus_next", show=False),
    ]
    AUTO_FOCUS = "#safe"

    if TYPE_CHECKING:
        app: TopApp

    def __init__(self, question: Question) -> None:
        super().__init__()
        self.question = question
        #: What was typed earlier is no answer: by then nobody could have read the question.
        self.readable_at = inf

    def compose(self) -> ComposeResult:
        """Make the question."""
        asked = self.question
        with Vertical(id="window", classes="window") as window:
            window.border_title = self.app.plain(asked.title)
            with VerticalScroll(id="asked"):
                for effect in asked.effects:
                    yield Static(self.app.plain(effect), markup=False, classes="effect")
                yield Static(markup=False, id="command", classes="dim")
                for one in asked.fields:
                    yield from self._asked(one)
                if asked.reason is not None:
                    yield from self._line("reason", asked.reason, "")
                if asked.count > MANY:
                    yield from self._line("number", f"Type {asked.count} to go ahead", "")
            yield Label("", id="problem", markup=False)
            with Horizontal(id="buttons"):
                yield Button(asked.safe, id="safe", compact=True)
                yield Button(f"{asked.act} (y)", id="act", compact=True, variant="error")

    def _asked(self, one: Field) -> Iterator[Widget]:
        if not one.json:
            yield from self._line(one.name, one.title, one.value)
            return
        yield Label(one.title, classes="field", markup=False)
        yield TextArea(one.value, id=one.name, compact=True, classes="json", tab_behavior="focus")

    def _line(self, name: str, title: str, value: str) -> Iterator[Widget]:
        hint = "kept in the history" if name == "reason" else ""
        line = Input(value, id=name, compact=True, placeholder=hint)
        yield Horizontal(Label(title, classes="field", markup=False), line, classes="line")

    def on_mount(self) -> None:
        """Show the command that does the same."""
        self._show()
        self.call_after_refresh(self._now_readable)

    def _now_readable(self) -> None:
        self.readable_at = monotonic()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Let no key act that was typed before the question could be read."""
        return self.app.typeahead.typed_at >= self.readable_at and super().check_action(action, parameters)

    def on_resize(self, event: events.Resize) -> None:
        """Keep the choices in sight, however little room there is for the rest."""
        self.query_one("#asked").styles.max_height = max(1, event.size.height * 9 // 10 - AROUND)

    def values(self) -> dict[str, str]:
        """Return what was typed."""
        typed = {str(one.id): one.value for one in self.query(Input)}
        return typed | {str(one.id): one.text for one in self.query(TextArea)}

    @on(Input.Changed)
    @on(TextArea.Changed)
    def _show(self) -> None:
        values, asked = self.values(), self.question
        self.query_one("#command", Static).update(f"CLI: {self.app.plain(one_line(asked.command(values), LONGEST))}")
        ready = asked.count <= MANY or values.get("number", "").strip() == str(asked.count)
        self.query_one("#act", Button).disabled = not ready

    @on(Button.Pressed, "#safe")
    def action_keep(self) -> None:
        """Leave everything as it is."""
        _ = self.dismiss(None)

    @on(Button.Pressed, "#act")
    def action_act(self) -> None:
        """Go ahead, if everything is there."""
        if self.query_one("#act", Button).disabled:
            self._problem(f"type {self.question.count} to go ahead")
            return
        values = self.values()
        for one in self.question.fields:
            if one.required and not values[one.name].strip():
                self._problem(f"{one.title} is missing")
                self.query_one(f"#{one.name}").focus()
                return
        values.pop("number", None)
        _ = self.dismiss(values)

    @on(Input.Submitted)
    def _submitted(self) -> None:
        """Go on to the next, and at last to the choice; enter in a line of text is no yes."""
        self.focus_next()

    def _problem(self, text: str) -> None:
        self.query_one("#problem", Label).update(text)

    def action_copy_command(self) -> None:
        """Copy the command that does the same."""
        self.app.copy(self.question.command(self.values()))
