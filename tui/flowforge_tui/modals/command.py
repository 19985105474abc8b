"""The line behind `:`, in which the CLI's verbs are typed; `@` stands for the run under the cursor."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.screen import ModalScreen
from textual.suggester import SuggestFromList
from textual.widgets import Input, Label

from flowforge_tui.keys import REFUSED
from flowforge_tui.widgets.header import TABS

if TYPE_CHECKING:
    from flowforge_tui.app import TopApp

#: Verbs that change nothing.
LOOKING = frozenset(
    {
        *("ps", "show", "events", "logs", "watch", "wait", "explain", "diff", "status", "version", "doctor"),
        *("receipt", "completion", "find", "search", "help", "--help", "-h", "--version"),
    }
)
#: Of verbs with verbs of their own, those that change nothing.
LOOKING_SUB = frozenset({"ls", "show", "lint", "graph", "schema", "status", "next", "simulate", "verify", "key"})
#: What makes no sense in a window of a screen.
ELSEWHERE = frozenset({"top", "notebook", "dev"})


def refused(arguments: list[str], *, read_only: bool) -> str | None:
    """Return why a command may not be run here; None where it may."""
    verb = arguments[0]
    if verb in ELSEWHERE or arguments[:2] == ["worker", "start"]:
        return f"'{shlex.join(arguments[:2])}' needs a terminal of its own"
    looks = verb in LOOKING or (len(arguments) > 1 and arguments[1] in LOOKING_SUB)
    looks = looks and not {"--rotate", "--fix"} & set(arguments)
    if read_only and not looks:
        return REFUSED
    return None


class CommandModal(ModalScreen[None]):
    """The line."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss", "never mind")]

    if TYPE_CHECKING:
        app: TopApp

    def compose(self) -> ComposeResult:
        """Make the line."""
        names = [*(tab.view for tab in TABS), "quit", *self.app.options.verbs]
        with Horizontal(id="command-line"):
            yield Label(":", markup=False)
            yield Input(
                placeholder="show @   ps --status failed   (tab completes, enter runs, esc leaves)",
                compact=True,
                suggester=SuggestFromList(names, case_sensitive=True),
            )

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Do what was typed."""
        try:
            arguments = shlex.split(event.value)
        except ValueError as error:
            self.app.notify(f"cannot read that: {error}", severity="warning")
            return
        _ = self.dismiss(None)
        if arguments[:1] == ["flowforge"]:
            arguments = arguments[1:]
        if arguments:
            self._run(arguments)

    def _run(self, arguments: list[str]) -> None:
        if arguments[0] in ("quit", "q", "exit"):
            self.app.exit()
        elif len(arguments) == 1 and arguments[0] in {tab.view for tab in TABS}:
            self.app.action_view(arguments[0])
        elif (why := refused(arguments, read_only=self.app.read_only)) is not None:
            self.app.notify(why, severity="warning")
        else:
            self.app.open_output(*(self.app.meant(word) for word in arguments))

    def on_key(self, event: object) -> None:
        """Let tab take the suggestion."""
        if getattr(event, "key", "") == "tab":
            event.prevent_default()  # type: ignore[attr-defined]
            event.stop()  # type: ignore[attr-defined]
            self.query_one(Input).action_cursor_right()
