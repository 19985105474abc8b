"""The sweeper: what must happen without anybody asking, decided from Postgres alone.

Leases that ended, retries and delays that are due, deadlines, dispatches nobody claimed, room at a gate nobody was
admitted to, runs of workflows that are held no more, and the loss of all streams. Every worker sweeps; a decision
that was made already is a no-op.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import psycopg

from flowforge.engine.crash import crash_point
from flowforge.engine.entries import Consequences, Entry
from flowforge.engine.ledger import NOT_WANTED, Ledger
from flowforge.engine.loop import Loop
from flowforge.engine.rescuer import Rescuer
from flowforge.errors import BackendError
from flowforge.model.facts import Admitted, CancelRequested, Woke
from flowforge.store import alarms, gates, pauses, runs, workers
from flowforge.store.database import Database
from flowforge_streams.errors import StreamError
from flowforge_streams.seam import Group, StreamLog

log = logging.getLogger(__name__)

#: Runs looked at in one transaction.
LIMIT = 200
#: Rounds between two looks at gates and the streams' epoch, at runs that nobody waits for, and between two clean-ups.
GATES_EVERY, ORPHANS_EVERY, CLEAN_EVERY = 4, 60, 600
#: A worker that was not seen for this long is deleted from the register.
FORGET_AFTER = timedelta(days=1)


class Sweeper(Loop):
    """Looks at runs whose alarm went off."""

    pause = 0.5

    def __init__(
        self,
        database: Database,
        ledger: Ledger,
        streams: StreamLog,
        groups: Sequence[Group],
        after: Callable[[Consequences], None],
        rescuer: Rescuer | None = None,
    ) -> None:
        super().__init__()
        self._database, self._ledger, self._streams = database, ledger, streams
        self._groups = groups
        #: Told what has to happen outside Postgres after each commit.
        self._after = after
        #: Begins with what others have lost; without one it is dispatched.
        self._rescuer = rescuer
        self._round = 0
        self._epoch: str | None = None
        self._lost = False

    def dispatches_lost(self) -> None:
        """Dispatch every queued step again, soon: a stream has lost what was in it."""
        self._lost = True
        self.nudge()

    async def run_once(self) -> float | None:
        """Look at what is due; return how long nothing will be."""
        self._round += 1
        async with self._database.connection() as connection:
            due = await alarms.due(connection, LIMIT)
            looks = self._round % GATES_EVERY == 0
            waited_at = await gates.waited_at(connection) if looks else []
            released = await pauses.released(connection, LIMIT) if looks else []
            if self._round % CLEAN_EVERY == 0:
                await workers.forget(connection, FORGET_AFTER)
        over = [run_id for run_id, seconds in due if seconds <= 0]
        if over:
            crash_point("sweeper.before_wake")
            await self._wake(over, Woke(backlog=await self._backlog()))
        if self._round % ORPHANS_EVERY == 0:
            await self._cancel_orphans()
        await self._let_in(waited_at, released)
        if self._lost:
            await self._recover()
        if self._round % GATES_EVERY == 1:
            await self._check_epoch()
        if len(over) == LIMIT:
            return 0
        ahead = min((seconds for _, seconds in due if seconds > 0), default=self.pause)
        return min(max(ahead, 0.01), self.pause) * random.uniform(0.9, 1.1)  # noqa: S311 - jitter

    async def _wake(self, run_ids: Sequence[UUID], fact: Woke) -> None:
        """Look at runs together; one that Postgres refuses must not keep the others from being looked at."""
        try:
            consequences = await self._applied(run_ids, fact)
        except psycopg.Error as error:
            if len(run_ids) == 1:
                log.warning("run %s cannot be swept: Postgres refuses it: %s", run_ids[0], error)
                with suppress(BackendError, psycopg.Error):
                    await self._ledger.refused(Entry(run_ids[0], fact), error)
                return
            for run_id in run_ids:
                await self._wake([run_id], fact)
        else:
            crash_point("sweeper.after_wake")
            self._after(consequences)

    async def _let_in(self, gate_ids: Sequence[int], released: Sequence[UUID]) -> None:
        """Admit who waits at gates with room, and who nothing keeps waiting any more."""
        if released:
            _, consequences = await self._ledger.apply([Entry(run_id, Admitted()) for run_id in released])
            self._after(consequences)
        for gate_id in gate_ids:
            consequences = Consequences()
            await self._ledger.admit([gate_id], consequences)
            self._after(consequences)

    async def _applied(self, run_ids: Sequence[UUID], fact: Woke) -> Consequences:
        """Look at runs in one transaction, and begin with what that gave to this worker."""
        if self._rescuer is None:
            _, consequences = await self._ledger.apply([Entry(run_id, fact) for run_id in run_ids])
            return consequences
        hands, takers = self._rescuer.offer(run_ids)
        entries = [Entry(run_id, replace(fact, taker=taker)) for run_id, taker in zip(run_ids, takers, strict=True)]
        try:
            applied, consequences = await self._ledger.apply(entries, hands=hands)
        except (BackendError, psycopg.Error):
            # Nobody knows whether it was committed: what we were given then is asked for.
            self._rescuer.recover(hands)
            raise
        finally:
            self._rescuer.close()
        self._rescuer.begin(applied)
        return consequences

    async def _cancel_orphans(self) -> None:
        """Cancel runs whose parent has ended without being able to say so."""
        async with self._database.connection() as connection:
            found = await runs.orphans(connection, LIMIT)
        if found:
            fact = CancelRequested("flowforge", NOT_WANTED)
            _, consequences = await self._ledger.apply([Entry(run_id, fact) for run_id in found])
            self._after(consequences)

    async def _backlog(self) -> bool:
        """Whether the streams hold work that nobody took yet: then an unclaimed step is late, not lost."""
        try:
            depths = [await group.depth() for group in self._groups]
        except StreamError:
            return False
        return any(depth.length - depth.pending > 0 for depth in depths)

    async def _check_epoch(self) -> None:
        """Dispatch every queued step again when the streams' server lost what it had."""
        try:
            epoch = await self._streams.epoch()
        except StreamError:
            return
        if epoch == self._epoch:
            return
        async with self._database.transaction() as connection:
            known = await alarms.take_epoch(connection, self._streams.address)
            if known == alarms.TAKEN:
                return
            if known is not None and known != epoch:
                log.warning("the streams lost what they had; every queued step is dispatched again")
                await self._dispatch_again(await alarms.with_queued_steps(connection))
            await alarms.store_epoch(connection, self._streams.address, epoch)
        self._epoch = epoch

    async def _recover(self) -> None:
        self._lost = False
        try:
            async with self._database.connection() as connection:
                run_ids = await alarms.with_queued_steps(connection)
            await self._dispatch_again(run_ids)
        except BaseException:
            self._lost = True
            raise

    async def _dispatch_again(self, run_ids: Sequence[UUID]) -> None:
        for start in range(0, len(run_ids), LIMIT):
            await self._wake(run_ids[start : start + LIMIT], Woke(streams_lost=True))
