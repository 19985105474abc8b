"""What starts runs by itself: nothing does yet, and this says what to do instead."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from textual.binding import BindingType
from textual.widget import Widget
from textual.widgets import Static

from flowforge_tui.screen import View

TEACHES = """No schedules and no triggers in this installation.

What starts runs today:

    flowforge run NAME -i key=value     by hand
    a line of a crontab                 every night, say
    flowforge replay RUN                a run like an old one
    client.run("name", {...})           from Python
    a step of type `workflow`           from another run

Give each start a key, so that it starts nothing twice when repeated:

    0 3 * * *  flowforge run etl --idempotency-key "etl-$(date +\\%F)"

Press 1 for the runs: /trigger:cron lists those that cron started."""


class SchedulesScreen(View):
    """Screen of schedules and triggers."""

    VIEW = "schedules"
    BINDINGS: ClassVar[list[BindingType]] = []

    def middle(self) -> Iterable[Widget]:
        """Say what starts runs."""
        yield Static(TEACHES, classes="teaches", markup=False)

    def action_move(self, by: int) -> None:
        """There is no list here."""

    def copied(self) -> tuple[str, str] | None:
        """Return what is worth copying here: the command that starts a run."""
        return ("flowforge run NAME", "flowforge run NAME")
