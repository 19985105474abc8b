"""Receipts and their chains: what is read to make them, and how they are kept, a batch in a statement each.

Who makes receipts holds an advisory lock of the database until the commit, so each tenant's chain has one writer; a
head that is not where it was read is a second one, and refused. The bodies of a batch are kept together, compressed. A
batch is written as a whole or not at all: if a run of it changed since it was read, everything is rolled back, because
the receipts behind it are chained to its own. Invariant: a receipt, its event and the row that
said it was due change together.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple
from uuid import UUID

from psycopg import AsyncRawCursor
from psycopg.adapt import Buffer, Loader
from psycopg.pq import Format
from psycopg.rows import TupleRow

from flowforge.model.documents import rfc3339
from flowforge.model.receipt import Action, Node, Outline, RunFacts, StepFacts
from flowforge.store.binary import from_microseconds, int4s, texts, uuids, words
from flowforge.store.database import Connection

#: Key of the advisory lock of whoever makes receipts.
LOCK = 0x666C_6F77_0002

OLDEST = """
SELECT extract(epoch FROM statement_timestamp() - finished_at)::float8 FROM receipts_due ORDER BY finished_at LIMIT 1
"""
#: Of a run `r`: it has ended, and has no receipt of that end.
WITHOUT = """
r.finished_at IS NOT NULL
AND NOT EXISTS (SELECT FROM receipts p WHERE p.run_id = r.id AND p.finished_at = r.finished_at)"""
DUE = f"SELECT {WITHOUT} FROM runs r WHERE r.id = %b"  # noqa: S608 - constants only
LEAD, WAIT = "SELECT pg_try_advisory_xact_lock(%s)", "SELECT pg_advisory_xact_lock(%s)"

RUNS = b"""
SELECT r.id, r.status::text, r.seq, r.trigger, r.created_at, r.started_at, r.finished_at, r.idempotency_key,
       r.replay_of, r.error, sha256(convert_to(r.input::text, 'UTF8')), sha256(convert_to(r.output::text, 'UTF8')),
       r.revision, r.version_id,
       coalesce(nullif(r.labels ->> 'tenant', ''), 'default'),
       EXISTS (SELECT FROM receipts p WHERE p.run_id = r.id), statement_timestamp()
FROM (SELECT finished_at, run_id FROM receipts_due WHERE run_id <> ALL ($2) ORDER BY 1, 2 LIMIT $1::int8) AS d
JOIN runs r ON r.id = d.run_id AND r.finished_at = d.finished_at
ORDER BY r.finished_at
"""

#: What is left over from an end that is none any more, because the run was retried.
STALE = """
DELETE FROM receipts_due d WHERE NOT EXISTS (
    SELECT FROM runs r WHERE r.id = d.run_id AND r.finished_at = d.finished_at)
"""

#: The outputs and errors of steps that did not keep them belong to an attempt before.
STEPS = b"""
SELECT u.n::integer, s.step_no, s.status::text, s.attempt, s.crashes, s.started_at, s.finished_at,
       CASE WHEN s.status <> 'completed' THEN s.error END,
       CASE WHEN s.status IN ('completed', 'compensated') THEN sha256(convert_to(s.output::text, 'UTF8')) END
FROM unnest($1) WITH ORDINALITY AS u (id, n) JOIN steps s ON s.run_id = u.id
"""

#: Nearly all rows of history name no actor, and are not unpacked.
ACTIONS = b"""
SELECT u.n::integer, e.seq, e.at, e.events
FROM unnest($1) WITH ORDINALITY AS u (id, n) JOIN run_events e ON e.run_id = u.id
WHERE strpos(e.events::text, '"actor":') > 0 ORDER BY e.seq
"""

OUTLINE = """
SELECT w.name, v.version, v.digest, ARRAY(
    SELECT json_build_array(s.step_no, s.step_id, s.name, s.type) FROM workflow_steps s
    WHERE s.version_id = v.id ORDER BY s.step_no)
