"""Moving an ended run to another version of its workflow: its steps keep their ids and get other numbers.

One transaction under the run's lock. Invariant: whatever has a step's number moves with the step; what was recorded of
steps that the other version does not have is dropped, but not from the history, which goes by ids. What a step came to
that is of another type now does not count, but its attempts do; so do those of a step that an earlier version had.
A run that could not undo everything goes on with that, so there what was done still counts, to be undone.
"""

from __future__ import annotations

from uuid import UUID

from flowforge.engine.plans import PlannedVersion
from flowforge.errors import Conflict
from flowforge.model.recalling import recalled
from flowforge.store import history, moving
from flowforge.store.database import Database


async def move(
    database: Database, run_id: UUID, before: PlannedVersion, after: PlannedVersion, *, undoing: bool = False
) -> None:
    """Let a failed or cancelled run go on with another version, *undoing* what it did or starting over what failed.

    Conflict if it was changed meanwhile, or cannot be undone by that version.
    """
    async with database.transaction() as connection:
        if not await moving.lock(connection, run_id, before.id):
            raise Conflict(f"run {run_id} was changed meanwhile", hint=f"flowforge show {run_id}")
        numbers = {}
        changed = []
        for no in await moving.numbers(connection, run_id):
            found = numbers[no] = after.plan.find(before.plan.steps[no].id) if before.plan.has(no) else None
            if found is not None and after.plan.steps[found].type != before.plan.steps[no].type:
                changed.append(found)
        await moving.renumber(connection, run_id, after.id, numbers)
        if not undoing:
            await moving.forget(connection, run_id, changed)
        events = [one.event for one in await history.whole(connection, run_id)]
        known = {number for number in numbers.values() if number is not None}
        back = list(recalled(after.plan, events, known))
        if back and undoing:
            ids = ", ".join(after.plan.steps[state.no].id for state in back[:5])
            raise Conflict(
                f"run {run_id} could not undo everything, and version {after.version} has steps again that an earlier "
                f"one had dropped: {ids}",
                hint=f"see to that first: flowforge retry {run_id}; or start over: --from STEP",
            )
        await moving.recall(connection, run_id, back)
