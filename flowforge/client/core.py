"""The asynchronous client: everything that can be asked of an installation, as one object.

It parses nothing that a surface should parse and prints nothing; it turns requests into facts for the ledger and
rows into documents. What it cannot do it raises, as one of flowforge.errors.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import repeat
from types import TracebackType
from typing import Any, Self
from uuid import UUID

from flowforge.client import installation, publishing, receipts, verifying
from flowforge.client.bulk import Bulk
from flowforge.client.explaining import Explaining
from flowforge.client.holding import Holding
from flowforge.client.overview import Overview
from flowforge.client.receipts import ReceiptKey
from flowforge.client.searching import Searching
from flowforge.client.starts import Starts
from flowforge.client.steering import Steering
from flowforge.client.verifying import Progress
from flowforge.engine.engine import Endpoints, Engine
from flowforge.engine.feed import decode as decode_feed
from flowforge.engine.gathering import Gathering
from flowforge.engine.plans import PlannedVersion
from flowforge.engine.starting import Start, Started
from flowforge.errors import NotFound, UsageError
from flowforge.model.divergence import Divergence, Verification
from flowforge.model.documents import Published, Run, RunEvent
from flowforge.model.status import RunStatus
from flowforge.settings import Settings, load
from flowforge.store import children, history, logs, views, workers, workflows
from flowforge.store.database import Connection
from flowforge.store.workers import WorkerRow
from flowforge.store.workflows import Version, WorkflowSummary

#: Enough of a run's id to look for it.
RUN_DIGITS = re.compile("[0-9a-f]{4,32}")
#: Seconds between two looks at a run that is waited for: at first, because most steps take milliseconds, and at last.
#: Looking more often took longer: the looks took processors from whoever executed the run. Those who wait at the same
#: time look together.
SHORTEST, LONGEST = 0.002, 0.2
#: What a run can be started from: a file, a name, name@version, a definition.
Target = Any


@dataclass(frozen=True, slots=True)
class Opened:
    """What an open client works with; what is asked for at the same time shares round trips."""

    engine: Engine
    starts: Starts
    #: Versions by name or name@version.
    names: Gathering[str, PlannedVersion]
    #: Runs with their steps, None for one that does not exist; and where they stand.
    runs: Gathering[UUID, Run | None]
    statuses: Gathering[UUID, RunStatus | None]


class AsyncClient(Searching, Steering, Bulk, Explaining, Holding, Overview):
    """A connection to one installation; use it as an async context manager."""

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        endpoints: Endpoints | None = None,
        connections: int = 8,
        **overrides: Any,
    ) -> None:
        self.settings = settings or load(overrides).settings
        self._endpoints = endpoints
        self._connections = connections
        self._open: Opened | None = None

    @property
    def _opened(self) -> Opened:
        if self._open is None:
            raise UsageError("the client is not open", hint="use it as: async with AsyncClient() as client")
        return self._open

    @property
    def engine(self) -> Engine:
        """What it works with; open the client first."""
        return self._opened.engine

    async def open(self) -> Self:
        """Find the servers, starting embedded ones when needed, and connect."""
        if self._open is None:
            where = self._endpoints or await installation.endpoints(self.settings)
            engine = await Engine(where, self.settings, connections=self._connections).open()
            self._open = Opened(
                engine,
                Starts(engine),
                Gathering(self._find, 100),
                Gathering(self._read, 50),
                Gathering(self._statuses, 5_000),
            )
        return self

    async def close(self) -> None:
        """Close every connection; embedded servers stay up."""
        if self._open is not None:
            await self._open.starts.close()
            await self._open.engine.close()
            self._open = None

    async def __aenter__(self) -> Self:
        return await self.open()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    # -- workflows -----------------------------------------------------------------------------------------

    async def publish(self, source: Target, *, draft: bool = False) -> Published:
        """Publish a definition (path, mapping or Workflow) as the next version, unless it is the newest already."""
        published, _ = await publishing.publish(self.engine, source, draft=draft)
        return published

    async def publish_draft(self, name: str) -> Published:
        """Publish a workflow's stored draft."""
        return await publishing.publish_draft(self.engine, name)

    async def verify(
        self,
        source: Target,
        last: int,
        *,
        accept: Collection[Divergence] = (),
        progress: Progress = lambda _done, _of: None,
    ) -> Verification:
        """Say what the last finished runs would come to with a definition, or a draft, by name; nothing is done."""
        return await verifying.verify(self.engine, source, last, accept=accept, progress=progress)

    async def archive(self, name: str, version: int | None = None) -> list[Version]:
        """Archive a version, or all of a workflow: runs go on, new ones cannot start. Return what was archived."""
        async with self.engine.database.transaction() as connection:
            found = await workflows.versions(connection, name)
            chosen = [v for v in found if v.status == "published" and version in (None, v.version)]
            if not chosen:
                wanted = name if version is None else f"{name}@{version}"
                raise NotFound(f"there is no published workflow '{wanted}'", hint="flowforge workflow ls")
            await workflows.archive(connection, [v.id for v in chosen])
            return [v for v in await workflows.versions(connection, name) if v.id in {c.id for c in chosen}]

    async def workflows(self) -> list[WorkflowSummary]:
        """Return every workflow, by name."""
        async with self.engine.database.connection() as connection:
            return await workflows.summaries(connection)

    async def versions(self, name: str) -> list[Version]:
        """Return the versions of a workflow, newest first."""
        async with self.engine.database.connection() as connection:
            return await workflows.versions(connection, name) or publishing.unknown(
                name, await workflows.names(connection)
            )

    async def definition(self, version: Version) -> dict[str, Any]:
        """Return the canonical definition of a version."""
        async with self.engine.database.connection() as connection:
            return await workflows.definition(connection, version.id)

    # -- starting ------------------------------------------------------------------------------------------

    async def run(
        self,
        target: Target,
        input: object = None,  # noqa: A002 - the word of the whole product
        *,
        idempotency_key: str | None = None,
        labels: Mapping[str, str] | None = None,
        priority: int = 0,
        trigger: str = "api",
        wait: bool = False,
        timeout: float | None = None,
    ) -> Run:
        """Start a run; with *wait*, return it when it has ended. A file is published first when it changed."""
        version = await self.planned(target)
        start = self.prepare(
            version, input, idempotency_key=idempotency_key, labels=labels, priority=priority, trigger=trigger
        )
        await self.apply(await self.engine.starter.make_room(start, self.actor()), strict=False)
        (started,) = await self.start_many([start])
        if wait:
            return await self.wait(started.id, timeout=timeout)
        found = await self.get(started.id)
        return replace(found, duplicate=started.duplicate)

    async def planned(self, target: Target) -> PlannedVersion:
        """Return the version that a target means, compiled; a file or definition is published when it changed."""
        if isinstance(target, str) and not publishing.is_file(target):
            (found,) = await self._opened.names.do([target])
            return found
        return await publishing.planned(self.engine, target)

    def prepare(
        self,
        version: PlannedVersion,
        input: object = None,  # noqa: A002
        *,
        idempotency_key: str | None = None,
        labels: Mapping[str, str] | None = None,
        priority: int = 0,
        trigger: str = "api",
    ) -> Start:
        """Check an input and make the request of a run; InputError says all that is wrong with it."""
        return self._opened.starts.prepare(
            version, input, idempotency_key=idempotency_key, labels=labels, priority=priority, trigger=trigger
        )

    async def start_many(self, starts: Sequence[Start]) -> list[Started]:
        """Commit several runs in one transaction; the answers are in order, and hold only what is known at once."""
        return await self._opened.starts.commit(starts)

    async def run_many(
        self,
        target: Target,
        inputs: Iterable[object],
        *,
        idempotency_keys: Iterable[str] | None = None,
        labels: Mapping[str, str] | None = None,
        priority: int = 0,
        trigger: str = "api",
        progress: Callable[[int], None] = lambda _: None,
    ) -> list[Started]:
        """Start a run for each input, some hundred in a transaction; return their ids in order.

        With *idempotency_keys*, one for each input, it can be repeated after an interruption and starts nothing twice.
        *progress* is told how many are committed so far.
        """
        version = await self.planned(target)
        keys = repeat(None) if idempotency_keys is None else idempotency_keys
        how = {"labels": labels, "priority": priority, "trigger": trigger}
        requests = (self.prepare(version, one, idempotency_key=key, **how) for one, key in zip(inputs, keys))  # type: ignore[arg-type]  # noqa: B905
        started: list[Started] = []
        async for some in self._opened.starts.many(requests):
            started += some
            progress(len(started))
        return started

    # -- looking -------------------------------------------------------------------------------------------

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

    async def _find(self, names: Sequence[str]) -> list[PlannedVersion]:
        found = {name: await publishing.planned(self.engine, name) for name in dict.fromkeys(names)}
        return [found[name] for name in names]

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
        run_id = await self.resolve(reference)
        number = None if step is None else await self._number(run_id, step)
        async with self.engine.database.connection() as connection:
            _, version = await self._version(connection, run_id)
            found = await logs.read(connection, run_id, number)
        return [(version.plan.steps[no].id, attempt, text) for no, attempt, text in found]

    # -- receipts ------------------------------------------------------------------------------------------

    async def receipt(self, reference: str | UUID, number: int | None = None) -> dict[str, Any]:
        """Return the receipt of a run that has ended, with its proof: the newest, or one of them by number."""
        found = await self.receipts(reference)
        if number is None:
            return found[-1]
        if not 0 < number <= len(found):
            raise NotFound(f"run {reference} has no receipt {number}", hint=f"it has {len(found)}, counted from 1")
        return found[number - 1]

    async def receipts(self, reference: str | UUID) -> list[dict[str, Any]]:
        """Return every receipt of a run, oldest first: one for each time it has ended."""
        foreign = await self.foreign(reference)
        if foreign is not None and foreign.receipts:
            return list(foreign.receipts)
        if foreign is not None:
            raise NotFound(f"the capsule of run {foreign.run.id} has no receipt")
        return await receipts.of_run(self.engine, await self.resolve(reference))

    async def receipt_keys(self) -> list[ReceiptKey]:
        """Return the public keys that receipts can be verified with, newest first."""
        return await receipts.keys(self.engine)

    async def rotate_receipt_key(self) -> list[ReceiptKey]:
        """Let receipts be signed with a new key from now on; return all public keys, newest first."""
        return await receipts.keys(self.engine, rotate=True)

    # -- workers -------------------------------------------------------------------------------------------

    async def workers(self) -> list[WorkerRow]:
        """Return every known worker, oldest first."""
        async with self.engine.database.connection() as connection:
            return await workers.all_workers(connection)

    async def drain(self, ids: Sequence[str]) -> list[str]:
        """Ask workers to stop after what they are doing; return those that were asked."""
        async with self.engine.database.connection() as connection:
            return await workers.set_status(connection, ids, "draining")

    async def worker_alive(self, queues: Sequence[str] = ("default",)) -> bool:
        """Say whether anybody serves one of the queues."""
        async with self.engine.database.connection() as connection:
            return await workers.any_alive(connection, queues)


def _event(one: history.Numbered) -> RunEvent:
    event = one.event
    return RunEvent(one.run, one.seq, event.type.value, event.at, event.step, event.attempt, event.data or {})
