"""Incidents: what a person has to look at, and says when it is dealt with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

from textual import on, work
from textual.binding import BindingType
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Static

from flowforge.errors import FlowforgeError
from flowforge.model.documents import Incident
from flowforge.model.overview import RunSummary
from flowforge.model.text import one_line
from flowforge_tui import keys
from flowforge_tui.incidents.lines import COLUMNS, cells, details
from flowforge_tui.modals.confirm import Question
from flowforge_tui.screen import View
from flowforge_tui.widgets.preview import Preview
from flowforge_tui.widgets.table import Listed, Table

#: Seconds between two looks, and how many are listed.
PACE, MOST = 3.0, 500
EMPTY = """No open incidents.

What fails for good, cannot be undone, or takes down its workers is listed here until somebody resolves it.
f shows resolved ones too."""


class IncidentsTaken(Message):
    """Incidents were read."""

    def __init__(self, found: Sequence[Incident], runs: Sequence[RunSummary]) -> None:
        super().__init__()
        self.found, self.runs = found, runs


class IncidentsScreen(View):
    """Screen of incidents."""

    VIEW = "incidents"
    BINDINGS: ClassVar[list[BindingType]] = keys.bindings(keys.LIST, keys.INCIDENTS)
    AUTO_FOCUS = "Table"

    def __init__(self) -> None:
        super().__init__()
        self._found: dict[int, Incident] = {}
        self._runs: dict[object, RunSummary] = {}
        self._resolved = False
        self._read = False

    def middle(self) -> Iterable[Widget]:
        """Make the list, and what is known of the one under the cursor."""
        yield Table(COLUMNS)
        yield Static(EMPTY, id="empty", markup=False)
        yield Preview(lines=8)

    def on_mount(self) -> None:
        """Begin to look."""
        self.set_interval(PACE, self.look)
        self.look()

    @work(exclusive=True, group="incidents")
    async def look(self) -> None:
        """Read incidents, and the runs they are about."""
        await self.app.live.opened.wait()
        if self.app.live.paused and self._read:
            return

        async def read() -> None:
            found = await self.app.client.incidents(resolved=self._resolved, limit=MOST)
            runs = await self.app.client.summaries([one.run_id for one in found])
            self.post_message(IncidentsTaken(found, runs))

        await self.app.live.tried(read)

    def on_incidents_taken(self, message: IncidentsTaken) -> None:
        """Show what was read."""
        self._found = {one.id: one for one in message.found}
        self._runs = {run.id: run for run in message.runs}
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

    def here(self) -> Incident | None:
        """Return the incident under the cursor."""
        return self._found.get(self.table.key)

    def targets(self) -> list[RunSummary]:
        """Return the run of the incident under the cursor."""
        here = self.here()
        run = None if here is None else self._runs.get(here.run_id)
        return [] if run is None else [run]

    @on(Table.Opened)
    def opened(self) -> None:
        """Open the run that an incident is about."""
        if (here := self.here()) is not None:
            self.app.open_run(here.run_id)

    def action_explain(self) -> None:
        """Say why its run does not move."""
        if (here := self.here()) is not None:
            self.app.open_explanation(here.run_id)

    def action_resolved(self) -> None:
        """Show resolved ones too, or open ones only."""
        self._resolved = not self._resolved
        self.say("resolved ones too" if self._resolved else "open ones only")
        self.look()

    def copied(self) -> tuple[str, str] | None:
        """Return the run of the incident, and the command that shows the incident."""
        here = self.here()
        return None if here is None else (str(here.run_id), f"flowforge incident show {here.id}")

    @work(group="resolve")
    async def action_resolve(self) -> None:
        """Close the incident under the cursor, with what was done about it."""
        here = self.here()
        if here is None:
            self.say("there is no incident here", "warning")
            return
        times = f"{here.count} times" if here.count > 1 else "once"
        effects = [
            f"{here.kind} in {one_line(here.workflow, 80)}, seen {times}.",
            "It leaves this list; the next time the same happens opens another. Its run stays as it is.",
        ]
        command = f"flowforge incident resolve {here.id}"
        question = Question(
            f"Resolve incident {here.id}?", effects, "Resolve", "Leave open", 1, (), "What was done", lambda _: command
        )
        values = await self.app.ask(question)
        if values is None:
            return
        try:
            await self.app.client.resolve_incident(here.id, resolution=values.get("reason") or None)
        except FlowforgeError as error:
            self.say(error, "error")
        else:
            self.say(f"✓ incident {here.id}: resolved")
        self.look()
