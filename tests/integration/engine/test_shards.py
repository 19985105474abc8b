"""Several stream servers: each queue is carried by the one that its workers are given."""

from __future__ import annotations

import pytest
import redis

from flowforge.engine.engine import Endpoints
from flowforge.engine.relay import Relay
from tests.support.definitions import chain, step, workflow
from tests.support.eventually import eventually
from tests.support.hand import Hand
from tests.support.sql import Sql
from tests.support.streams import dispatches, published_events


@pytest.fixture
def elsewhere(endpoints: Endpoints) -> str:
    """The URL of another stream server; here, another database of the same one."""
    return endpoints.redis_url.partition("?")[0] + "?db=9"


async def test_a_run_crosses_from_the_queues_of_one_server_to_those_of_another(
    hand: Hand, sql: Sql, start_worker, elsewhere: str, valkey_client: redis.Redis, at_rest
):
    """Postgres is what they share: each fleet publishes what its own queues need."""
    await start_worker(queues=("default",))
    await start_worker(queues=("gpu",), redis_url=elsewhere, publish_events=False)
    run_id = await hand.start(workflow(step("a"), step("b", "a", queue="gpu"), step("c", "b")))
    await eventually(lambda: sql.status(run_id) == "completed")
    await at_rest()
    with redis.Redis.from_url(elsewhere) as other:
        assert other.exists(hand.engine.names.lane("gpu"))
        assert not other.exists(hand.engine.names.lane("default"), hand.engine.names.events)
    assert not valkey_client.exists(hand.engine.names.lane("gpu"))
    seen = lambda: [event.type for event in published_events(valkey_client, hand.engine) if event.run == run_id]  # noqa: E731
    await eventually(lambda: "workflow.completed" in seen())


async def test_a_relay_leaves_what_its_worker_does_not_serve(hand: Hand, sql: Sql, valkey_client: redis.Redis):
    """It waits in the outbox for a worker that does, and no stream grows that nobody reads."""
    await hand.start(workflow(step("a"), step("b", queue="gpu")))
    relay = Relay(hand.engine.database, hand.engine.streams, hand.engine.names, ["default", "default.python"])
    await relay.run_once()
    assert sql.rows("SELECT lane FROM outbox") == [("gpu",)]
    assert len(dispatches(valkey_client, hand.engine)) == 1
    assert dispatches(valkey_client, hand.engine, "gpu") == []


async def test_the_loss_of_one_server_is_not_taken_for_the_loss_of_another(
    hand: Hand, sql: Sql, start_worker, elsewhere: str
):
    """Each is remembered by its own address: two fleets do not find each other's epoch new for ever."""
    await start_worker(queues=("default",))
    await start_worker(queues=("gpu",), redis_url=elsewhere)
    epochs = "SELECT count(*) FROM cursors WHERE name LIKE 'streams-epoch %'"
    await eventually(lambda: sql.value(epochs) == 2)
    run_id = await hand.start(chain(1, name="nobody", queue="nobody"))
    times = sql.value("SELECT max(updated_at) FROM cursors WHERE name LIKE 'streams-epoch %'")
    done = await hand.start(chain(1))
    await eventually(lambda: sql.status(done) == "completed")
    assert sql.value("SELECT max(updated_at) FROM cursors WHERE name LIKE 'streams-epoch %'") == times
    assert sql.value("SELECT dispatch_no FROM steps WHERE run_id = %s", run_id) == 1