FROM workflow_versions v JOIN workflows w ON w.id = v.workflow_id WHERE v.id = %b
"""

HEADS = "SELECT tenant, no, hash FROM receipt_chains WHERE tenant = ANY(%b::text[])"
NEWEST = """
SELECT DISTINCT ON (r.run_id) r.run_id, r.run_receipt_no, substring(b.hashes FROM r.position * 32 + 1 FOR 32)
FROM receipts r JOIN receipt_batches b ON b.id = r.batch_id WHERE r.run_id = ANY(%b::uuid[])
ORDER BY r.run_id, r.run_receipt_no DESC
"""

BATCH = """
INSERT INTO receipt_batches (key_id, signature, hashes, bodies, created_at)
VALUES (%b::text, %b, %b, %b, %b::text::timestamptz) RETURNING id
"""
MOVE = """
INSERT INTO receipt_chains AS c (tenant, no, hash) VALUES (%b::text, %b::int8, %b)
ON CONFLICT (tenant) DO UPDATE SET no = excluded.no, hash = excluded.hash WHERE c.no = %b::int8
"""

#: Rows come in id order, as in every statement that changes several runs.
WRITE = b"""
WITH marked AS (
    UPDATE runs r SET revision = r.revision + 1, seq = r.seq + 1
    FROM unnest($1, $2) AS u (id, revision) WHERE r.id = u.id AND r.revision = u.revision AND r.finished_at IS NOT NULL
    RETURNING r.id, r.finished_at
), done AS (
    DELETE FROM receipts_due d USING marked m WHERE d.finished_at = m.finished_at AND d.run_id = m.id
), told AS (
    INSERT INTO run_events (run_id, seq, at, events)
    SELECT u.run_id, u.seq, $6::text::timestamptz, u.events::json FROM unnest($1, $3, $4) AS u (run_id, seq, events)
    WHERE (u.run_id IN (SELECT id FROM marked)) IS TRUE
), kept AS (
    INSERT INTO receipts (run_id, run_receipt_no, batch_id, position, finished_at)
    SELECT u.run_id, u.run_no, $7::int8, u.position - 1, u.finished_at::timestamptz
    FROM unnest($1, $5, $8) WITH ORDINALITY AS u (run_id, run_no, finished_at, position)
)
SELECT count(*) FROM marked
"""

OF_RUN = """
SELECT r.position, b.bodies, b.hashes, b.signature, k.public_key
FROM receipts r JOIN receipt_batches b ON b.id = r.batch_id JOIN receipt_keys k ON k.id = b.key_id
WHERE r.run_id = %b ORDER BY r.run_receipt_no
"""

#: Bytes of a hash, and what stands between two bodies: a line feed, which no canonical form holds.
HASH, BETWEEN = 32, b"\n"
#: Least effort: it makes a tenth of them already.
EFFORT = 1


class Ended(NamedTuple):
    """A run that has ended and has no receipt of that."""

    facts: RunFacts
    revision: int
    version_id: int
    #: The run's label `tenant`, `default` without one.
    tenant: str
    #: It had ended before, and has a receipt of then.
    again: bool
    steps: dict[int, StepFacts]
    actions: list[Action]


class Head(NamedTuple):
    """The last receipt of a tenant, or of a run: its number and its hash."""

    no: int = 0
    hash: bytes | None = None


class Made(NamedTuple):
    """What a receipt leaves behind with its run."""

    run: UUID
    revision: int
    #: Number of the event that tells of it, and that event.
    seq: int
    event: str
    run_no: int
    finished_at: str


class Batch(NamedTuple):
    """Receipts to be kept, in the order of their runs' ids, and what vouches for them."""

    made: list[Made]
    bodies: list[bytes]
    hashes: list[bytes]
    #: The last receipt of each tenant, before and after.
    before: Mapping[str, Head]
    heads: Mapping[str, Head]


@dataclass(frozen=True, slots=True)
class Kept:
    """A receipt as it lies in the database."""

    body: dict[str, Any]
    position: int
    #: The hashes of its batch, in order.
    hashes: list[bytes]
    signature: bytes
    public_key: bytes


class _TimeLoader(Loader):
    """Reads a time as the text that a receipt says; transitions of a batch share theirs."""

    format = Format.BINARY

    def load(self, data: Buffer) -> str:
        return _time_text(bytes(data))


@lru_cache(maxsize=4096)
def _time_text(data: bytes) -> str:
    text = rfc3339(from_microseconds(int.from_bytes(data, "big", signed=True)))
    assert text is not None
    return text


async def _rows(connection: Connection, query: bytes, parameters: Sequence[Any]) -> list[TupleRow]:
    """Execute a numbered statement whose times are read as text."""
    cursor = AsyncRawCursor(connection)
    cursor.adapters.register_loader("timestamptz", _TimeLoader)
    return await (await cursor.execute(query, parameters, binary=True)).fetchall()


async def oldest(connection: Connection) -> float | None:
    """Return how many seconds ago the first run ended that has no receipt; None when all have theirs."""
    row = await (await connection.execute(OLDEST)).fetchone()
    return None if row is None else row[0]


async def due(connection: Connection, run_id: UUID) -> bool:
    """Say whether a run has ended and has no receipt of that."""
    row = await (await connection.execute(DUE, (run_id,))).fetchone()
    return bool(row and row[0])


async def lead(connection: Connection) -> bool:
    """Take the lead until the transaction ends; False when somebody else has it."""
    row = await (await connection.execute(LEAD, (LOCK,))).fetchone()
    return bool(row and row[0])


