"""Receipting: gives every run that has ended its receipt, soon after the end.

    ended run ─▶ body ─▶ hash ─▶ next body of its tenant names it          the chain
                           └───▶ leaf of the batch ─▶ root ─▶ signature     one a batch

One worker at a time does it for a database: who has the advisory lock. Everything of a batch (receipts, heads of
chains, events, marks on runs) is one transaction, flushed to disk, so a crash leaves neither a gap nor a second receipt
of one number. A run that changes meanwhile, because somebody retries it, undoes the batch, and the next one is made
without it. A run of which no receipt can be made is named in the log and does not keep the others from theirs.

A receipt costs a quarter of what a run of three transforms does. While work waits for this worker, receipts let it go
first, until the oldest end without one is half a minute ago. From then on they take a share of the time that grows with
that age, to all of it after ten minutes: a rush keeps nearly all of its throughput, and one that never ends finds the
share at which receipts keep pace, some minutes behind.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from uuid import UUID

from psycopg import Rollback

from flowforge.engine import signing
from flowforge.engine.crash import crash_point
from flowforge.engine.loop import Loop
from flowforge.engine.plans import Plans
from flowforge.errors import FlowforgeError
from flowforge.model import merkle
from flowforge.model.receipt import Node, Outline, Place, build, generated
from flowforge.settings import Settings
from flowforge.store import installation, receipts
from flowforge.store.database import Connection, Database
from flowforge.store.receipts import Ended, Head, Made

log = logging.getLogger(__name__)

#: Runs of a batch, and how many receipts are made before others of the process get their turn.
LIMIT, SLICE = 1000, 25
#: Steps of all runs of a batch together, unless one run has more.
MOST_STEPS = 20_000
#: Seconds that receipts wait for work that waits, and after which it waits for them.
PATIENCE, LATEST = 30.0, 600.0
#: The share of the time that they take at least once they wait no longer.
LEAST = 0.05
#: Outlines of versions that are remembered.
KEPT = 256


def rest(took: float, age: float) -> float:
    """Return how long work that waits goes first after a batch that took so long; *age* is that of the oldest end."""
    share = min(1.0, max(LEAST, (age - PATIENCE) / (LATEST - PATIENCE)))
    return took * (1 / share - 1)


class Receipting(Loop):
    """Makes receipts."""

    pause = 1.0

    def __init__(
        self, database: Database, plans: Plans, settings: Settings, pressed: Callable[[], bool] = lambda: False
    ) -> None:
        super().__init__()
        self._database, self._plans, self._settings = database, plans, settings
        #: Says whether work waits for this worker.
        self._pressed = pressed
        self._installation: str | None = None
        self._outlines: OrderedDict[int, Outline] = OrderedDict()
        #: Runs of which no receipt could be made.
        self._refused: set[UUID] = set()
        self.made = 0
        #: A worker that leaves makes the last ones itself, once what is under way has ended.
        self._turn = asyncio.Lock()

    async def run_once(self) -> float | None:
        """Make the receipts of a batch, if it is this worker's turn."""
        async with self._turn:
            return await self._once()

    async def _once(self) -> float | None:
        made, more, began = 0, False, time.monotonic()
        async with self._database.connection() as connection:
            age = await receipts.oldest(connection)
            pressed = self._pressed()
            if age is None or (pressed and age < PATIENCE):
                return None
            async with connection.transaction() as transaction:
                if not await receipts.lead(connection):
                    return None
                found, at = await receipts.ended(connection, LIMIT, self._refused)
                if not found:
                    await receipts.forget_stale(connection)
                    return None
                some = await self._some(connection, found)
                batch = await self._make(connection, await receipts.read(connection, some), at)
                if batch.made and not await self._keep(connection, batch, at):
                    raise Rollback(transaction)
                made, more = len(batch.made), len(found) == LIMIT or len(some) < len(found)
        self.made += made
        if not (made and more):
            return None
        return rest(time.monotonic() - began, age) if pressed else 0

    async def _some(self, connection: Connection, found: Sequence[Ended]) -> list[Ended]:
        """Return as many runs as are not too large together, the first in any case."""
        size, some = 0, list[Ended]()
        for one in found:
            size += len((await self._outline(connection, one.version_id)).steps)
            if some and size > MOST_STEPS:
                break
            some.append(one)
        return some

    async def _make(self, connection: Connection, runs: Sequence[Ended], at: str) -> receipts.Batch:
        """Make the receipts of runs."""
        self._installation = self._installation or await installation.full_id(connection)
        before = await receipts.heads(connection, {one.tenant for one in runs})
        earlier = await receipts.newest(connection, [one.facts.id for one in runs if one.again])
        making = _Making(self._installation, at, before, earlier)
        for no, one in enumerate(runs, 1):
            try:
                making.add(one, await self._outline_of(connection, one))
            except Exception as error:  # one run must not keep all others from theirs
                self._refused.add(one.facts.id)
                log.error("no receipt of run %s can be made", one.facts.id, exc_info=error)  # noqa: TRY400
            if no % SLICE == 0:
                await asyncio.sleep(0)
        return receipts.Batch(making.made, making.bodies, making.hashes, before, making.heads)

    async def _keep(self, connection: Connection, batch: receipts.Batch, at: str) -> bool:
        """Sign receipts and write them; False when something has changed since it was read."""
        key = await signing.signer(connection, self._settings)
        signature = key.sign(merkle.root(batch.hashes))
        bodies = await asyncio.to_thread(receipts.packed, batch.bodies)
        written = await receipts.write(connection, batch, at, bodies=bodies, key_id=key.id, signature=signature)
        crash_point("receipting.before_commit")
        return written

    async def _outline_of(self, connection: Connection, ended: Ended) -> Outline:
        """Return what a run's receipt says of its version, with the steps of the items that the run had."""
        outline = await self._outline(connection, ended.version_id)
        if outline.knows(ended.steps):
            return outline
        try:
            plan = (await self._plans.get(connection, ended.version_id)).plan
        except FlowforgeError as error:
            # A receipt without them is better than none, for this run and all behind it in the chain.
            log.warning("the receipt of run %s does not name its items: %s", ended.facts.id, error)
            return outline
        nodes = [
            Node(no, step.id, step.name, step.type)
            for no, facts in sorted(ended.steps.items())
            if no not in outline.numbers and facts.status != "pending" and (step := plan.steps[no])
        ]
        return outline.with_items(nodes)

    async def _outline(self, connection: Connection, version_id: int) -> Outline:
        found = self._outlines.get(version_id)
        if found is None:
            found = self._outlines[version_id] = await receipts.outline(connection, version_id)
            if len(self._outlines) > KEPT:
                self._outlines.popitem(last=False)
        return found


