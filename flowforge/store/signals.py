"""What has come for runs from outside: signals, approvals, rejections.

Rows are written with their runs (transitions.py); here they are only read. Invariant: what came is kept, in order,
whether a step waits for it yet or not.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from flowforge.model.state import Signal
from flowforge.store.binary import execute, int4s, statement, uuids
from flowforge.store.database import Connection

WHOLE = statement("""
SELECT run_id, no, kind, name, actor, at, step_no FROM signals WHERE run_id = ANY(%b) ORDER BY run_id, no
""")

TAKEN = statement("""
SELECT g.run_id, g.step_no, g.kind, g.name, g.actor, g.at, g.payload
FROM unnest(%b, %b) AS k (run_id, step_no) JOIN signals g USING (run_id, step_no) ORDER BY g.run_id, g.no
""")


class Received(NamedTuple):
    """What a step was given, with its content."""

    kind: str
    name: str
    actor: str
    at: datetime
    payload: Any


async def of_runs(connection: Connection, run_ids: Sequence[UUID]) -> dict[UUID, tuple[Signal, ...]]:
    """Return what has come for runs, by run; the payloads stay where they are."""
    found: dict[UUID, list[Signal]] = {run_id: [] for run_id in run_ids}
    cursor = await execute(connection, WHOLE, (uuids(run_ids),))
    for run_id, *columns in await cursor.fetchall():
        found[run_id].append(Signal(*columns))
    return {run_id: tuple(signals) for run_id, signals in found.items()}


async def of_steps(connection: Connection, keys: Sequence[tuple[UUID, int]]) -> dict[tuple[UUID, int], list[Received]]:
    """Return what steps were given, by step, in order."""
    ids, numbers = zip(*keys, strict=True)
    found: dict[tuple[UUID, int], list[Received]] = {}
    cursor = await execute(connection, TAKEN, (uuids(ids), int4s(numbers)))
    for run_id, no, *columns in await cursor.fetchall():
        found.setdefault((run_id, no), []).append(Received(*columns))
    return found
