"""The gate before a publication: what the last runs of a workflow would come to with the version that is to be.

Each run is rehearsed with what its steps came to; nothing is executed, stored or published. Runs whose end was made by
people or by the clock prove nothing, and are counted apart.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Any

from flowforge.client import publishing, rehearsing
from flowforge.engine.engine import Engine
from flowforge.engine.plans import PlannedVersion
from flowforge.errors import InputError, NotFound
from flowforge.model.divergence import Difference, Divergence, Tally, Verification, differences
from flowforge.model.documents import Run
from flowforge.model.endings import TIMEOUT
from flowforge.model.inputs import validate
from flowforge.model.outcome import SKIPPED
from flowforge.store import views, workflows

#: Runs that are read at a time.
PAGE = 50

Progress = Callable[[int, int], None]


async def verify(
    engine: Engine,
    source: Any,
    last: int,
    *,
    accept: Collection[Divergence] = (),
    progress: Progress = lambda _done, _of: None,
) -> Verification:
    """Rehearse the last finished runs of the newest version with a definition, or with the draft of a workflow."""
    new = await _new(engine, source)
    async with engine.database.connection() as connection:
        old = await workflows.latest(connection, new.plan.name)
        ids = [] if old is None else await views.finished(connection, old.workflow_id, old.id, last)
    if old is not None:
        # What an expression reads of the version is no difference.
        new = replace(new, version=old.version)
    tally, left_out, replayed = Tally(), Counter[str](), 0
    for start in range(0, len(ids), PAGE):
        async with engine.database.connection() as connection:
            found = await views.runs(connection, ids[start : start + PAGE])
            planned = [(run, (await engine.plans.get(connection, version)).plan) for run, version in found]
            runs = await views.with_steps(connection, planned)
        for run in runs:
            reason = _proves_nothing(run)
            if reason is None:
                tally.add(run.id, _differences(run, new))
                replayed += 1
            else:
                left_out[reason] += 1
            progress(replayed + left_out.total(), len(ids))
            await asyncio.sleep(0)
    number = None if old is None else old.version
    return Verification(new.plan.name, number, replayed, left_out, tally.result(), frozenset(accept))


async def _new(engine: Engine, source: Any) -> PlannedVersion:
    if isinstance(source, str) and not publishing.is_file(source):
        async with engine.database.connection() as connection:
            draft = await workflows.latest(connection, source, status="draft")
            if draft is None:
                raise NotFound(f"workflow '{source}' has no draft", hint="flowforge workflow publish FILE")
            return await engine.plans.get(connection, draft.id)
    return PlannedVersion(0, 0, 0, publishing.loaded(source).plan)


def _differences(run: Run, new: PlannedVersion) -> list[Difference]:
    if new.plan.input_schema is not None:
        try:
            validate(new.plan.input_schema, run.input)
        except InputError as error:
            return [Difference(Divergence.OUTCOME, None, run.status.value, f"its input is refused: {error.message}")]
    return differences(rehearsing.rehearse(run, new, run.input))


def _proves_nothing(run: Run) -> str | None:
    """Return why a run would not end alike even with its own version; None when it would."""
    if run.status == "cancelled":
        return "cancelled"
    if run.error is not None and run.error.get("code") == TIMEOUT:
        return "timed out"
    if any(step.error is not None and step.error.get("code") == SKIPPED for step in run.steps or ()):
        return "a step was skipped by hand"
    if run.replay_of is not None and any(step.attempts == 0 and step.output is not None for step in run.steps or ()):
        return "a replay of another run"
    return None
