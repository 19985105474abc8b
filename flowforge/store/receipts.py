"""Receipts and their chains: what is read to make them, and how they are kept, a batch in a statement each.

Who makes receipts holds an advisory lock of the database until the commit, so each tenant's chain has one writer. A
batch is written as a whole or not at all: if a run of it changed since it was read, everything is rolled back, because
the receipts behind it are chained to its own. Invariant: a run's mark, its event and its receipt change together.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
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
from flowforge.store.binary import from_microseconds, int4s, int8s, texts, uuids, words
from flowforge.store.database import Connection

#: Key of the advisory lock of whoever makes receipts.
LOCK = 0x666C_6F77_0002

_WITHOUT = "r.finished_at IS NOT NULL AND r.receipt_for IS DISTINCT FROM r.finished_at"
ANY = f"SELECT EXISTS (SELECT FROM runs r WHERE {_WITHOUT})"  # noqa: S608 - constants only
DUE = f"SELECT {_WITHOUT} FROM runs r WHERE r.id = %b"  # noqa: S608
LEAD = "SELECT pg_try_advisory_xact_lock(%s)"

RUNS = f"""
SELECT r.id, r.status::text, r.seq, r.trigger, r.created_at, r.started_at, r.finished_at, r.idempotency_key,
       r.replay_of, r.error, sha256(convert_to(r.input::text, 'UTF8')), sha256(convert_to(r.output::text, 'UTF8')),
       r.revision, r.version_id,
       coalesce(nullif(r.labels ->> 'tenant', ''), 'default'),
       r.receipt_for IS NOT NULL, statement_timestamp()
FROM runs r
WHERE {_WITHOUT} AND r.id <> ALL ($2)
ORDER BY r.finished_at LIMIT $1::int8
""".encode()  # noqa: S608

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
SELECT DISTINCT ON (run_id) run_id, run_receipt_no, body FROM receipts WHERE run_id = ANY(%b::uuid[])
ORDER BY run_id, run_receipt_no DESC
"""

BATCH = """
INSERT INTO receipt_batches (key_id, hashes, signature, created_at) VALUES (%b::text, %b, %b, %b::text::timestamptz)
RETURNING id
"""
MOVE = """
INSERT INTO receipt_chains (tenant, no, hash) VALUES (%b::text, %b::int8, %b)
ON CONFLICT (tenant) DO UPDATE SET no = excluded.no, hash = excluded.hash
"""

#: Rows come in id order, as in every statement that changes several runs.
WRITE = b"""
WITH marked AS (
    UPDATE runs r SET revision = r.revision + 1, seq = r.seq + 1, receipt_for = r.finished_at
    FROM unnest($1, $2) AS u (id, revision) WHERE r.id = u.id AND r.revision = u.revision AND r.finished_at IS NOT NULL
    RETURNING r.id
), told AS (
    INSERT INTO run_events (run_id, seq, at, events)
    SELECT u.run_id, u.seq, $4::text::timestamptz, u.events::json FROM unnest($1, $3, $5) AS u (run_id, seq, events)
    WHERE (u.run_id IN (SELECT id FROM marked)) IS TRUE
), kept AS (
    INSERT INTO receipts (run_id, run_receipt_no, tenant, no, batch_id, position, body)
    SELECT u.run_id, u.run_no, u.tenant, u.no, $10::int8, u.position - 1, u.body
    FROM unnest($1, $6, $7, $8, $9) WITH ORDINALITY AS u (run_id, run_no, tenant, no, body, position)
)
SELECT count(*) FROM marked
"""

OF_RUN = """
SELECT r.body, r.position, b.hashes, b.signature, k.public_key
FROM receipts r JOIN receipt_batches b ON b.id = r.batch_id JOIN receipt_keys k ON k.id = b.key_id
WHERE r.run_id = %b ORDER BY r.run_receipt_no
"""


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
    """A receipt to be kept."""

    run: UUID
    revision: int
    #: Number of the event that tells of it, and that event.
    seq: int
    event: str
    run_no: int
    tenant: str
    no: int
    body: str


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


async def waiting(connection: Connection) -> bool:
    """Say whether a run has ended and has no receipt."""
    row = await (await connection.execute(ANY)).fetchone()
    return bool(row and row[0])


async def due(connection: Connection, run_id: UUID) -> bool:
    """Say whether a run has ended and has no receipt of that."""
    row = await (await connection.execute(DUE, (run_id,))).fetchone()
    return bool(row and row[0])


async def lead(connection: Connection) -> bool:
    """Take the lead until the transaction ends; False when somebody else has it."""
    row = await (await connection.execute(LEAD, (LOCK,))).fetchone()
    return bool(row and row[0])


async def ended(connection: Connection, limit: int, but: Iterable[UUID] = ()) -> tuple[list[Ended], str]:
    """Return runs without a receipt, those that ended first first, in the order of their ids; and the time."""
    rows = await _rows(connection, RUNS, [limit, uuids(list(but))])
    found = sorted(rows, key=lambda row: row[0].int)
    ids = uuids([row[0] for row in found])
    runs = [Ended(RunFacts(*row[:12]), row[12], row[13], row[14], row[15], {}, []) for row in found]
    if not runs:
        return [], ""
    for n, no, *facts in await _rows(connection, STEPS, [ids]):
        runs[n - 1].steps[no] = StepFacts(*facts)
    for n, seq, at, events in await _rows(connection, ACTIONS, [ids]):
        runs[n - 1].actions.extend(_actions(seq, at, events))
    # A run that was stopped by force may have ended before its last attempt: its receipt waits for that.
    return [run for run in runs if not _under_way(run)], found[-1][16]


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
    return {row[0]: Head(row[1], hashlib.sha256(row[2].encode()).digest()) for row in await cursor.fetchall()}


async def write(
    connection: Connection, made: Sequence[Made], at: str, *, hashes: bytes, key_id: str, signature: bytes
) -> bool:
    """Keep a batch of receipts in the caller's transaction; False when it has to be rolled back: a run has changed."""
    cursor = await connection.cursor(binary=True).execute(BATCH, (key_id, hashes, signature, at))
    row = await cursor.fetchone()
    assert row is not None
    columns: tuple[tuple[Any, ...], ...] = tuple(zip(*made, strict=True))
    ids, revisions, seqs, events, run_nos, tenants, nos, bodies = columns
    parameters = [
        *(uuids(ids), int4s(revisions), int4s(seqs), at, texts(events)),
        *(int4s(run_nos), words(tenants), int8s(nos), texts(bodies), row[0]),
    ]
    marked = await (await AsyncRawCursor(connection).execute(WRITE, parameters, binary=True)).fetchone()
    return marked is not None and marked[0] == len(made)


async def move(connection: Connection, heads: dict[str, Head]) -> None:
    """Remember the last receipt of each tenant."""
    cursor = connection.cursor(binary=True)
    for tenant, head in heads.items():
        await cursor.execute(MOVE, (tenant, head.no, head.hash))


async def of_run(connection: Connection, run_id: UUID) -> list[Kept]:
    """Return every receipt of a run, oldest first."""
    cursor = await connection.cursor(binary=True).execute(OF_RUN, (run_id,))
    return [
        Kept(json.loads(body), position, _split(hashes), signature, public_key)
        for body, position, hashes, signature, public_key in await cursor.fetchall()
    ]


def _split(hashes: bytes) -> list[bytes]:
    size = hashlib.sha256().digest_size
    return [hashes[start : start + size] for start in range(0, len(hashes), size)]
