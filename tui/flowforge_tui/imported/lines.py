"""How an imported run looks on one line. Pure: the time is an argument."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from flowforge.model.text import Span, age, duration, moment, one_line, short_id, state
from flowforge_tui.widgets.columns import Column

if TYPE_CHECKING:
    from flowforge.store.imported import Imported

COLUMNS = (
    Column("state", "STATE", 12),
    Column("run", "RUN", 8),
    Column("flow", "FLOW", 16, grows=3),
    Column("created", "CREATED", 20, yields=2),
    Column("took", "TOOK", 6, yields=1, right=True),
    Column("imported", "IMPORTED", 8, right=True),
    Column("by", "BY", 10, yields=3, grows=1),
)


def cells(one: Imported, now: datetime) -> tuple[Span, ...]:
    """Return a cell for every column."""
    return (
        state(one.status),
        Span(short_id(one.id), "strong"),
        Span(f"{one_line(one.workflow, 80)}@{one.version}"),
        Span(moment(one.created_at), "dim"),
        Span("-" if one.finished_at is None else duration(one.finished_at - one.created_at)),
        Span(age(one.imported_at, now)),
        Span(one_line(one.imported_by, 40), "dim"),
    )


def details(one: Imported) -> list[list[Span]]:
    """Return what is known of an imported run."""
    facts = [
        ("run", f"{one.id} (enter opens it)"),
        ("as of", f"{moment(one.exported_at)}, when it was exported"),
        ("kept by", f"{one.imported_by}, {moment(one.imported_at)}"),
    ]
    return [[Span(f" {name:<9}", "dim"), Span(one_line(value, 400))] for name, value in facts]
