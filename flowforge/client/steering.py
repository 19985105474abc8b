"""What operators ask of runs: stop, hold, go on, skip, decide, signal, try again, replay.

Each request is a fact with an actor and a reason, decided under the run's lock: of two at once exactly one wins, and a
request that the state does not allow is refused with the reason. Nothing is checked here that could change meanwhile.
"""

from __future__ import annotations

import getpass
import socket
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from flowforge.client import deciding, rehearsing, replaying
from flowforge.client.looking import step_number
from flowforge.client.past import Past
from flowforge.engine import moving
from flowforge.engine.entries import Applied, Entry
from flowforge.engine.starting import Start, Started
from flowforge.errors import Conflict, NotFound, UsageError
from flowforge.model import compensating
from flowforge.model.documents import Incident, Rehearsal, Run
from flowforge.model.event import EventType
from flowforge.model.facts import (
    Answer,
    CancelRequested,
    Decided,
    Fact,
    PauseRequested,
    Refusal,
    Refused,
    Rejected,
    ResumeRequested,
    RetryRequested,
    SignalSent,
    SkipRequested,
)
from flowforge.model.json import InvalidJson, encode
from flowforge.model.status import RunStatus
from flowforge.settings import Settings
from flowforge.store import history, incidents


class Steering(Past):
    """The verbs of operators; a part of the client."""

    settings: Settings

    @abstractmethod
    async def start_many(self, starts: Sequence[Start]) -> list[Started]:
        """Commit several runs in one transaction."""

    def actor(self) -> str:
        """Who is acting, for the record."""
        if self.settings.actor:
            return self.settings.actor
        try:
            return f"{getpass.getuser()}@{socket.gethostname()}"
        except (KeyError, OSError):
            return f"unknown@{socket.gethostname()}"

    # -- stopping and going on -----------------------------------------------------------------------------

    async def cancel(self, reference: str | UUID, *, reason: str | None = None, force: bool = False) -> Run:
        """Ask a run to stop; Conflict when it has ended already.

        By *force* it does not wait until running attempts have stopped, nor until everything is undone.
        """
        return await self._ask(reference, CancelRequested(self.actor(), reason, force))

    async def pause(self, reference: str | UUID, *, reason: str | None = None) -> Run:
        """Hold a running run: what runs may finish, nothing new starts. A paused run stays as it is."""
        return await self._ask(reference, PauseRequested(self.actor(), reason))

    async def resume(self, reference: str | UUID, *, reason: str | None = None) -> Run:
        """Let a paused run go on; its deadline is as much later as it stood still."""
        run_id = await self.resolve(reference)
        return await self._ask(run_id, ResumeRequested(self.actor(), reason, await self._paused_at(run_id)))

    async def skip(self, reference: str | UUID, step: str, *, reason: str | None = None) -> Run:
        """Let a run go on without a step: one that has not started, that waits, or whose failure ended the run."""
        run_id = await self.resolve(reference)
        return await self._ask(run_id, SkipRequested(await self._number(run_id, step), self.actor(), reason))

    async def retry(
        self,
        reference: str | UUID,
        *,
        from_step: str | None = None,
        to_version: int | None = None,
        reason: str | None = None,
    ) -> Run:
        """Let a failed or cancelled run go on from what failed, or from a step; Conflict when it cannot.

        With *to_version* it goes on with another version of its workflow: steps are known by their ids, and those that
        it does not have any more are left out.
        """
        run_id = await self.resolve(reference)
        if to_version is not None:
            await self.move(run_id, to_version, from_step)
        number = None if from_step is None else await self._number(run_id, from_step)
        return await self._ask(run_id, RetryRequested(self.actor(), reason, number, to_version))

    # -- deciding ------------------------------------------------------------------------------------------

    async def signal(self, reference: str | UUID, name: str, payload: object = None) -> Run:
        """Send a signal to a run; it is kept until a step waits for it."""
        try:
            text = encode(payload, max_bytes=self.settings.max_step_bytes)
        except InvalidJson as error:
            raise UsageError(f"the signal's payload {error}") from None
        return await self._ask(reference, SignalSent(name, self.actor(), text))

    async def decide(self, reference: str | UUID, step: str, *, approved: bool, comment: str | None = None) -> Run:
        """Approve or reject what a step asks; Conflict when the actor may not, or nothing is asked."""
        run = await self.get(reference)
        number = await self._number(run.id, step)
        deciding.check(self.settings, run, step, self.actor())
        return await self._ask(run.id, Decided(number, self.actor(), approved, comment))

    # -- once more -----------------------------------------------------------------------------------------

    async def replay(
        self,
        reference: str | UUID,
        *,
        from_step: str | None = None,
        changes: Mapping[str, Any] | None = None,
        version: int | None = None,
        reason: str | None = None,
    ) -> Run:
        """Start a new run like another one: with its input, or some of it changed, on its version or another.

        With *from_step* what comes before that step is not executed: its outputs are taken from the other run.
        """
        wanted = replaying.Wanted(from_step, changes or {}, version, self.actor(), reason)
        run_id = await self.resolve(reference)
        async with self.engine.database.connection() as connection:
            request = await replaying.prepare(self.engine, connection, run_id, wanted)
        (started,) = await self.start_many([request.start])
        return await self.get(started.id)

    async def rehearse(
        self,
        reference: str | UUID,
        *,
        from_step: str | None = None,
        changes: Mapping[str, Any] | None = None,
        version: int | None = None,
    ) -> Rehearsal:
        """Say what a replay would do, without doing anything: what was recorded stands in for what has effects.

        The run may be another installation's, in a capsule's file or imported.
        """
        wanted = replaying.Wanted(from_step, changes or {}, version)
        foreign = await self.foreign(reference)
        run_id = await self.resolve(reference) if foreign is None else foreign.run.id
        async with self.engine.database.connection() as connection:
            if foreign is None:
                request = await replaying.prepare(self.engine, connection, run_id, wanted)
            else:
                request = await replaying.prepare_foreign(self.engine, connection, foreign, wanted)
        start = request.start
        return rehearsing.rehearse(request.run, start.version, start.input, start.recorded)

    # -- incidents -----------------------------------------------------------------------------------------

    async def incident(self, number: int) -> Incident:
        """Return an incident."""
        async with self.engine.database.connection() as connection:
            found = await incidents.one(connection, number)
        if found is None:
            raise NotFound(f"there is no incident {number}", hint="flowforge incident ls --all")
        return found

    async def resolve_incident(self, number: int, *, resolution: str | None = None) -> Incident:
        """Close an incident; the next time the same happens opens another. Conflict when it is closed already."""
        async with self.engine.database.connection() as connection:
            found = await incidents.resolve(connection, number, self.actor(), resolution)
        if found is None:
            known = await self.incident(number)
            raise Conflict(f"incident {number} was resolved by {known.resolved_by} already")
        return found

    # -- how -----------------------------------------------------------------------------------------------

    async def _ask(self, reference: str | UUID, fact: Fact) -> Run:
        run_id = await self.resolve(reference)
        await self.apply([Entry(run_id, fact)])
        return await self.get(run_id)

    async def apply(self, entries: Sequence[Entry], *, strict: bool = True) -> None:
        """Apply an operator's facts; when *strict*, the first that is not accepted is raised."""
        for entry, one in zip(entries, await self.ask_many(entries), strict=True):
            if strict:
                _require(entry.run_id, one.answer)

    async def ask_many(self, entries: Sequence[Entry]) -> list[Applied]:
        """Apply operators' facts in one transaction, and tell the workers; answers are in order."""
        if not entries:
            return []
        applied, consequences = await self.engine.ledger.apply(entries)
        self.engine.tracer.ended(consequences.spans)
        signals, names = self.engine.streams.signals, self.engine.names
        if consequences.dispatched:
            await signals.publish(names.wake)
        for _, run_id, step, token in consequences.stops:
            await signals.publish(names.control, encode({"run": str(run_id), "step": step, "token": token}))
        return applied

    async def _paused_at(self, run_id: UUID) -> datetime | None:
        async with self.engine.database.connection() as connection:
            found = await history.read(connection, run_id, 0)
        return next((one.event.at for one in reversed(found) if one.event.type is EventType.RUN_PAUSED), None)

    async def move(self, run_id: UUID, to_version: int, from_step: str | None) -> None:
        """Give a run that has ended another version of its workflow; Conflict when it has not ended."""
        async with self.engine.database.connection() as connection:
            run, version = await self._version(connection, run_id)
            wanted = await replaying.version_of(self.engine, connection, run, to_version)
        if run.status not in (RunStatus.FAILED, RunStatus.CANCELLED):
            raise Conflict(
                f"run {run_id}: the run is {run.status.value}; only a failed or cancelled run can be retried"
            )
        if from_step is not None:
            step_number(run_id, wanted, from_step)
        if wanted.id != version.id:
            undoing = from_step is None and (run.error or {}).get("code") == compensating.FAILED
            await moving.move(self.engine.database, run_id, version, wanted, undoing=undoing)


def _require(run_id: UUID, answer: Answer) -> None:
    """Raise what an operator has to know about a fact that was not accepted."""
    match answer:
        case Rejected():
            raise Conflict(f"run {run_id}: {answer.message}", hint=f"flowforge show {run_id}")
        case Refused(Refusal.UNREADABLE):
            raise Conflict(f"run {run_id} was defined by a release that this one cannot read")
        case Refused():
            raise NotFound(f"there is no run {run_id}", hint="flowforge ps lists runs")
