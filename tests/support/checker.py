"""The invariants of the engine, checked from Postgres and Redis alone once everything has come to rest.

`check_at_rest(database_url, redis_url)` raises AssertionError with every violation it finds. It is the audit that
`flowforge doctor` makes on a living system, told that nothing is on its way. A run can pass every other test by failing
everywhere, so callers state themselves what should have become of their runs.
"""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from uuid import UUID

import psycopg
import redis
from psycopg.rows import DictRow, dict_row

from flowforge.engine.auditing import Audited, Scope, audit_database
from flowforge.engine.names import Names
from flowforge.engine.plans import Plans
from flowforge.engine.stream_audit import audit_streams
from flowforge.store import installation
from flowforge.store.database import connect
from flowforge_streams.connecting import connect as open_streams


def check_at_rest(database_url: str, redis_url: str | None = None, *, unfinished: Collection[UUID] = ()) -> int:
    """Raise AssertionError unless every invariant holds; return how many runs were looked at.

    Every run must have ended, except those named in *unfinished*. Without *redis_url* the streams are not looked at.
    """
    audited = _audited(database_url, redis_url, unfinished)
    found = _lines(audited)
    assert not found, f"{len(found)} invariants are violated:\n" + "\n".join(found[:50])
    return audited.runs


def violations(database_url: str, redis_url: str | None = None, *, unfinished: Collection[UUID] = ()) -> list[str]:
    """Return everything that is wrong, one line each."""
    return _lines(_audited(database_url, redis_url, unfinished))


def _lines(audited: Audited) -> list[str]:
    return [
        f"{one.kind}: {one.detail}" if one.run is None else f"{one.kind}: run {one.run}: {one.detail}"
        for one in audited.violations
    ]


def _audited(database_url: str, redis_url: str | None, unfinished: Collection[UUID]) -> Audited:
    """Audit in a loop of its own: the caller's may be running."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, _audit(database_url, redis_url, unfinished)).result()


async def _audit(database_url: str, redis_url: str | None, unfinished: Collection[UUID]) -> Audited:
    connection = await connect(database_url)
    scope = Scope(at_rest=True, unfinished=frozenset(unfinished), receipts=False)
    try:
        audited = await audit_database(connection, Plans(), scope)
        if redis_url is not None:
            names = Names(await installation.short_id(connection))
            async with open_streams(redis_url, epoch_key=names.epoch) as streams:
                audited.violations += await audit_streams(
                    connection, streams, names, patience=timedelta(), at_rest=True
                )
    finally:
        await connection.close()
    return audited


def check_feed(database_url: str, redis_url: str) -> None:
    """Raise AssertionError unless the events stream holds the whole history, each run's events in order.

    Publishing is at least once: what follows an event again is a repetition, never a gap.
    """
    with _connect(database_url) as connection:
        rows = connection.execute("SELECT run_id::text AS run, max(seq) AS last FROM events GROUP BY 1").fetchall()
        prefix = connection.execute("SELECT left(id::text, 8) AS id FROM installation").fetchone()
    assert prefix is not None
    seen: dict[str, int] = defaultdict(int)
    with redis.Redis.from_url(redis_url) as client:
        entries: list[Any] = client.xrange(f"ff:{prefix['id']}:events")
    for row in (row for _, fields in entries for row in json.loads(fields[b"history"])):
        run, seq = row["run"], row["seq"]
        assert seq <= seen[run] + 1, f"event {seq} of run {run} follows event {seen[run]} in the stream"
        seen[run] = max(seen[run], seq + len(row["events"]) - 1)
    missing = {row["run"]: row["last"] for row in rows if seen[row["run"]] != row["last"]}
    assert not missing, f"runs whose last events are not in the stream: {missing}, there: {dict(seen)}"


def _connect(url: str) -> psycopg.Connection[DictRow]:
    options = "-c search_path=flowforge -c timezone=UTC"
    return psycopg.connect(url, autocommit=True, options=options, row_factory=dict_row)
