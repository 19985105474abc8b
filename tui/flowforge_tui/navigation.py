"""From screen to screen: which of them are open, and the ways that lead to the others.

The list of runs is always the lowest; a screen is opened once, however often it is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from textual import work
from textual.app import App
from textual.command import CommandPalette
from textual.screen import Screen
from textual.theme import ThemeProvider

from flowforge.client import AsyncClient
from flowforge.errors import FlowforgeError
from flowforge.model.text import one_line
from flowforge_tui.live.live import Live
from flowforge_tui.options import Options
from flowforge_tui.typeahead import Typeahead

if TYPE_CHECKING:
    from flowforge.model.capsule import Capsule

VIEWS = ("runs", "queues", "schedules", "incidents", "imported")


class Navigation(App[None]):
    """An application with screens, and what they all need."""

    options: Options
    live: Live
    typeahead: Typeahead

    @property
    def client(self) -> AsyncClient:
        """The only door to data."""
        return self.live.client

    @property
    def unicode(self) -> bool:
        """Whether more than ASCII can be shown."""
        return self.options.unicode

    def make(self, view: str) -> Screen[Any]:
        """Make one of the screens that digits lead to."""
        from flowforge_tui.imported.screen import ImportedScreen
        from flowforge_tui.incidents.screen import IncidentsScreen
        from flowforge_tui.queues.screen import QueuesScreen, WorkersScreen
        from flowforge_tui.runs.screen import RunsScreen
        from flowforge_tui.schedules.screen import SchedulesScreen

        made: Mapping[str, type[Screen[Any]]] = {
            "runs": RunsScreen,
            "queues": QueuesScreen,
            "workers": WorkersScreen,
            "schedules": SchedulesScreen,
            "incidents": IncidentsScreen,
            "imported": ImportedScreen,
        }
        return made[view]()

    def show(self, screen: Screen[Any]) -> None:
        """Open a screen above the others, once however often it is asked for; nobody has to wait for it."""
        if type(self.screen) is not type(screen):
            _ = self.push_screen(screen)
            self.typeahead.wait_for(screen)

    @property
    def view(self) -> str:
        """The screen one is on, or came from."""
        return next((str(one.VIEW) for one in reversed(self.screen_stack) if getattr(one, "VIEW", "")), "runs")

    def action_view(self, view: str) -> None:
        """Show one of the screens; workers are on that of queues."""
        name = "queues" if view == "workers" else view
        if getattr(self.screen, "VIEW", None) != name:
            while len(self.screen_stack) > 2:  # noqa: PLR2004 - Textual's own, and the runs
                _ = self.pop_screen()
            if name != "runs":
                self.show(self.make(view))
        elif name == "queues":
            self.screen.query_one(f"#{view}").focus()

    def action_turn(self, by: int) -> None:
        """Show the next screen, or the previous one."""
        at = VIEWS.index(self.view) if self.view in VIEWS else 0
        self.action_view(VIEWS[(at + by) % len(VIEWS)])

    def go_back(self) -> bool:
        """Leave a screen for the one before; False where there is none."""
        if len(self.screen_stack) > 2:  # noqa: PLR2004 - Textual's own, and the runs
            _ = self.pop_screen()
            return True
        return False

    def action_command_palette(self) -> None:
        """Show everything that can be done by name; Textual's own asks for it with a sign beyond ASCII."""
        self.show(CommandPalette(id="--command-palette", placeholder="Search for commands"))

    def search_themes(self) -> None:
        """Show the themes."""
        _ = self.push_screen(CommandPalette(providers=[ThemeProvider], placeholder="Search for themes"))

    def open_run(self, run_id: UUID) -> None:
        """Show one run."""
        from flowforge_tui.run.screen import RunScreen

        self.show(RunScreen(self.client, run_id, clock=self.live.clock, unicode=self.unicode))

    @work(group="open", exclusive=True)
    async def open_reference(self, reference: str) -> None:
        """Show the run that a reference means: one of this installation, an imported one, or a capsule's file."""
        from flowforge.client.capsules import is_file
        from flowforge_tui.actions.acting import explained

        if not is_file(reference):
            await self.live.opened.wait()
        try:
            capsule = await self.client.foreign(reference)
            if capsule is None:
                self.open_run(await self.client.resolve(reference))
            else:
                self.open_recording(capsule, reference)
        except FlowforgeError as error:
            self.notify(explained(error), title=f"cannot open {one_line(reference, 80)}", severity="error", timeout=8)

    def open_recording(self, capsule: Capsule, reference: str) -> None:
        """Show the run in a capsule, as it was when it was exported."""
        from flowforge_tui.run.recording import Recording
        from flowforge_tui.run.screen import RunScreen

        def then() -> datetime:
            return capsule.exported_at

        source = Recording(self.client, capsule, reference)
        self.show(RunScreen(self.client, capsule.run.id, clock=then, unicode=self.unicode, source=source))

    def open_explanation(self, run_id: UUID) -> None:
        """Say why a run stands where it stands."""
        from flowforge_tui.run.explain import ExplainPane

        self.show(ExplainPane(self.client, run_id, unicode=self.unicode))

    def open_difference(self, left: UUID, right: UUID) -> None:
        """Show what is different between two runs."""
        from flowforge_tui.run.diff import DiffScreen

        self.show(DiffScreen(self.client, left, right, unicode=self.unicode))

    def open_output(self, *arguments: str) -> None:
        """Run a command of the CLI and show what it prints."""
        from flowforge_tui.modals.output import OutputModal

        self.show(OutputModal(arguments))
