"""Leases: renewed by token, never reported lost because somebody else holds the row for a moment."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import psycopg
import pytest

from flowforge.engine.entries import Applied
from flowforge.model.outcome import Completed
from flowforge.store import leases
from tests.support.definitions import chain
from tests.support.hand import Hand
from tests.support.sql import Sql

LEASE = timedelta(minutes=10)


@pytest.fixture
def connection(sql: Sql) -> Iterator[psycopg.Connection]:
    """A connection such as the heartbeat's."""
    one = psycopg.connect(sql.url, autocommit=True, options="-c search_path=flowforge")
    yield one
    one.close()


def key(applied: Applied) -> leases.Key:
    """Return what a worker renews."""
    assert applied.assignment is not None
    return applied.assignment.run_id, applied.assignment.step.no, applied.assignment.token


async def test_a_lease_is_prolonged_from_now_on(hand: Hand, sql: Sql, connection):
    """By the database's clock, whatever it was before."""
    held = key(await hand.claim(await hand.start(chain(1)), 0))
    found = leases.renew(connection, "hand", [held], LEASE)
    assert found == leases.Renewal(frozenset({held}), frozenset(), frozenset())
    assert sql.value("SELECT due_at - clock_timestamp() > interval '9 minutes' FROM steps") is True


async def test_a_lease_under_another_token_is_lost(hand: Hand, sql: Sql, connection):
    """Somebody else's attempt is neither prolonged nor reported as ours."""
    run_id, no, token = key(await hand.claim(await hand.start(chain(1)), 0))
    before = sql.value("SELECT due_at FROM steps")
    for wrong in (token - 1, token + 1):
        found = leases.renew(connection, "hand", [(run_id, no, wrong)], LEASE)
        assert found == leases.Renewal(frozenset(), frozenset({(run_id, no, wrong)}), frozenset())
    assert sql.value("SELECT due_at FROM steps") == before


async def test_a_lease_of_another_worker_is_lost_even_under_the_same_token(hand: Hand, sql: Sql, connection):
    """A database that was set back in time gives a token twice: to a worker it has forgotten, and to the next one."""
    held = key(await hand.claim(await hand.start(chain(1)), 0))
    assert leases.renew(connection, "forgotten", [held], LEASE).lost == {held}
    assert leases.renew(connection, "hand", [held], LEASE).renewed == {held}


async def test_a_settled_attempt_has_no_lease(hand: Hand, sql: Sql, connection):
    """A final row is never given a time again."""
    claimed = await hand.claim(await hand.start(chain(1)), 0)
    await hand.settle(claimed, Completed(1))
    found = leases.renew(connection, "hand", [key(claimed)], LEASE)
    assert found.lost == {key(claimed)}
    assert sql.value("SELECT due_at FROM steps") is None


async def test_a_row_that_a_settlement_holds_is_not_reported_lost(hand: Hand, sql: Sql, connection):
    """It is skipped instead of waited for, and looked at again next time."""
    claims = [await hand.claim(await hand.start(chain(1)), 0) for _ in range(2)]
    locked, free = map(key, claims)
    with sql.session() as other:
        other.execute("SELECT FROM steps WHERE run_id = %s FOR UPDATE", (locked[0],))
        found = leases.renew(connection, "hand", [locked, free], LEASE)
    assert found.renewed == {free}
    assert found.lost == frozenset()


async def test_a_renewal_says_who_is_asked_to_stop(hand: Hand, connection):
    """The second way by which a cancellation reaches its worker."""
    run_id = await hand.start(chain(1))
    held = key(await hand.claim(run_id, 0))
    assert leases.renew(connection, "hand", [held], LEASE).stops == frozenset()
    await hand.cancel(run_id)
    assert leases.renew(connection, "hand", [held], LEASE).stops == {held}


async def test_progress_is_stored_under_the_token_only(hand: Hand, sql: Sql, connection):
    """A lost attempt reports to nobody."""
    run_id, no, token = key(await hand.claim(await hand.start(chain(1)), 0))
    leases.progress(connection, {(run_id, no, token): '{"done": 3}', (run_id, no, token + 1): "9"})
    assert sql.value("SELECT progress FROM steps") == {"done": 3}


async def test_many_leases_are_renewed_in_one_statement(hand: Hand, connection):
    """The lost ones are named, the others renewed."""
    runs = await hand.start_many(chain(1), 50)
    claims, _ = await hand.engine.ledger.apply([await hand.claiming(run_id, 0) for run_id in runs])
    keys = [key(one) for one in claims]
    await hand.settle(claims[7], Completed(1))
    found = leases.renew(connection, "hand", keys, LEASE)
    assert found.lost == {keys[7]}
    assert found.renewed == set(keys) - {keys[7]}


async def test_a_worker_that_was_seen_is_told_its_status(sql: Sql, connection):
    """Or that its row is gone."""
    assert leases.seen(connection, "nobody") is None
    sql.do(
        """INSERT INTO workers (id, host, pid, version, queues, step_types, concurrency, lease, status, seen_at)
           VALUES ('w', 'h', 1, '0', '{default}', '{}', 1, '30 seconds', 'draining', now() - interval '1 hour')"""
    )
    assert leases.seen(connection, "w") == leases.Seen("draining", frozenset())
    assert sql.value("SELECT clock_timestamp() - seen_at < interval '1 minute' FROM workers") is True
