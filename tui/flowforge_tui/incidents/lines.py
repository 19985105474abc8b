"""How incidents look: on one line each, and in full. Pure: the time is an argument."""

from __future__ import annotations

from datetime import datetime

from flowforge.model.documents import Incident
from flowforge.model.text import Span, age, compact, moment, one_line, short_id
from flowforge_tui.widgets.columns import Column

COLUMNS = (
    Column("state", "STATE", 10),
    Column("number", "NO", 5, right=True),
    Column("kind", "KIND", 20, yields=3),
    Column("workflow", "WORKFLOW", 16, grows=1),
    Column("step", "STEP", 14, yields=2, grows=1),
    Column("count", "COUNT", 5, yields=1, right=True),
    Column("last", "LAST", 5, right=True),
    Column("run", "RUN", 8, yields=4),
    Column("error", "ERROR", 20, yields=5, grows=4),
)


def cells(one: Incident, now: datetime) -> tuple[Span, ...]:
    """Return a cell for every column."""
    return (
        Span("● OPEN", "bad") if one.resolved_at is None else Span("✓ RESOLVED", "dim"),
        Span(str(one.id), "strong"),
        Span(one_line(one.kind, 40)),
        Span(one_line(one.workflow, 80)),
        Span(one_line(one.step or "-", 80)),
        Span(str(one.count), "warn" if one.count > 1 else ""),
        Span(age(one.last_seen, now)),
        Span(short_id(one.run_id)),
        Span(error_text(one), "" if one.resolved_at is None else "dim"),
    )


def error_text(one: Incident) -> str:
    """Return an incident's error on one line."""
    return one_line(f"{one.error.get('code', 'ERROR')}: {one.error.get('message', '')}", 300)


def details(one: Incident) -> list[list[Span]]:
    """Return everything that is known of an incident."""
    seen = (
        f"once, {moment(one.first_seen)}"
        if one.count == 1
        else (f"{one.count} times, first {moment(one.first_seen)}, last {moment(one.last_seen)}")
    )
    facts = [
        ("what", f"{one.kind} in {one.workflow}{f', step {one.step}' if one.step else ''}"),
        ("seen", seen),
        ("run", f"{one.run_id} (enter opens it)"),
        ("error", error_text(one)),
    ]
    if one.error.get("hint"):
        facts.append(("hint", str(one.error["hint"])))
    if one.error.get("details"):
        facts.append(("details", compact(one.error["details"], 600)))
    if one.resolved_at is not None:
        facts.append(("resolved", f"{moment(one.resolved_at)} by {one.resolved_by}: {one.resolution or '-'}"))
    return [[Span(f" {name:<9}", "dim"), Span(one_line(value, 800))] for name, value in facts]
