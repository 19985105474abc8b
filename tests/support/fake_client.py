"""A client that answers from memory and remembers what was asked; servers can be taken away from it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from flowforge.client.explaining import of_capsule
from flowforge.errors import Conflict, DatabaseUnavailable, NotFound
from flowforge.model.capsule import Capsule
from flowforge.model.documents import Incident, Run, RunEvent, RunFilter
from flowforge.model.overview import Pulse, RunSummary, Transport
from flowforge.model.pausing import Held, Pause
from flowforge.model.status import RunStatus
from flowforge.store.imported import Imported
from flowforge_streams.errors import StreamUnavailable
from tests.support import overviews
from tests.support.overviews import NOW, document, transport


class FakeClient:
    """Answers from memory; `asked` is what was done to runs."""

    def __init__(self, runs: Sequence[RunSummary] = ()) -> None:
        self.known = {run.id: run for run in runs}
        self.asked: list[tuple[Any, ...]] = []
        self.open_incidents: list[Incident] = []
        self.transports = [transport()]
        self.coming: asyncio.Queue[RunEvent] = asyncio.Queue()
        self.wanted: list[RunFilter] = []
        self.postgres_away = self.streams_away = False
        self.refuses: set[UUID] = set()
        #: What the database finds by parts of a filter that a line does not say; and what it says to a filter.
        self.answers: dict[str, list[UUID]] = {}
        self.refuses_filter: Exception | None = None
        #: Queues and workflows that are paused; capsules by what they are called.
        self.held: list[tuple[str, str]] = []
        self.capsules: dict[str, Capsule] = {}
        self.closed = False

    def _answer(self) -> None:
        if self.postgres_away:
            raise DatabaseUnavailable

    async def open(self) -> None:
        self._answer()

    async def close(self) -> None:
        self.closed = True

    async def pulse(self) -> Pulse:
        self._answer()
        active = sum(not run.status.final for run in self.known.values())
        failed = sum(run.status is RunStatus.FAILED for run in self.known.values())
        streams = None if self.streams_away else "redis 9.1.2"
        return Pulse(NOW, "18.4", streams, active, failed, len(self.open_incidents), 1)

    async def summaries(self, wanted: RunFilter | Sequence[UUID]) -> list[RunSummary]:
        self._answer()
        if not isinstance(wanted, RunFilter):
            return [self.known[one] for one in wanted if one in self.known]
        self.wanted.append(wanted)
        if self.refuses_filter is not None and not wanted.empty and not wanted.statuses:
            raise self.refuses_filter
        found = [run for run in self.known.values() if not wanted.statuses or run.status in wanted.statuses]
        for part, ids in self.answers.items():
            if getattr(wanted, part):
                found = [run for run in found if run.id in ids]
        return sorted(found, key=lambda run: run.id, reverse=True)[: wanted.limit]

    async def feed(self) -> AsyncIterator[RunEvent]:
        while not self.streams_away:
            try:
                yield await asyncio.wait_for(self.coming.get(), 0.01)
            except TimeoutError:
                continue
        raise StreamUnavailable("connection refused")

    def happens(self, run: RunSummary, kind: str = "step.started") -> None:
        """Let something happen to a run."""
        self.known[run.id] = run
        self.coming.put_nowait(RunEvent(run.id, run.seq, kind, NOW))

    async def events(self, reference: UUID, after: int = 0) -> list[RunEvent]:
        return []

    async def logs(self, reference: UUID) -> list[tuple[str, int, str]]:
        return []

    async def versions(self, name: str) -> list[Any]:
        return []

    async def get(self, reference: UUID) -> Run:
        self._answer()
        return document(self.known[reference])

    async def explain(self, reference: str | UUID) -> Any:
        if (capsule := self.capsules.get(str(reference))) is not None:
            return of_capsule(capsule)
        raise NotFound(f"nothing is known of {reference}")

    async def diff(self, before: UUID, after: UUID) -> Any:
        raise NotFound(f"nothing is known of {before} and {after}")

    async def incidents(self, *, resolved: bool = False, limit: int = 50) -> list[Incident]:
        self._answer()
        return [one for one in self.open_incidents if resolved or one.resolved_at is None][:limit]

    async def resolve_incident(self, number: int, *, resolution: str | None = None) -> Incident:
        self.asked.append(("resolve_incident", number, resolution))
        return self.open_incidents.pop(0)

    async def transport(self) -> Transport:
        self._answer()
        return self.transports[0] if len(self.transports) == 1 else self.transports.pop(0)

    async def pauses(self) -> list[Pause]:
        return [
            Pause(kind, name, NOW - timedelta(hours=2), "alice", "the provider is down") for kind, name in self.held
        ]

    async def pause_queue(self, name: str, *, reason: str | None = None) -> Held:
        return self._hold("queue", name, reason, paused=True)

    async def resume_queue(self, name: str, *, reason: str | None = None) -> Held:
        return self._hold("queue", name, reason, paused=False)

    async def pause_workflow(self, name: str, *, reason: str | None = None) -> Held:
        return self._hold("workflow", name, reason, paused=True)

    async def resume_workflow(self, name: str, *, reason: str | None = None) -> Held:
        return self._hold("workflow", name, reason, paused=False)

    def _hold(self, kind: str, name: str, reason: str | None, *, paused: bool) -> Held:
        self.asked.append(("pause" if paused else "resume", kind, name, reason))
        self.held = [*self.held, (kind, name)] if paused else [one for one in self.held if one != (kind, name)]
        return Held(kind, name, paused, changed=True, pause=None)

    async def imported(self, limit: int = 100) -> list[Imported]:
        return [overviews.imported(one) for one in self.capsules.values()][:limit]

    async def foreign(self, reference: str) -> Capsule | None:
        return self.capsules.get(reference)

    async def resolve(self, reference: str) -> UUID:
        found = [one for one in self.known if one.hex.endswith(reference.replace("-", ""))]
        if not found:
            raise NotFound(f"there is no run '{reference}'", hint="flowforge ps lists runs")
        return found[0]

    async def forget(self, reference: str) -> UUID:
        self.asked.append(("forget", reference))
        return self.capsules.pop(reference).run.id

    async def dead_letters(self, queue: str) -> list[Any]:
        self.asked.append(("dead_letters", queue))
        return []

    async def drain(self, ids: Sequence[str]) -> list[str]:
        self.asked.append(("drain", *ids))
        return list(ids)

    def _do(self, name: str, reference: UUID, *more: Any) -> Any:
        if reference in self.refuses:
            raise Conflict("it was changed meanwhile", hint="look again")
        self.asked.append((name, reference, *more))

    async def cancel(self, reference: UUID, *, reason: str | None = None) -> None:
        self._do("cancel", reference, reason)

    async def retry(self, reference: UUID, *, reason: str | None = None) -> None:
        self._do("retry", reference, reason)

    async def pause(self, reference: UUID, *, reason: str | None = None) -> None:
        self._do("pause", reference, reason)

    async def resume(self, reference: UUID, *, reason: str | None = None) -> None:
        self._do("resume", reference, reason)

    async def skip(self, reference: UUID, step: str, *, reason: str | None = None) -> None:
        self._do("skip", reference, step, reason)

    async def signal(self, reference: UUID, name: str, payload: object = None) -> None:
        self._do("signal", reference, name, payload)

    async def decide(self, reference: UUID, step: str, *, approved: bool, comment: str | None = None) -> None:
        self._do("decide", reference, step, approved, comment)

    async def replay(self, reference: UUID, *, from_step: str | None = None, changes: Any = None) -> None:
        self._do("replay", reference, from_step, changes)
