"""Columns of a list, and how they share the width there is. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

#: Cells between two columns.
GAP = 2


class Column(NamedTuple):
    """One column: how wide it is, and how soon it gives way."""

    key: str
    title: str
    width: int
    #: The greater, the sooner it is left out where there is too little width; 0 stays.
    yields: int = 0
    #: Its share of the width that is left over.
    grows: int = 0
    right: bool = False


class Placed(NamedTuple):
    """A column that is shown."""

    #: Its place among all columns.
    no: int
    column: Column
    left: int
    width: int


def place(columns: Sequence[Column], width: int) -> list[Placed]:
    """Return the columns that fit, with their places."""
    kept = list(enumerate(columns))
    while _needed(kept) > width and len(kept) > 1:
        latest = max(kept, key=lambda one: (one[1].yields, one[0]))
        if latest[1].yields == 0:
            break
        kept.remove(latest)
    spare, shares = max(0, width - _needed(kept)), sum(column.grows for _, column in kept)
    placed, left = [], 0
    for no, column in kept:
        more = spare * column.grows // shares if shares else 0
        placed.append(Placed(no, column, left, column.width + more))
        left += column.width + more + GAP
    return placed


def _needed(columns: Sequence[tuple[int, Column]]) -> int:
    return sum(column.width + GAP for _, column in columns) - GAP
