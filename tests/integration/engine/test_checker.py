"""The checker itself: each invariant, once broken by hand, is reported."""

from __future__ import annotations

import pytest
import redis

from flowforge.engine.engine import Endpoints
from flowforge.engine.receipting import Receipting
from tests.support.checker import check_at_rest, violations
from tests.support.definitions import diamond
from tests.support.hand import Hand
from tests.support.sql import Sql

_EVENT = "INSERT INTO run_events (run_id, seq, at, events) SELECT id, seq + 1, clock_timestamp(), '[{event}]' FROM runs"
_COUNT = "UPDATE runs SET seq = seq + 1"

BROKEN = {
    "a gap in the history": ["DELETE FROM run_events WHERE seq = 4"],
    "a wrong last number": [_COUNT],
    "a status the history does not know": ["UPDATE runs SET status = 'failed'"],
    "a step the history does not know": ["UPDATE steps SET status = 'skipped' WHERE step_no = 1"],
    "an attempt nobody started": ["UPDATE steps SET attempt = 2 WHERE step_no = 1"],
    "a token nobody claimed": ["UPDATE steps SET token = 5 WHERE step_no = 1"],
    "an event after the end": [
        _EVENT.format(event='{"type":"step.queued","step":"a"}'),
        _COUNT,
    ],
    "a second result": [
        _EVENT.format(event='{"type":"step.completed","step":"b","attempt":1}'),
        _COUNT,
    ],
    "a start before its dependency": [
        """UPDATE run_events SET events = replace(events::text, '"step":"a"', '"step":"d"')::json
           WHERE events::text LIKE '%step.started%' AND events::text LIKE '%"a"%'"""
    ],
    "an open step in an ended run": ["UPDATE steps SET status = 'queued' WHERE step_no = 1"],
    "a timer in an ended run": ["UPDATE steps SET due_at = now() + interval '1 day' WHERE step_no = 1"],
    "a wrong count of open steps": ["UPDATE runs SET open_steps = 1"],
    "a dispatch nobody published": [
        "INSERT INTO outbox (lane, run_id, step_no, dispatch_no) SELECT 'default', id, 0, 1 FROM runs"
    ],
    "an overfull gate": [
        "INSERT INTO gates (workflow_id, key, max_active) SELECT workflow_id, 'x', 1 FROM runs",
        "UPDATE runs SET gate_id = (SELECT max(id) FROM gates), status = 'running', finished_at = NULL",
        """INSERT INTO runs (id, workflow_id, version_id, gate_id, status, seq, open_steps, created_at, trigger, input)
           SELECT gen_random_uuid(), workflow_id, version_id, gate_id, 'running', 0, 4, now(), 'api', '{}' FROM runs""",
    ],
    "rows of no run": ["DELETE FROM runs"],
}


@pytest.fixture
async def finished(hand: Hand, sql: Sql, endpoints: Endpoints) -> None:
    """A run that completed, at rest."""
    await hand.finish(await hand.start(diamond()))
    sql.do("DELETE FROM outbox")
    assert check_at_rest(endpoints.database_url, endpoints.redis_url) == 1


@pytest.mark.parametrize("statements", BROKEN.values(), ids=BROKEN)
async def test_a_broken_invariant_is_reported(finished: None, sql: Sql, endpoints: Endpoints, statements: list[str]):
    """A checker that finds nothing proves nothing."""
    for statement in statements:
        assert sql.connection.execute(statement.encode()).rowcount
    assert violations(endpoints.database_url, endpoints.redis_url)


FORGED = {
    "a receipt that is gone": "DELETE FROM receipts",
    "a chain with another head": "UPDATE receipt_chains SET no = no + 1",
    "a batch that its key has not signed": "UPDATE receipt_batches SET signature = decode(repeat('00', 64), 'hex')",
    "a batch with other hashes": "UPDATE receipt_batches SET hashes = decode(repeat('00', 32), 'hex')",
}


@pytest.mark.parametrize("statement", FORGED.values(), ids=FORGED)
async def test_a_forged_receipt_is_reported(hand: Hand, sql: Sql, endpoints: Endpoints, statement: str):
    """Whatever the histories say."""
    await hand.finish(await hand.start(diamond()))
    sql.do("DELETE FROM outbox")
    assert violations(endpoints.database_url, all_receipts=True)
    await Receipting(hand.engine.database, hand.engine.plans, hand.engine.settings).run_once()
    assert violations(endpoints.database_url, all_receipts=True) == []
    assert sql.connection.execute(statement.encode()).rowcount
    assert violations(endpoints.database_url, all_receipts=True)


async def test_an_entry_that_nobody_acknowledged_is_reported(
    finished: None, hand: Hand, endpoints: Endpoints, valkey_client: redis.Redis
):
    """Nothing may be left in a dispatch stream."""
    valkey_client.xadd(hand.engine.names.lane("default"), {"x": "1"})
    assert violations(endpoints.database_url, endpoints.redis_url)


async def test_a_run_that_has_not_ended_is_reported_unless_it_may_go_on(hand: Hand, sql: Sql, endpoints: Endpoints):
    """Callers name what still waits."""
    run_id = await hand.start(diamond())
    sql.do("DELETE FROM outbox")
    assert violations(endpoints.database_url, endpoints.redis_url)
    assert violations(endpoints.database_url, endpoints.redis_url, unfinished=[run_id]) == []
