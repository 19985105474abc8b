"""What is stuck in an installation: sets, the worst first, each with what moves it; and the two servers away."""

from __future__ import annotations

from datetime import timedelta

import pytest

from flowforge.client import AsyncClient
from flowforge.errors import DatabaseUnavailable
from flowforge.model.explanation import Cause
from flowforge.model.outcome import Failed, Waiting
from tests.support.definitions import chain, step, workflow
from tests.support.hand import Hand, error
from tests.support.register import enlist
from tests.support.sql import Sql

RETRY = {"max_attempts": 4, "initial_delay": "60s", "jitter": False}


async def causes(client: AsyncClient) -> dict[str, Cause]:
    """Return what is stuck, by kind, in order."""
    return {cause.kind.value: cause for cause in (await client.explain()).causes}


async def test_an_installation_in_which_nothing_is_stuck(hand: Hand, client: AsyncClient, sql: Sql):
    """Steps at work and delays are nothing to report, with nobody or with somebody there."""
    assert (await client.explain()).causes == ()
    enlist(sql)
    run_id = await hand.start(workflow(step("a"), step("d", kind="delay", config={"duration": "1h"})))
    await hand.claim(run_id, "a")
    await hand.settle(await hand.claim(run_id, "d"), Waiting(timedelta(hours=1)))
    found = await client.explain()
    assert (found.causes, found.stuck, found.document()["run"]) == ((), False, None)


async def test_everything_that_is_stuck_is_told_in_sets_the_worst_first(hand: Hand, client: AsyncClient, sql: Sql):
    """What stands still altogether, then what somebody has to do, then what goes on by itself."""
    enlist(sql, concurrency=3)
    enlist(sql, "w-lost", queues=("old",), seen="5 minutes")
    await hand.publish(chain(1, name="held"))
    await client.pause_workflow("held", reason="wrong rates")
    await hand.start_many(chain(1, name="held"), 3)
    await hand.start_many(chain(1, name="gated", limit=1), 5)
    await hand.start_many(workflow(step("a", queue="gpu"), name="images"), 4)
    for run_id in await hand.start_many(workflow(step("paid", kind="wait_signal", config={"name": "paid"})), 2):
        await hand.settle(await hand.claim(run_id, 0), Waiting(None, {"name": "paid"}, signal="paid"))
    failing = await hand.start(workflow(step("charge", retry=RETRY), name="flaky"))
    await hand.settle(await hand.claim(failing, 0), Failed(error("HTTP_503", retryable=True)))
    lost = await hand.start(workflow(step("s", queue="old"), name="orphan"))
    await Hand(hand.engine, "w-lost").claim(lost, 0)
    paused = await hand.start(chain(1, name="paused"))
    await client.pause(paused)

    found = await causes(client)
    assert list(found) == [
        *("workflow_paused", "no_worker", "signal", "worker_lost", "run_paused"),
        *("gate_full", "retry"),
    ]
    counts = {kind: cause.count for kind, cause in found.items()}
    assert counts == {
        "workflow_paused": 3,
        "no_worker": 4,
        "signal": 2,
        "worker_lost": 1,
        "run_paused": 1,
        "gate_full": 4,
        "retry": 1,
    }
    assert found["no_worker"].command == "flowforge worker start --queue gpu"
    assert found["run_paused"].command == f"flowforge resume {paused}"
    assert found["workflow_paused"].command == "flowforge workflow resume held"
    assert "4 runs wait at gate 'gated': its only place is taken by" in found["gate_full"].text


async def test_workers_without_room_and_without_the_type(hand: Hand, client: AsyncClient, sql: Sql):
    """One queue is short of slots, another of a package."""
    enlist(sql, concurrency=1)
    enlist(sql, "w-2", queues=("gpu",), types=("python",))
    first, *_ = await hand.start_many(chain(1), 3)
    await hand.claim(first, 0)
    await hand.start(workflow(step("a", queue="gpu"), name="images"))
    found = await causes(client)
    assert list(found) == ["type_not_installed", "workers_busy"]
    assert (found["workers_busy"].count, found["type_not_installed"].count) == (2, 1)


async def test_queues_that_are_paused_and_overdue_timers(hand: Hand, client: AsyncClient, sql: Sql):
    """A paused queue is told although nothing lies in it; timers are overdue only without anybody who looks."""
    await client.pause_queue("default", reason="drivers")
    enlist(sql)
    found = await causes(client)
    assert (list(found), found["queue_paused"].weight) == (["queue_paused"], "notes")
    run_id = await hand.start(workflow(step("d", kind="delay", config={"duration": "1h"})))
    await hand.settle(await hand.claim(run_id, 0), Waiting(timedelta(hours=1)))
    sql.do("UPDATE steps SET due_at = due_at - interval '2 hours'")
    sql.do("UPDATE workers SET seen_at = seen_at - interval '1 hour'")
    found = await causes(client)
    assert {"no_worker", "overdue"} <= set(found)
    assert (found["overdue"].command, "first step 'd' of workflow" in found["overdue"].text) == (
        "flowforge worker start",
        True,
    )
    sql.do("UPDATE workers SET seen_at = now()")
    assert (await causes(client))["overdue"].command == "flowforge worker ls"


async def test_incidents_and_dead_letters_are_told_at_the_end(hand: Hand, client: AsyncClient, sql: Sql, valkey_client):
    """Nothing waits for them, but somebody has to look."""
    enlist(sql)
    await hand.fail(await hand.start(chain(1)), 0)
    stream = hand.engine.names.lane("default")
    group = hand.engine.streams.group(stream, "workers")
    await group.ensure()
    valkey_client.xadd(stream, {"v": "1", "run": "\x1b[2J evil"})
    (delivery,) = await group.read("somebody", count=1)
    await group.bury(delivery, "malformed \x1b[31mmessage")
    found = await causes(client)
    assert list(found) == ["incidents", "dead_letters"]
    (letter,) = await client.dead_letters()
    assert letter.reason == "malformed \x1b[31mmessage"
    valkey_client.delete(f"{stream}:dead")


async def test_postgres_away_is_an_error_that_says_so(settings, endpoints):
    """There is no truth without it."""
    from flowforge.engine.engine import Endpoints

    with pytest.raises(DatabaseUnavailable, match="Postgres cannot be reached"):
        async with AsyncClient(settings, endpoints=Endpoints("postgresql://127.0.0.1:1/x", endpoints.redis_url)):
            pass