class _Making:
    """Receipts in the making, each chained to the one before of its tenant."""

    def __init__(self, installation_id: str, at: str, before: Mapping[str, Head], earlier: Mapping[UUID, Head]) -> None:
        self._installation, self._at, self._earlier = installation_id, at, earlier
        self.heads = dict(before)
        self.made: list[Made] = []
        self.bodies: list[bytes] = []
        self.hashes: list[bytes] = []

    def add(self, ended: Ended, outline: Outline) -> None:
        """Make the receipt of a run."""
        facts = ended.facts
        head, earlier = self.heads.get(ended.tenant, _NONE), self._earlier.get(facts.id, _NONE)
        place = Place(
            self._installation,
            ended.tenant,
            head.no + 1,
            None if head.hash is None else head.hash.hex(),
            earlier.no + 1,
            None if earlier.hash is None else earlier.hash.hex(),
            self._at,
        )
        body = build(outline, facts, ended.steps, ended.actions, place).encode()
        digest = hashlib.sha256(body).digest()
        event = generated(place.no, digest.hex())
        self.made.append(Made(facts.id, ended.revision, facts.events + 1, event, place.run_no, facts.finished_at))
        self.bodies.append(body)
        self.hashes.append(digest)
        self.heads[ended.tenant] = Head(place.no, digest)


_NONE = Head()
