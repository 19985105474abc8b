"""The asynchronous client: everything that can be asked of an installation, as one object.

It parses nothing that a surface should parse and prints nothing; it turns requests into facts for the ledger and
rows into documents. What it cannot do it raises, as one of flowforge.errors.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import repeat
from types import TracebackType
from typing import Any, Self
from uuid import UUID

from flowforge.client import installation, publishing, receipts, verifying
from flowforge.client.bulk import Bulk
from flowforge.client.explaining import Explaining
from flowforge.client.holding import Holding
from flowforge.client.lists import Lists
from flowforge.client.opened import Opened
from flowforge.client.overview import Overview
from flowforge.client.receipts import ReceiptKey
from flowforge.client.searching import Searching
from flowforge.client.starts import Starts
from flowforge.client.steering import Steering
from flowforge.client.verifying import Progress
from flowforge.engine.engine import Endpoints, Engine
from flowforge.engine.gathering import Gathering
from flowforge.engine.plans import PlannedVersion
from flowforge.engine.starting import Start, Started
from flowforge.errors import NotFound, UsageError
from flowforge.model.divergence import Divergence, Verification
from flowforge.model.documents import Published, Run
from flowforge.settings import Settings, load
from flowforge.store import workers, workflows
from flowforge.store.workflows import Version

#: What a run can be started from: a file, a name, name@version, a definition.
Target = Any


class AsyncClient(Steering, Searching, Bulk, Explaining, Holding, Overview, Lists):
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

    async def _find(self, names: Sequence[str]) -> list[PlannedVersion]:
        found = {name: await publishing.planned(self.engine, name) for name in dict.fromkeys(names)}
        return [found[name] for name in names]

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

    async def drain(self, ids: Sequence[str]) -> list[str]:
        """Ask workers to stop after what they are doing; return those that were asked."""
        async with self.engine.database.connection() as connection:
            return await workers.set_status(connection, ids, "draining")

    async def worker_alive(self, queues: Sequence[str] = ("default",)) -> bool:
        """Say whether anybody serves one of the queues."""
        async with self.engine.database.connection() as connection:
            return await workers.any_alive(connection, queues)
