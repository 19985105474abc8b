"""Imported runs: capsules of other installations that are kept here, opened like any run, and never moved."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, ClassVar
from uuid import UUID

from textual import on, work
from textual.binding import BindingType
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Static

from flowforge.errors import FlowforgeError
from flowforge.model.text import short_id
from flowforge_tui import keys
from flowforge_tui.actions.acting import explained
from flowforge_tui.imported.lines import COLUMNS, cells, details
from flowforge_tui.modals.confirm import Question
from flowforge_tui.screen import View
from flowforge_tui.widgets.preview import Preview
from flowforge_tui.widgets.table import Listed, Table

if TYPE_CHECKING:
    from flowforge.store.imported import Imported

#: Seconds between two looks, and how many are listed.
PACE, MOST = 5.0, 500
EMPTY = """No imported runs.

A run of another installation travels in a file:

    flowforge export RUN -o incident.ffz     there
    flowforge import incident.ffz            here: then it is listed
    flowforge top incident.ffz               opens it, and keeps nothing

One looks at it as at any run; it is never started, retried or counted."""


class ImportedTaken(Message):
    """What was imported was read."""

    def __init__(self, found: Sequence[Imported]) -> None:
        super().__init__()
        self.found = found


class ImportedScreen(View):
    """Screen of imported runs."""

    VIEW = "imported"
    BINDINGS: ClassVar[list[BindingType]] = keys.bindings(keys.LIST, keys.IMPORTED)
    AUTO_FOCUS = "Table"

    def __init__(self) -> None:
        super().__init__()
        self._found: dict[UUID, Imported] = {}
        self._read = False

    def middle(self) -> Iterable[Widget]:
        """Make the list, and what is known of the one under the cursor."""
        yield Table(COLUMNS)
        yield Static(EMPTY, id="empty", markup=False)
        yield Preview(lines=3)

    def on_mount(self) -> None:
        """Begin to look."""
        self.set_interval(PACE, self.look)
        self.look()

    @work(exclusive=True, group="imported")
    async def look(self) -> None:
        """Read what was imported."""
        await self.app.live.opened.wait()

        async def read() -> None:
            self.post_message(ImportedTaken(await self.app.client.imported(MOST)))

        await self.app.live.tried(read)

    def on_imported_taken(self, message: ImportedTaken) -> None:
        """Show what was read."""
        self._found = {one.id: one for one in message.found}
        self._read = True
        self.beat()

    def beat(self) -> None:
        """Show what has become of it."""
        now = self.app.live.now()
        self.table.show(Listed([(one.id, cells(one, now)) for one in self._found.values()]))
        self.set_class(self._read and not self._found, "-empty")
        self._show_details()

    @on(Table.Moved)
    def _show_details(self) -> None:
        here = self.here()
        self.query_one(Preview).show([] if here is None else details(here))

    def here(self) -> Imported | None:
        """Return the run under the cursor."""
        return self._found.get(self.table.key)

    @on(Table.Opened)
    def opened(self) -> None:
        """Open the run under the cursor."""
        if (here := self.here()) is not None:
            self.app.open_reference(str(here.id))

    def copied(self) -> tuple[str, str] | None:
        """Return the id under the cursor, and the command that shows the run."""
        here = self.here()
        return None if here is None else (str(here.id), f"flowforge show {here.id}")

    @work(group="forget")
    async def action_forget(self) -> None:
        """Delete the imported run under the cursor."""
        here = self.here()
        if here is None:
            self.say("there is no run here", "warning")
            return
        effects = [f"{here.workflow}@{here.version} {here.id}.", "Its file, and the run where it came from, stay."]
        command = f"flowforge import --forget {here.id}"
        question = Question(
            f"Forget run {short_id(here.id)}?", effects, "Forget", "Keep it", 1, (), None, lambda _: command
        )
        if await self.app.ask(question) is None:
            return
        try:
            await self.app.client.forget(str(here.id))
        except FlowforgeError as error:
            self.say(explained(error), "error")
        else:
            self.say(f"✓ run {short_id(here.id)}: forgotten")
        self.look()