async def wait_for_lead(connection: Connection) -> None:
    """Take the lead until the transaction ends, after who has it."""
    await connection.execute(WAIT, (LOCK,))


async def ended(connection: Connection, limit: int, but: Iterable[UUID] = ()) -> tuple[list[Ended], str]:
    """Return runs without a receipt, those that ended first first, without what happened in them; and the time."""
    rows = await _rows(connection, RUNS, [limit, uuids(list(but))])
    runs = [Ended(RunFacts(*row[:12]), row[12], row[13], row[14], row[15], {}, []) for row in rows]
    return runs, rows[-1][16] if rows else ""


async def forget_stale(connection: Connection) -> None:
    """Delete what is due no more, because the run was retried."""
    await connection.execute(STALE)


async def read(connection: Connection, runs: Sequence[Ended]) -> list[Ended]:
    """Read what happened in runs; return them in the order of their ids, without those in which something still does.

    A run that was stopped by force may have ended before its last attempt: its receipt waits for that.
    """
    runs = sorted(runs, key=lambda run: run.facts.id.int)
    ids = uuids([run.facts.id for run in runs])
    for n, no, *facts in await _rows(connection, STEPS, [ids]):
        runs[n - 1].steps[no] = StepFacts(*facts)
    for n, seq, at, events in await _rows(connection, ACTIONS, [ids]):
        runs[n - 1].actions.extend(_actions(seq, at, events))
    return [run for run in runs if not _under_way(run)]


def _under_way(run: Ended) -> bool:
    return any(step.status == "running" for step in run.steps.values())


def _actions(first: int, at: str, events: Sequence[dict[str, Any]]) -> Iterable[Action]:
    for seq, event in enumerate(events, first):
        data = event.get("data") or {}
        if data.get("actor") is not None:
            yield Action(seq, event["type"], at, event.get("step"), data)


async def outline(connection: Connection, version_id: int) -> Outline:
    """Return a version, as far as receipts name it."""
    row = await (await connection.cursor(binary=True).execute(OUTLINE, (version_id,))).fetchone()
    if row is None:
        raise LookupError(version_id)
    workflow, version, digest, nodes = row
    return Outline.of(workflow, version, digest, [Node(*node) for node in nodes])


async def heads(connection: Connection, tenants: Iterable[str]) -> dict[str, Head]:
    """Return the last receipt of tenants; one that has none is not in it."""
    cursor = await connection.cursor(binary=True).execute(HEADS, (list(tenants),))
    return {row[0]: Head(row[1], row[2]) for row in await cursor.fetchall()}


async def newest(connection: Connection, runs: Sequence[UUID]) -> dict[UUID, Head]:
    """Return the last receipt of runs that have one."""
    if not runs:
        return {}
    cursor = await connection.cursor(binary=True).execute(NEWEST, (list(runs),))
    return {row[0]: Head(row[1], row[2]) for row in await cursor.fetchall()}


def packed(bodies: Sequence[bytes]) -> bytes:
    """Return bodies as they are kept."""
    return zlib.compress(BETWEEN.join(bodies), EFFORT)


async def write(connection: Connection, batch: Batch, at: str, *, bodies: bytes, key_id: str, signature: bytes) -> bool:
    """Keep a batch of receipts in the caller's transaction; False when it has to be rolled back: something changed."""
    cursor = connection.cursor(binary=True)
    for tenant, head in batch.heads.items():
        await cursor.execute(MOVE, (tenant, head.no, head.hash, batch.before.get(tenant, Head()).no))
        if cursor.rowcount != 1:
            return False
    await cursor.execute(BATCH, (key_id, signature, b"".join(batch.hashes), bodies, at))
    row = await cursor.fetchone()
    assert row is not None
    ids, revisions, seqs, events, run_nos, ends = zip(*batch.made, strict=True)
    parameters = [uuids(ids), int4s(revisions), int4s(seqs), texts(events), int4s(run_nos), at, row[0], words(ends)]
    marked = await (await AsyncRawCursor(connection).execute(WRITE, parameters, binary=True)).fetchone()
    return marked is not None and marked[0] == len(batch.made)


async def of_run(connection: Connection, run_id: UUID) -> list[Kept]:
    """Return every receipt of a run, oldest first."""
    cursor = await connection.cursor(binary=True).execute(OF_RUN, (run_id,))
    return [
        Kept(json.loads(zlib.decompress(bodies).split(BETWEEN)[position]), position, _split(hashes), *signed)
        for position, bodies, hashes, *signed in await cursor.fetchall()
    ]


def _split(hashes: bytes) -> list[bytes]:
    return [hashes[start : start + HASH] for start in range(0, len(hashes), HASH)]
