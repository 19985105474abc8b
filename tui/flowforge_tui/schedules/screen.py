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

    flowforge run NAME -i key=value          by hand, or from cron: one line of a crontab is a schedule
    flowforge replay RUN                     a run like an old one
    client.run("name", {...})                from Python
    a step of type `workflow`                from another run

So that a repeated start does nothing twice, give each its idempotency key:

    0 3 * * *  flowforge run etl.nightly --idempotency-key "nightly-$(date +\\%F)"

Press 1 for the runs: column TRIGGER says what started each; /trigger:cron lists them."""


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
