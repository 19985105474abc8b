"""The invariants of the engine, checked from Postgres and Redis alone once everything has come to rest.

`check_at_rest(database_url, redis_url)` raises AssertionError with every violation it finds. It shares with the
engine only what the invariants are stated in: `fold` and the compiled plan. A run can pass every other test by
failing everywhere, so callers state themselves what should have become of their runs.

     1  every run ends, or has an alarm             rows       7  nothing is left over          leftovers, rows
     2  one result per step and epoch               history    8  no old token commits          history
     3  nothing starts before its dependencies      history    9  one key per step              chaos/kit/audit
     4  terminal is final                           history   10  timers are never early        history
     5  events 1..n, and fold(events) = rows        history   11  undone in reverse, each once  sagas
     6  gates are never over-admitted               gates     12  receipts match the events     receipts
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from typing import Any
from uuid import UUID

import psycopg
import redis
from psycopg.rows import DictRow, dict_row

from flowforge.model.load import from_data
from flowforge.model.plan import Plan
from tests.support.invariants import leftovers, receipts
from tests.support.invariants.gates import gates
from tests.support.invariants.history import History, unpacked
from tests.support.invariants.receipts import Receipt
from tests.support.invariants.rows import Rows

#: Runs read at a time.
_PAGE = 500
#: A run, with the digests by which its receipt must name what it is about.
_RUNS = """
SELECT r.*, v.digest AS definition_digest, encode(sha256(convert_to(r.input::text, 'UTF8')), 'hex') AS input_digest,
       encode(sha256(convert_to(r.output::text, 'UTF8')), 'hex') AS output_digest
FROM runs r JOIN workflow_versions v ON v.id = r.version_id WHERE r.id = ANY(%s)
"""


def check_at_rest(
    database_url: str,
    redis_url: str | None = None,
    *,
    unfinished: Collection[UUID] = (),
    all_receipts: bool = False,
) -> int:
    """Raise AssertionError unless every invariant holds; return how many runs were looked at.

    Every run must have ended, except those named in *unfinished*. Without *redis_url* the streams are not looked at.
    With *all_receipts* every run that has ended must have its receipt; those that there are must be true either way.
    """
    found = violations(database_url, redis_url, unfinished=unfinished, all_receipts=all_receipts)
    assert not found, f"{len(found)} invariants are violated:\n" + "\n".join(found[:50])
    with _connect(database_url) as connection:
        row = connection.execute("SELECT count(*) AS n FROM runs").fetchone()
        return int(row["n"]) if row else 0


def violations(
    database_url: str,
    redis_url: str | None = None,
    *,
    unfinished: Collection[UUID] = (),
    all_receipts: bool = False,
) -> list[str]:
    """Return everything that is wrong, one line each."""
    with _connect(database_url) as connection:
        kept = receipts.read(connection)
        found = [
            *_runs(connection, frozenset(unfinished), kept, complete=all_receipts),
            *leftovers.tables(connection),
            *gates(connection),
            *receipts.chains(connection, kept),
            *receipts.batches(connection),
        ]
        if redis_url is not None:
            found += leftovers.streams(redis_url, _prefix(connection))
    return found


def check_feed(database_url: str, redis_url: str) -> None:
    """Raise AssertionError unless the events stream holds the whole history, each run's events in order.

    Publishing is at least once: what follows an event again is a repetition, never a gap.
    """
    with _connect(database_url) as connection:
        rows = connection.execute("SELECT run_id::text AS run, max(seq) AS last FROM events GROUP BY 1").fetchall()
        prefix = _prefix(connection)
    seen: dict[str, int] = defaultdict(int)
    with redis.Redis.from_url(redis_url) as client:
        entries: list[Any] = client.xrange(f"{prefix}:events")
    for row in (row for _, fields in entries for row in json.loads(fields[b"history"])):
        run, seq = row["run"], row["seq"]
        assert seq <= seen[run] + 1, f"event {seq} of run {run} follows event {seen[run]} in the stream"
        seen[run] = max(seen[run], seq + len(row["events"]) - 1)
    missing = {row["run"]: row["last"] for row in rows if seen[row["run"]] != row["last"]}
    assert not missing, f"runs whose last events are not in the stream: {missing}, there: {dict(seen)}"


def _connect(url: str) -> psycopg.Connection[DictRow]:
    options = "-c search_path=flowforge -c timezone=UTC"
    return psycopg.connect(url, autocommit=True, options=options, row_factory=dict_row)


def _prefix(connection: psycopg.Connection[DictRow]) -> str:
    row = connection.execute("SELECT left(id::text, 8) AS id FROM installation").fetchone()
    assert row is not None
    return f"ff:{row['id']}"


def _runs(
    connection: psycopg.Connection[DictRow], unfinished: frozenset[UUID], kept: Sequence[Receipt], *, complete: bool
) -> Iterator[str]:
    plans: dict[int, Plan] = {
        row["id"]: from_data(row["definition"]).plan
        for row in connection.execute("SELECT id, definition FROM workflow_versions").fetchall()
    }
    told = receipts.by_run(kept)
    ids = [row["id"] for row in connection.execute("SELECT id FROM runs ORDER BY id").fetchall()]
    for start in range(0, len(ids), _PAGE):
        page = ids[start : start + _PAGE]
        steps = _by_run(connection.execute("SELECT * FROM steps WHERE run_id = ANY(%s)", (page,)).fetchall())
        query = "SELECT * FROM run_events WHERE run_id = ANY(%s) ORDER BY run_id, seq"
        packed = _by_run(connection.execute(query, (page,)).fetchall())
        for run in connection.execute(_RUNS, (page,)).fetchall():
            id_, plan, events = run["id"], plans[run["version_id"]], unpacked(packed[run["id"]])
            lines = [
                *Rows(run, plan, steps[id_]).violations(ended=id_ not in unfinished),
                *History(run, plan, steps[id_], packed[id_], events).violations(),
                *receipts.Told(run, events, told[id_]).violations(complete=complete),
            ]
            yield from (f"run {id_} ({run['status']}): {line}" for line in lines)


def _by_run(rows: Sequence[DictRow]) -> defaultdict[UUID, list[DictRow]]:
    grouped: defaultdict[UUID, list[DictRow]] = defaultdict(list)
    for row in rows:
        grouped[row["run_id"]].append(row)
    return grouped
