"""Looking at runs: what a reference means, a run as it stands, its events as they come, and what its steps wrote.

Looks at the same time share a round trip, so that a thousand callers who wait for their runs cost little more than one.
"""

from __future__ import annotations

import asyncio
import re
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

from flowforge.client.opened import Opened
from flowforge.client.portions import FIRST, portions
from flowforge.engine.engine import Engine
from flowforge.engine.feed import decode as decode_feed
from flowforge.engine.plans import PlannedVersion
from flowforge.errors import Conflict, FlowforgeError, NotFound, UsageError
from flowforge.model.diagnostics import closest
from flowforge.model.documents import Run, RunEvent
from flowforge.model.status import RunStatus
from flowforge.store import children, history, imported, logs, views
from flowforge.store.database import Connection

#: Enough of a run's id to look for it.
RUN_DIGITS = re.compile("[0-9a-f]{4,32}")
#: Seconds between two looks at a run that is waited for: at first, because most steps take milliseconds, and at last.
#: Looking more often took longer: the looks took processors from whoever executed the run. Those who wait at the same
#: time look together.
SHORTEST, LONGEST = 0.002, 0.2


class Looking(ABC):
    """How a client looks at runs; a part of it."""

    @property
    @abstractmethod
    def engine(self) -> Engine:
        """What it works with."""

    @property
    @abstractmethod
    def _opened(self) -> Opened:
        """What is there once it is open."""

    async def resolve(self, reference: str | UUID) -> UUID:
        """Return the id of the run that a reference means; NotFound, or UsageError when it means several."""
        if isinstance(reference, UUID):
            return reference
        text = reference.strip().lower()
        digits = text.replace("-", "")
        if text not in ("@last", "@last-failed") and not RUN_DIGITS.fullmatch(digits):
            raise UsageError(
                f"'{reference}' is not a run: give an id, 4 or more of its first or last digits, @last or @last-failed",
                hint="flowforge ps",
            )
        async with self.engine.database.connection() as connection:
            found = await views.matching(connection, text)
        if not found:
            raise await self.unknown(reference)
        if len(found) > 1:
            shown = ", ".join(str(run_id) for run_id in found[:5])
            raise UsageError(f"'{reference}' means several runs: {shown}", hint="give more digits")
        return found[0]

    async def unknown(self, reference: str) -> FlowforgeError:
        """Return why a reference means no run that could be worked with."""
        run_id = await self._imported(reference)
        if run_id is None:
            return NotFound(f"there is no run '{reference}'", hint="flowforge ps lists runs")
        return Conflict(
            f"run {run_id} was imported from another installation; it can only be looked at",
            hint=f"flowforge show {run_id} · flowforge replay {run_id} --dry-run",
        )

    async def _imported(self, reference: str | UUID) -> UUID | None:
        digits = str(reference).strip().lower().replace("-", "")
        if not digits or set(digits) - set("0123456789abcdef"):
            return None
        async with self.engine.database.connection() as connection:
            found = await imported.matching(connection, digits)
        if len(found) > 1:
            shown = ", ".join(str(run_id) for run_id in found[:5])
            raise UsageError(f"'{reference}' means several imported runs: {shown}", hint="give more digits")
        return found[0] if found else None

    async def get(self, reference: str | UUID) -> Run:
        """Return a run with its steps."""
        run_id = await self.resolve(reference)
        (found,) = await self._opened.runs.do([run_id])
        if found is None:
            raise await self.unknown(str(run_id))
        return found

    async def get_many(self, run_ids: Sequence[UUID]) -> list[Run]:
        """Return runs with their steps, in order; those that are not there are left out."""
        found = [await self._read(run_ids[start : start + 200]) for start in range(0, len(run_ids), 200)]
        return [run for some in found for run in some if run is not None]

    async def _read(self, run_ids: Sequence[UUID]) -> list[Run | None]:
        async with self.engine.database.connection() as connection:
            found = await self._with_steps(connection, await views.runs(connection, list(dict.fromkeys(run_ids))))
        by_id = {run.id: run for run in found}
        return [by_id.get(run_id) for run_id in run_ids]

    async def _with_steps(self, connection: Connection, found: Sequence[tuple[Run, int]]) -> list[Run]:
        planned = [(run, (await self.engine.plans.get(connection, version)).plan) for run, version in found]
        return await self._with_parents(connection, await views.with_steps(connection, planned))

    async def _with_parents(self, connection: Connection, found: list[Run]) -> list[Run]:
        """Name the steps that started runs and that only their own run has: those of items."""
        unnamed = [run.id for run in found if run.parent is not None and run.parent[1] is None]
        if not unnamed:
            return found
        names: dict[UUID, str] = {}
        for run_id, version, no in await children.starters(connection, unnamed):
            plan = (await self.engine.plans.get(connection, version)).plan
            if plan.has(no):
                names[run_id] = plan.steps[no].id
        return [
            replace(run, parent=(run.parent[0], names[run.id])) if run.parent and run.id in names else run
            for run in found
        ]

    async def events(self, reference: str | UUID, after: int = 0) -> list[RunEvent]:
        """Return a run's events with numbers above *after*, in order."""
        run_id = await self.resolve(reference)
        async with self.engine.database.connection() as connection:
            found = await history.read(connection, run_id, after)
        return [_event(one) for one in found]

    async def follow(self, reference: str | UUID, after: int = 0) -> AsyncIterator[RunEvent]:
        """Yield a run's events as they come, until it has ended."""
        run_id, pause = await self.resolve(reference), 0.02
        while True:
            async with self.engine.database.connection() as connection:
                ended = (await views.statuses(connection, [run_id]))[run_id].final
            found = await self.events(run_id, after)
            for event in found:
                yield event
                after = event.seq
            if ended:
                return
            pause = 0.02 if found else min(pause * 1.5, 0.3)
            await asyncio.sleep(pause)

    async def feed(self) -> AsyncIterator[RunEvent]:
        """Yield the events of all runs from now on, as workers publish them; a reader that is slow may miss some."""
        tail = self.engine.streams.tail(self.engine.names.events)
        try:
            after = await tail.end()
            while True:
                for record in await tail.read(after, count=50, block=timedelta(seconds=1)):
                    after = record.entry_id
                    for event in decode_feed(record):
                        yield event
        finally:
            await tail.close()

    async def wait(self, reference: str | UUID, *, timeout: float | None = None) -> Run:
        """Return a run when it has ended; TimeoutError when it has not in time."""
        run_id, pause = await self.resolve(reference), SHORTEST
        async with asyncio.timeout(timeout):
            while True:
                (status,) = await self._opened.statuses.do([run_id])
                if status is None:
                    raise NotFound(f"there is no run {run_id}")
                if status.final:
                    break
                await asyncio.sleep(pause)
                pause = min(pause * 1.2, LONGEST)
        return await self.get(run_id)

    async def _statuses(self, run_ids: Sequence[UUID]) -> list[RunStatus | None]:
        async with self.engine.database.connection() as connection:
            found = await views.statuses(connection, list(dict.fromkeys(run_ids)))
        return [found.get(run_id) for run_id in run_ids]

    async def logs(self, reference: str | UUID, step: str | None = None) -> list[tuple[str, int, str]]:
        """Return (step id, attempt, text) of what a run's attempts wrote."""
        return [one async for part in self.log_parts(reference, step) for one in part]

    async def log_parts(
        self, reference: str | UUID, step: str | None = None
    ) -> AsyncIterator[list[tuple[str, int, str]]]:
        """Yield what `logs` returns, some dozen at a time: each may be long."""
        run_id = await self.resolve(reference)
        async with self.engine.database.connection() as connection:
            _, version = await self._version(connection, run_id)
            number = None if step is None else step_number(run_id, version, step)
            keys = await logs.keys(connection, run_id, number)

        async def read(
            connection: Connection, some: Sequence[tuple[int, int]]
        ) -> dict[tuple[int, int], tuple[str, int, str]]:
            found = await logs.texts(connection, run_id, some)
            return {key: (version.plan.steps[key[0]].id, key[1], text) for key, text in found.items()}

        async for part in portions(self.engine.database, keys, read, together=FIRST):
            yield part

    async def _version(self, connection: Connection, run_id: UUID) -> tuple[Run, PlannedVersion]:
        found = await views.run(connection, run_id)
        if found is None:
            raise NotFound(f"there is no run {run_id}", hint="flowforge ps lists runs")
        return found[0], await self.engine.plans.get(connection, found[1])

    async def _number(self, run_id: UUID, step: str) -> int:
        """Return the number of a run's step; NotFound with what was probably meant."""
        async with self.engine.database.connection() as connection:
            _, version = await self._version(connection, run_id)
        return step_number(run_id, version, step)


def step_number(run_id: UUID, version: PlannedVersion, step: str) -> int:
    """Return the number of a step that a run has, or would have with a version."""
    number = version.plan.find(step)
    if number is None:
        known = [one.id for one in version.plan.steps]
        meant = closest(step, known)
        hint = f"did you mean '{meant}'?" if meant else f"it has: {', '.join(known[:20])}"
        raise NotFound(f"run {run_id} has no step '{step}'", hint=hint)
    return number


def _event(one: history.Numbered) -> RunEvent:
    event = one.event
    return RunEvent(one.run, one.seq, event.type.value, event.at, event.step, event.attempt, event.data or {})
