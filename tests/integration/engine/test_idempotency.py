"""Idempotency keys: one run for one key, however many ask and however often."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from flowforge.client import AsyncClient
from flowforge.errors import Conflict
from tests.support.definitions import chain
from tests.support.hand import Hand
from tests.support.sql import Sql


@pytest.mark.parametrize("limit", [None, 100])
async def test_fifty_parallel_starts_with_one_key_make_one_run(make_engine, sql: Sql, limit: int | None):
    """All get the same id, and the history of the run counts the repetitions."""
    hands = [Hand(await make_engine(connections=8)) for _ in range(2)]
    requests = [await hands[no % 2].request(chain(1, limit=limit), {"a": 1}, idempotency_key="key") for no in range(50)]
    answers = await asyncio.gather(*(hands[no % 2].engine.starter.start([one]) for no, one in enumerate(requests)))
    started = [one for (ones, _) in answers for one in ones]
    assert len({one.id for one in started}) == 1
    assert sum(not one.duplicate for one in started) == 1
    assert sql.counts("runs") == 1
    run_id = started[0].id
    assert sql.events(run_id).count("workflow.duplicate_prevented") == 49
    assert sql.value("SELECT seq FROM runs") == len(sql.events(run_id))


async def test_the_same_key_with_another_input_is_a_conflict(client: AsyncClient, sql: Sql):
    """The first run is named; nothing is started."""
    first = await client.run(chain(1), {"a": 1}, idempotency_key="key")
    with pytest.raises(Conflict, match=str(first.id)):
        await client.run(chain(1), {"a": 2}, idempotency_key="key")
    assert sql.counts("runs") == 1
    assert "workflow.duplicate_prevented" not in sql.events(first.id)


async def test_the_same_input_written_differently_is_the_same_request(client: AsyncClient):
    """The order of keys does not matter."""
    first = await client.run(chain(1), {"a": 1, "b": [2]}, idempotency_key="key")
    again = await client.run(chain(1), {"b": [2], "a": 1}, idempotency_key="key")
    assert (again.id, again.duplicate, first.duplicate) == (first.id, True, False)


async def test_a_key_belongs_to_its_workflow(client: AsyncClient, sql: Sql):
    """Two workflows may use the same key."""
    first = await client.run(chain(1, name="first-one"), idempotency_key="key")
    second = await client.run(chain(1, name="second-one"), idempotency_key="key")
    assert first.id != second.id
    assert not second.duplicate


async def test_one_key_twice_in_one_batch_makes_one_run(hand: Hand, sql: Sql):
    """The batch sees its own requests."""
    requests = [await hand.request(chain(1), {"a": 1}, idempotency_key="key") for _ in range(3)]
    started, _ = await hand.engine.starter.start(requests)
    assert len({one.id for one in started}) == 1
    assert sql.counts("runs") == 1


async def test_one_key_with_two_inputs_in_one_batch_starts_nothing(hand: Hand, sql: Sql):
    """The batch is one transaction."""
    requests = [await hand.request(chain(1), {"a": no}, idempotency_key="key") for no in range(2)]
    with pytest.raises(Conflict):
        await hand.engine.starter.start(requests)
    assert sql.counts("runs") == 0


async def test_a_key_still_answers_after_its_run_has_ended(client: AsyncClient, hand: Hand, sql: Sql):
    """A repetition of a finished request gets the finished run."""
    first = await client.run(chain(1), idempotency_key="key")
    await hand.finish(first.id)
    again = await client.run(chain(1), idempotency_key="key")
    assert (again.id, again.status, again.duplicate) == (first.id, "completed", True)
    assert sql.events(first.id)[-1] == "workflow.duplicate_prevented"


async def test_a_repeated_start_never_cancels_the_run_that_answers_it(client: AsyncClient, sql: Sql):
    """`cancel_oldest` makes room for new runs; a repetition needs none."""
    definition = chain(1, concurrency={"limit": 1, "on_limit": "cancel_oldest"})
    first = await client.run(definition, idempotency_key="key")
    again = await client.run(definition, idempotency_key="key")
    assert again.duplicate
    assert sql.status(first.id) == "running"


async def test_a_key_starts_another_run_when_its_time_has_run_out(make_engine, sql: Sql):
    """The first run still shows the key; from then on it answers with the second."""
    hand = Hand(await make_engine(idempotency_window=timedelta(hours=1)))
    first = await hand.start(chain(1), {"a": 1}, idempotency_key="key")
    assert await hand.start(chain(1), {"a": 1}, idempotency_key="key") == first
    sql.do("UPDATE runs SET created_at = created_at - interval '61 minutes'")
    second = await hand.start(chain(1), {"a": 2}, idempotency_key="key")
    assert second != first
    assert await hand.start(chain(1), {"a": 2}, idempotency_key="key") == second
    assert sql.rows("SELECT idempotency_key FROM runs ORDER BY id") == [("key",), ("key",)]
    assert [sql.events(one).count("workflow.duplicate_prevented") for one in (first, second)] == [1, 1]


async def test_a_key_that_runs_out_under_fifty_starts_makes_one_more_run(make_engine, sql: Sql):
    """Whoever is first takes it; the others get that run."""
    hand = Hand(await make_engine(idempotency_window=timedelta(hours=1), connections=10))
    first = await hand.start(chain(1), {"a": 1}, idempotency_key="key")
    sql.do("UPDATE runs SET created_at = created_at - interval '61 minutes'")
    requests = [await hand.request(chain(1), {"a": 1}, idempotency_key="key") for _ in range(50)]
    answers = await asyncio.gather(*(hand.engine.starter.start([one]) for one in requests))
    started = {one.id for ones, _ in answers for one in ones}
    assert len(started) == 1
    assert first not in started
    assert sql.counts("runs") == 2
