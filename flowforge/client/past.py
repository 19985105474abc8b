"""The past of runs: everything known of one as a capsule, as it was, where its time went, what differs, in a file.

A reference means a run of this installation, a file with a capsule, or a run that was imported from one. The latter
two are to be looked at only: whatever would change them is refused. Nothing here writes to a run.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

from flowforge.client import bundles, capsules, receipts
from flowforge.client.looking import Looking
from flowforge.errors import Conflict, NotFound, UsageError
from flowforge.model.capsule import Capsule, Log
from flowforge.model.comparing import Difference, compare
from flowforge.model.documents import RunEvent
from flowforge.model.masking import Mask
from flowforge.model.past import as_it_was
from flowforge.model.phase import Phases
from flowforge.model.selecting import EventFilter
from flowforge.model.unpacking import unpack
from flowforge.store import children, history, imported, logs, outbox, views, workflows

if TYPE_CHECKING:
    from flowforge.store.database import Connection

#: Runs that a capsule takes of those that the steps of one run have started.
MOST_CHILDREN = 1_000
#: Rows of a history that are read at a time; each holds one event to some hundreds.
ROWS = 100


class Past(Looking):
    """What can be asked about the past of a run; a part of the client."""

    @abstractmethod
    def actor(self) -> str:
        """Who is acting, for the record."""

    # -- looking -------------------------------------------------------------------------------------------

    async def capsule(self, reference: str | UUID, *, children: bool = False, whole: bool = False) -> Capsule:
        """Return everything known of a run: with its logs and receipts if *whole*, with the runs it has started."""
        foreign = await self.foreign(reference)
        if foreign is not None:
            return foreign
        return await self._own(await self.resolve(reference), children=children, whole=whole, depth=0)

    async def foreign(self, reference: str | UUID) -> Capsule | None:
        """Return the capsule of a run that is not this installation's own: a file's, or an imported one."""
        if capsules.is_file(reference):
            return capsules.read(str(reference))
        try:
            # As text, because an id alone is never looked up.
            await self.resolve(str(reference))
        except (Conflict, NotFound):
            run_id = await self._imported(reference)
            if run_id is None:
                raise
            async with self.engine.database.connection() as connection:
                content = await imported.capsule(connection, run_id)
            return None if content is None else unpack(content, name=f"the imported run {run_id}")
        return None

    async def phases(self, reference: str | UUID, until: datetime | None = None) -> Phases:
        """Return where the time of a run went, up to a moment: its end, or now."""
        return (await self.capsule(reference)).phases(until)

    async def at(self, reference: str | UUID, *, seq: int | None = None, moment: datetime | None = None) -> Capsule:
        """Return a run as it was after one of its events, by number, or at a moment."""
        return as_it_was(await self.capsule(reference), seq=seq, moment=moment)

    async def history(self, reference: str | UUID, wanted: EventFilter | None = None) -> list[RunEvent]:
        """Return those of a run's events that a filter matches, in order."""
        wanted = wanted or EventFilter()
        foreign = await self.foreign(reference)
        if foreign is not None:
            return wanted.chosen(foreign.events)
        run_id = await self.resolve(reference)
        async with self.engine.database.connection() as connection:
            return wanted.chosen(_events(await history.whole(connection, run_id, wanted.after)))

    async def history_parts(self, reference: str | UUID, after: int = 0) -> AsyncIterator[Sequence[RunEvent]]:
        """Yield a run's events with numbers above *after*, in order, some thousands at a time."""
        foreign = await self.foreign(reference)
        if foreign is not None:
            yield [event for event in foreign.events if event.seq > after]
            return
        run_id = await self.resolve(reference)
        while True:
            async with self.engine.database.connection() as connection:
                some = await history.read(connection, run_id, after, limit=ROWS)
            if not some:
                return
            yield _events(some)
            after = some[-1].seq

    async def diff(self, before: str | UUID, after: str | UUID) -> Difference:
        """Return in what two runs differ, and where that begins."""
        return compare(await self.capsule(before), await self.capsule(after))

    # -- files ---------------------------------------------------------------------------------------------

    async def export(
        self,
        reference: str | UUID,
        path: str | Path,
        *,
        children: bool = False,
        redact: Iterable[str] | None = (),
        force: bool = False,
    ) -> tuple[Capsule, int]:
        """Write a run to a file; return what is in it, and its bytes.

        Credentials are taken out, known by the names of their fields; *redact* names more of those, None takes
        nothing out.
        """
        capsule = await self.capsule(reference, children=children, whole=True)
        if redact is not None:
            capsule = Mask(redact).capsule(capsule)
        return capsule, capsules.write(capsule, path, force=force)

    async def import_capsule(self, path: str | Path) -> list[Capsule]:
        """Keep the runs of a capsule or bundle, to be looked at; Conflict when they are this installation's own."""
        found = bundles.read(path)
        rows = [(one, one.pack()) for one in found]
        async with self.engine.database.transaction() as connection:
            own = await imported.ours(connection, [one.run.id for one in found])
            if own:
                raise Conflict(
                    f"run {own[0]} is this installation's own; there is nothing to import",
                    hint=f"flowforge show {own[0]} · flowforge show {path}",
                )
            for one, content in rows:
                await imported.keep(connection, _row(one, self.actor(), content))
        return found

    async def forget(self, reference: str | UUID) -> UUID:
        """Delete an imported run; return its id."""
        run_id = await self._imported(reference)
        if run_id is None:
            raise NotFound(f"no run '{reference}' was imported", hint="flowforge import --list")
        async with self.engine.database.connection() as connection:
            await imported.forget(connection, run_id)
        return run_id

    # -- how -----------------------------------------------------------------------------------------------

    async def _own(self, run_id: UUID, *, children: bool, whole: bool, depth: int) -> Capsule:
        async with self.engine.database.transaction() as connection:
            # One look at everything: the run and its history are of the same moment.
            await connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            found = await self._look(connection, run_id, whole=whole)
            below = await _children(connection, run_id, depth) if children else []
        if whole:
            found = replace(found, receipts=tuple(await receipts.made(self.engine, run_id)))
        if not below:
            return found
        inside = [await self._own(one, children=True, whole=whole, depth=depth + 1) for one in below]
        return replace(found, children=tuple(inside))

    async def _look(self, connection: Connection, run_id: UUID, *, whole: bool) -> Capsule:
        found = await views.run(connection, run_id)
        if found is None:
            raise NotFound(f"there is no run {run_id}", hint="flowforge ps lists runs")
        plan = (await self.engine.plans.get(connection, found[1])).plan
        (run,) = await self._with_parents(connection, await views.with_steps(connection, [(found[0], plan)]))
        events = tuple(_events(await history.whole(connection, run_id)))
        now = (await (await connection.execute("SELECT clock_timestamp()")).fetchone() or [datetime.now(UTC)])[0]
        written = await logs.read(connection, run_id) if whole else []
        waiting = [] if run.status.final else await outbox.unpublished(connection, run_id)
        return Capsule(
            run=run,
            events=events,
            definition=await workflows.definition(connection, found[1]),
            exported_at=max([now, *(event.at for event in events[-1:])]),
            logs=tuple(Log(plan.steps[no].id, attempt, text) for no, attempt, text in written),
            unpublished=frozenset(plan.steps[no].id for no in waiting),
            compiled=plan,
        )


async def _children(connection: Connection, run_id: UUID, depth: int) -> list[UUID]:
    from flowforge.model.capsule import MAX_CHILDREN_DEPTH

    if depth >= MAX_CHILDREN_DEPTH:
        return []
    found = await children.started_by(connection, run_id, MOST_CHILDREN + 1)
    if len(found) > MOST_CHILDREN:
        raise UsageError(
            f"the steps of run {run_id} have started more than {MOST_CHILDREN:,} runs: too many for one file"
        )
    return found


def _events(found: Iterable[history.Numbered]) -> list[RunEvent]:
    return [
        RunEvent(one.run, one.seq, event.type.value, event.at, event.step, event.attempt, event.data or {})
        for one in found
        for event in [one.event]
    ]


def _row(capsule: Capsule, actor: str, content: bytes) -> tuple[object, ...]:
    run = capsule.run
    what = (run.id, run.workflow, run.version, run.status.value, run.created_at, run.finished_at)
    return (*what, capsule.exported_at, actor, content)
