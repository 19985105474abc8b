"""The audit of gates: runs beyond a limit, now or ever, and room that nobody was let into.

A limit belongs to a version, and its gate takes on that of the version that was started last. So a gate is over its
limit only where it has more runs than any version of its workflow ever allowed: whoever lowers a limit breaks nothing.
"""

from __future__ import annotations

from flowforge.engine.plans import Plans
from flowforge.errors import FlowforgeError
from flowforge.model.audit import Violation
from flowforge.store import audits, passing
from flowforge.store.database import Connection


async def audit_gates(connection: Connection, plans: Plans) -> list[Violation]:
    """Check every gate as it is now."""
    found: list[Violation] = []
    for gate in await passing.gates(connection):
        if gate.active > gate.max_active and gate.active > (limit := await _highest(connection, plans, gate)):
            detail = f"gate {gate.name} has {gate.active} active runs, the limit is {limit}"
            found += [Violation("gate.over", detail, run, gate.id) for run in gate.runs or ()]
        if gate.line and gate.active < gate.max_active:
            # About the next one alone: in a line that moves, it is soon another one.
            room = f"room ({gate.active} of {gate.max_active}) and {len(gate.line)} runs waiting, this one first"
            found.append(Violation("gate.idle", f"gate {gate.name} has {room}", gate.line[0], gate.id))
    return found


async def audit_past_gates(connection: Connection, plans: Plans) -> list[Violation]:
    """Check that no gate ever had too many runs, by the whole history."""
    found: list[Violation] = []
    for row in await audits.busiest(connection):
        gate = passing.Gate(row["id"], row["workflow_id"], row["name"], row["max_active"], row["busiest"], None, None)
        if gate.active > (limit := await _highest(connection, plans, gate)):
            detail = f"gate {gate.name} had {gate.active} runs at once, the limit is {limit}"
            runs = await audits.at_most(connection, gate.id)
            found += [Violation("gate.was_over", detail, run, gate.id) for run in runs]
    return found


async def _highest(connection: Connection, plans: Plans, gate: passing.Gate) -> int:
    """Return the highest limit that a gate ever had."""
    limits = [gate.max_active]
    for version_id in await audits.versions(connection, gate.workflow_id):
        try:
            allowed = (await plans.get(connection, version_id)).plan.gate
        except (FlowforgeError, LookupError):
            continue  # told where its runs are audited
        limits += [] if allowed is None else [allowed.limit]
    return max(limits)
