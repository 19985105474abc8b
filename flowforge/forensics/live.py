"""A live installation as a source: one connection that can only read, driven from a thread of its own.

Notebooks run an event loop already, so nothing asynchronous may be waited for in their thread. Aggregates are
Postgres's work; what comes over the connection is what is shown.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Coroutine, Sequence
from datetime import UTC, datetime
from typing import Any, Self, TypeVar
from uuid import UUID

import pandas as pd

from flowforge.client import installation
from flowforge.engine.plans import Plans
from flowforge.errors import NotFound, UsageError
from flowforge.forensics import sample
from flowforge.forensics.bundle import Bundle
from flowforge.forensics.filters import Wanted
from flowforge.forensics.sample import Sample
from flowforge.forensics.source import Case, Question, Reference
from flowforge.model.capsule import Capsule, Log
from flowforge.model.documents import RunEvent
from flowforge.model.unpacking import unpack
from flowforge.settings import Settings, load
from flowforge.store import history, imported, logs, schema, views, workflows
from flowforge.store.database import Connection
from flowforge.store.forensics import reading, window

T = TypeVar("T")


class Live:
    """Answers from Postgres."""

    def __init__(self, url: str, *, checked: bool = True) -> None:
        self._url, self._plans = url, Plans()
        self._connection: Connection | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="flowforge-forensics", daemon=True)
        self._thread.start()
        try:
            self._do(self._connected(check=checked))
        except BaseException:
            self._end()
            raise

    @classmethod
    def open(cls, *, target: str | None = None, settings: Settings | None = None) -> Self:
        """Connect to a Postgres URL, to the database of a profile, or to the configured one."""
        if target is not None and ("://" in target or "=" in target):
            return cls(target)
        chosen = settings or load({"profile": target}).settings
        if chosen.database_url is not None:
            return cls(chosen.database_url)
        return cls(_endpoints(chosen))

    @property
    def name(self) -> str:
        """The database, without credentials."""
        from psycopg.conninfo import conninfo_to_dict

        parts = conninfo_to_dict(self._url)
        return f"database {parts.get('dbname', '?')} at {parts.get('host', 'this machine')}"

    def __repr__(self) -> str:
        return f"<FlowForge {self.name}, read-only>"

    def now(self) -> datetime:
        """Return the time; the database's clock decides what happened when, and it is near enough."""
        return datetime.now(UTC)

    def resolve(self, reference: Reference) -> str:
        """Return the full id of the run that is meant."""
        if isinstance(reference, UUID):
            return str(reference)
        text = reference.strip().lower()
        if not text.startswith("@") and not set(text) <= set("0123456789abcdef-"):
            raise UsageError(f"'{reference}' is not a run: give an id or 4 or more of its digits, @last, @last-failed")
        found = self._do(self._matching(text))
        if not found:
            raise NotFound(f"there is no run '{reference}'", hint="fx.runs() lists the newest")
        if len(found) > 1:
            raise UsageError(f"'{reference}' means several runs: {', '.join(map(str, found))}", hint="give more digits")
        return str(found[0])

    def case(self, reference: Reference) -> Case:
        """Return a run with its history."""
        return self._do(self._case(UUID(self.resolve(reference))))

    def answer(self, question: Question, wanted: Wanted, **options: Any) -> pd.DataFrame:
        """Let Postgres answer; runs that were imported are only capsules, and are asked as those of a bundle are."""
        if wanted.runs and self._do(self._imported(wanted.runs)):
            cases = [self.case(one) for one in wanted.runs]
            return Bundle(cases, max(case.seen_at for case in cases), self.name).answer(question, wanted, **options)
        taken = self._sample(question, wanted)
        statement = question.statement if taken is None else window.sampled(question.statement)
        values = wanted.values() | options | {"percent": 100.0 if taken is None else 100 * taken.share}
        names, rows = self._do(self._ask(statement, values))
        found = pd.DataFrame.from_records(rows, columns=names)
        return found if taken is None else taken.grown(found, question.grows)

    def _sample(self, question: Question, wanted: Wanted) -> Sample | None:
        if not question.grows or wanted.runs is not None:
            return None
        return sample.taken(self._do(self._estimate(wanted)))

    def close(self) -> None:
        """Close the connection."""
        if not self._loop.is_closed():
            if self._connection is not None:
                self._do(self._connection.close())
            self._end()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- in the thread -------------------------------------------------------------------------------------

    def _do(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _connected(self, *, check: bool = False) -> Connection:
        if self._connection is None or self._connection.closed:
            self._connection = await reading.open_connection(self._url)
        if check:
            await schema.require(self._connection)
        return self._connection

    async def _ask(self, statement: str, values: dict[str, Any]) -> tuple[list[str], list[tuple[Any, ...]]]:
        return await reading.ask(await self._connected(), statement, values)

    async def _estimate(self, wanted: Wanted) -> float:
        return await reading.estimate(await self._connected(), wanted.values())

    async def _matching(self, text: str) -> list[UUID]:
        connection = await self._connected()
        found = await views.matching(connection, text)
        return found or ([] if text.startswith("@") else await imported.matching(connection, text.replace("-", "")))

    async def _imported(self, run_ids: Sequence[UUID]) -> list[UUID]:
        return await imported.among(await self._connected(), run_ids)

    async def _case(self, run_id: UUID) -> Case:
        connection = await self._connected()
        found = await views.run(connection, run_id)
        if found is None:
            content = await imported.capsule(connection, run_id)
            if content is None:
                raise NotFound(f"there is no run {run_id}", hint="fx.runs() lists the newest")
            return Case(unpack(content, name=f"the imported run {run_id}"), foreign=True)
        run, version_id = found
        version = await self._plans.get(connection, version_id)
        (whole,) = await views.with_steps(connection, [(run, version.plan)])
        written = await logs.read(connection, run_id)
        capsule = Capsule(
            run=whole,
            events=tuple([event async for event in _history(connection, run_id)]),
            definition=await workflows.definition(connection, version_id),
            exported_at=self.now(),
            logs=tuple(Log(version.plan.steps[no].id, attempt, text) for no, attempt, text in written),
            compiled=version.plan,
        )
        return Case(capsule)


async def _history(connection: Connection, run_id: UUID) -> AsyncIterator[RunEvent]:
    after = 0
    while found := await history.read(connection, run_id, after):
        for one in found:
            event = one.event
            yield RunEvent(run_id, one.seq, event.type.value, event.at, event.step, event.attempt, event.data or {})
        after = found[-1].seq


def _endpoints(settings: Settings) -> str:
    """Find the servers from a thread that may wait: this one may run a loop already."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(lambda: asyncio.run(installation.endpoints(settings)).database_url).result()
