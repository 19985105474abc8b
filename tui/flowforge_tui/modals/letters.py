"""Dead letters: what lay in a queue and nobody could use."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import RichLog

from flowforge.model.text import moment, one_line, safe_text
from flowforge_streams.letters import DeadLetter

if TYPE_CHECKING:
    from flowforge_tui.app import TopApp


class LettersModal(ModalScreen[None]):
    """The window."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q,enter", "dismiss", "close")]

    if TYPE_CHECKING:
        app: TopApp

    def __init__(self, queue: str, letters: Sequence[DeadLetter]) -> None:
        super().__init__()
        self._queue, self._letters = queue, letters

    def compose(self) -> ComposeResult:
        """Make the window."""
        with Vertical(id="window", classes="window tall") as window:
            window.border_subtitle = "esc closes"
            window.border_title = f"Dead letters of {safe_text(self._queue, 60)}"
            yield RichLog(wrap=True, min_width=20, markup=False, highlight=False, auto_scroll=False)

    def on_mount(self) -> None:
        """Write them down."""
        log = self.query_one(RichLog)
        if not self._letters:
            log.write(Text("None. What nobody can read is moved here instead of being tried for ever."))
        for letter in self._letters:
            log.write(Text(self.app.plain(one_line(_line(letter), 600))))


def _line(letter: DeadLetter) -> str:
    fields = " ".join(f"{name}={value!r}" for name, value in letter.fields.items())
    return f"{moment(letter.buried_at)}  {letter.reason}  entry {letter.entry_id}  {fields}"
