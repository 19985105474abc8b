"""The rows of the list: the runs of a book, each as it looks at this moment."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from flowforge.model.text import Span
from flowforge_tui.runs import columns
from flowforge_tui.runs.book import RunBook
from flowforge_tui.widgets.table import Rows


class BookRows(Rows):
    """The rows of a book, as they look now."""

    def __init__(self, book: RunBook, now: Callable[[], datetime]) -> None:
        self._book, self._now = book, now

    def __len__(self) -> int:
        return len(self._book)

    def key(self, place: int) -> UUID:
        """Return the id of the run at a place."""
        return self._book.key(place)

    def find(self, key: Any) -> int | None:
        """Return where a run is."""
        return self._book.find(key)

    def cells(self, place: int) -> Sequence[Span]:
        """Return a cell for every column."""
        return columns.cells(self._book.at(place), self._now())
