"""What must hold of gates: never over-admitted, by the rows and by the whole history, and no room while runs wait.

Invariant 6 (checker.py).
"""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
from psycopg.rows import DictRow

_HOLDING = ("running", "paused", "cancelling", "compensating")


def gates(connection: psycopg.Connection[DictRow]) -> Iterator[str]:
    """Yield what is wrong with gates."""
    query = """
    SELECT g.id, g.max_active, count(*) FILTER (WHERE r.status::text = ANY(%s)) AS active,
           count(*) FILTER (WHERE r.status = 'pending') AS waiting
    FROM gates g LEFT JOIN runs r ON r.gate_id = g.id GROUP BY g.id
    """
    for gate in connection.execute(query, (list(_HOLDING),)).fetchall():
        if gate["active"] > gate["max_active"]:
            yield f"gate {gate['id']} has {gate['active']} active runs, the limit is {gate['max_active']}"
        if gate["waiting"] and gate["active"] < gate["max_active"]:
            yield f"gate {gate['id']} has room and {gate['waiting']} runs waiting"
        busiest = _busiest(connection, gate["id"])
        if busiest > gate["max_active"]:
            yield f"gate {gate['id']} had {busiest} runs at once, the limit is {gate['max_active']}"


def _busiest(connection: psycopg.Connection[DictRow], gate_id: int) -> int:
    """Return how many runs were ever active at once. An admission's time is read under the gate's lock."""
    query = """
    SELECT e.at, CASE WHEN e.type = 'workflow.started' THEN 1 ELSE -1 END AS change
    FROM runs r JOIN events e ON e.run_id = r.id
    WHERE r.gate_id = %s AND r.started_at IS NOT NULL
      AND e.type IN ('workflow.started', 'workflow.completed', 'workflow.failed', 'workflow.cancelled')
    ORDER BY e.at, change
    """
    active = busiest = 0
    for row in connection.execute(query, (gate_id,)).fetchall():
        active += row["change"]
        busiest = max(busiest, active)
    return busiest
