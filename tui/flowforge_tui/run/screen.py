"""A run, as the command line shows it."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from flowforge_tui.modals.output import OutputModal


class RunScreen(OutputModal):
    """The window."""

    def __init__(self, client: Any, run_id: UUID, *, unicode: bool = True) -> None:  # noqa: ARG002
        super().__init__(["show", str(run_id)])
        self.run_id = run_id
