"""Two runs side by side, as the command line shows them."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from flowforge_tui.modals.output import OutputModal


class DiffScreen(OutputModal):
    """The window."""

    def __init__(self, client: Any, left: UUID, right: UUID, *, unicode: bool = True) -> None:  # noqa: ARG002
        super().__init__(["diff", str(left), str(right)])
