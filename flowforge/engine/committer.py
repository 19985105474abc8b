"""The committer: group commit for everything a worker has to say.

Claims and settlements collect while a transaction is under way and share the next one, so batches grow with load
and a lone fact waits for nobody. Two transactions overlap where there is enough for both, because one side always
waits for the disk; two that are about one run never do, because the second would find the run changed. Facts are
offered until Postgres takes them; only a worker that stops gives up.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import TypeAlias

import psycopg

from flowforge.engine.chaining import Inline
from flowforge.engine.entries import Applied, Consequences, Entry
from flowforge.engine.ledger import Ledger
from flowforge.errors import BackendError
from flowforge.model.facts import Claimed, Settled

log = logging.getLogger(__name__)

#: Facts of one transaction: beyond a few hundred nothing is gained, and others wait longer for the locks.
LIMIT = 400
#: Transactions under way at a time.
LANES = 2
#: Facts that are worth a second transaction: fewer cost more each than they gain by not waiting for the first.
ENOUGH = 100
#: Facts of the mean transaction of a worker that has more to do than it can: one that keeps up commits a few.
CROWD = 30

#: Told what became of an entry: the answer, or the error of a row that Postgres refuses.
Done: TypeAlias = Callable[[Applied | psycopg.Error], None]


class Committer:
    """Applies entries in batches and tells each sender."""

    def __init__(self, ledger: Ledger, after: Callable[[Consequences], None], inline: Inline | None = None) -> None:
        self._ledger, self._inline = ledger, inline
        self._after = after
        self._waiting: deque[tuple[Entry, Done]] = deque()
        self._filled = asyncio.Event()
        self._busy = 0
        #: Runs of the transactions under way, by number: the hash of a UUID is a function written in Python.
        self._under_way: set[int] = set()
        self._idle = asyncio.Event()
        self._idle.set()
        #: Facts and transactions so far.
        self._committed = self._transactions = 0
        self._looked = (0, 0)

    def pressed(self) -> bool:
        """Say whether work has waited for this worker since the last look: transactions only grow when it does."""
        (facts, transactions), self._looked = self._looked, (self._committed, self._transactions)
        return self._committed - facts >= CROWD * max(1, self._transactions - transactions)

    def count(self, facts: int) -> None:
        """Note that a transaction of so many facts was committed, here or beside."""
        self._committed += facts
        self._transactions += 1

    def submit(self, entry: Entry, done: Done) -> None:
        """Hand in an entry; *done* is called in the event loop after its commit."""
        self._waiting.append((entry, done))
        if not self._busy or len(self._waiting) >= ENOUGH:
            self._filled.set()
        self._idle.clear()

    async def drained(self) -> None:
        """Wait until everything handed in is committed."""
        await self._idle.wait()

    async def run(self) -> None:
        """Commit until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(LANES):
                group.create_task(self._lane())

    async def _lane(self) -> None:
        while True:
            _end_if_cancelled()
            await self._filled.wait()
            batch = self._take()
            if not batch:
                continue
            runs = {entry.run_id.int for entry, _ in batch}
            self._under_way |= runs
            self._busy += 1
            try:
                await self._commit(batch)
            finally:
                self._busy -= 1
                self._under_way -= runs
                if self._waiting:
                    self._filled.set()
                elif not self._busy:
                    self._idle.set()

    def _take(self) -> list[tuple[Entry, Done]]:
        """Take what waits, up to the limit, but for runs that a transaction is about already."""
        waiting, under_way = self._waiting, self._under_way
        if self._busy and len(waiting) < ENOUGH:
            self._filled.clear()
            return []
        batch: list[tuple[Entry, Done]] = []
        later: list[tuple[Entry, Done]] = []
        if not under_way:
            batch = [waiting.popleft() for _ in range(min(LIMIT, len(waiting)))]
        while under_way and waiting and len(batch) < LIMIT:
            item = waiting.popleft()
            (later if item[0].run_id.int in under_way else batch).append(item)
        waiting.extendleft(reversed(later))
        if not batch or not waiting:
            self._filled.clear()
        return batch

    async def _commit(self, batch: list[tuple[Entry, Done]]) -> None:
        failures = 0
        while True:
            entries = [entry for entry, _ in batch]
            try:
                applied, consequences = await self._ledger.apply(entries, admit=False, inline=self._inline)
            except BackendError as error:
                _end_if_cancelled()
                failures += 1
                if failures == 1:
                    log.warning("%d facts wait: %s", len(batch), error)
                    batch = [(_repeated(entry), done) for entry, done in batch]
                pause = min(2.0, 0.05 * 2 ** min(failures, 8))
                await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
            except psycopg.Error as error:
                await self._apart(batch, error)
                return
            else:
                self.count(len(batch))
                self._after(consequences)
                for (_, done), one in zip(batch, applied, strict=True):
                    done(one)
                return

    async def _apart(self, batch: list[tuple[Entry, Done]], error: psycopg.Error) -> None:
        """Let the refused row fail alone: halve the batch until it is found."""
        if len(batch) == 1:
            log.error("Postgres refuses a fact about run %s: %s", batch[0][0].run_id, error)
            with suppress(BackendError, psycopg.Error):
                await self._ledger.refused(batch[0][0], error)
            batch[0][1](error)
            return
        # Some of them may be committed already.
        batch = [(_repeated(entry), done) for entry, done in batch]
        middle = len(batch) // 2
        await self._commit(batch[:middle])
        await self._commit(batch[middle:])


def _end_if_cancelled() -> None:
    """Raise a cancellation that the driver turned into an error of the connection, which asks to try again."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def _repeated(entry: Entry) -> Entry:
    """Mark a fact whose first answer was lost: nobody knows whether it was committed."""
    if isinstance(entry.fact, Claimed | Settled):
        return replace(entry, fact=replace(entry.fact, repeated=True))
    return entry
