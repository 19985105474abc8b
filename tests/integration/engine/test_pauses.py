"""The kill switches: durable, on the record, the same when asked twice, and obeyed by starts, gates and workers."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from flowforge.client import AsyncClient
from flowforge.engine.degraded import PATIENCE, Degraded, Source
from flowforge.engine.engine import Engine
from flowforge.engine.heartbeat import Heartbeat
from flowforge.engine.holdings import Holdings
from flowforge.errors import NotFound
from tests.support.definitions import chain, step, workflow
from tests.support.eventually import eventually
from tests.support.executors import Counting, Held, Scripted
from tests.support.hand import Hand
from tests.support.register import enlist
from tests.support.sql import Sql


class Sweeping:
    """The sweeper's look at who may be let in, without a worker around it."""

    def __init__(self, engine: Engine) -> None:
        from flowforge.engine.sweeper import GATES_EVERY, Sweeper

        self._sweeper = Sweeper(engine.database, engine.ledger, engine.streams, [], lambda _: None)
        self._sweeper._round, self._every = 1, GATES_EVERY

    async def look(self) -> None:
        """Go through one round in which gates are looked at."""
        self._sweeper._round = self._every - 1
        await self._sweeper.run_once()


# -- workflows -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [None, 10])
async def test_runs_of_a_paused_workflow_wait_and_start_when_it_is_resumed(
    hand: Hand, client: AsyncClient, sql: Sql, limit: int | None
):
    """Accepted with everything else that is started together; nothing is dispatched meanwhile."""
    await hand.publish(chain(1, limit=limit))
    await client.pause_workflow("test-workflow")
    waiting = await hand.start_many(chain(1, limit=limit), 3)
    other = await hand.start(chain(1, name="other"))
    assert [sql.status(run_id) for run_id in (*waiting, other)] == ["pending", "pending", "pending", "running"]
    await Sweeping(hand.engine).look()
    assert sql.value("SELECT count(*) FROM outbox") == 1
    assert sql.events(waiting[0]) == ["workflow.created"]
    await client.resume_workflow("test-workflow")
    assert {sql.status(run_id) for run_id in waiting} == {"running"}
    assert sql.events(waiting[0]) == ["workflow.created", "workflow.started", "step.queued s0"]


async def test_one_batch_of_a_held_and_a_free_workflow_is_split(hand: Hand, client: AsyncClient, sql: Sql):
    """Starts of several callers share a statement; each run gets what its workflow says."""
    held, free = await hand.request(chain(1, name="held")), await hand.request(chain(1, name="free"))
    await client.pause_workflow("held")
    started, _ = await hand.engine.starter.start([held, free])
    assert [sql.status(one.id) for one in started] == ["pending", "running"]


async def test_what_runs_goes_on_and_a_retried_run_waits(hand: Hand, client: AsyncClient, sql: Sql):
    """The switch is about what begins."""
    running, failed = await hand.start(chain(2)), await hand.start(chain(1))
    await hand.fail(failed, 0)
    await client.pause_workflow("test-workflow")
    await hand.finish(running)
    await client.retry(failed)
    assert (sql.status(running), sql.status(failed)) == ("completed", "pending")
    await client.resume_workflow("test-workflow")
    assert sql.status(failed) == "running"


async def test_a_release_at_a_gate_lets_nobody_in_while_the_workflow_is_held(hand: Hand, client: AsyncClient, sql: Sql):
    """Nor does the sweeper, until the workflow is let go."""
    first, second = await hand.start(chain(1, limit=1)), await hand.start(chain(1, limit=1))
    await client.pause_workflow("test-workflow")
    await hand.finish(first)
    await Sweeping(hand.engine).look()
    assert (sql.status(first), sql.status(second)) == ("completed", "pending")
    await client.resume_workflow("test-workflow")
    assert sql.status(second) == "running"


async def test_workers_let_in_what_a_resume_did_not(hand: Hand, client: AsyncClient, sql: Sql):
    """Whoever resumed may have died right after it: the sweeper finds who waits for nothing."""
    await hand.publish(chain(1))
    await client.pause_workflow("test-workflow")
    run_id = await hand.start(chain(1))
    sql.do("UPDATE pauses SET resumed_at = now(), resumed_by = 'somebody'")
    await Sweeping(hand.engine).look()
    assert sql.status(run_id) == "running"


async def test_a_run_that_is_held_back_can_be_cancelled(hand: Hand, client: AsyncClient, sql: Sql):
    """It never started."""
    await hand.publish(chain(1))
    await client.pause_workflow("test-workflow")
    run_id = await hand.start(chain(1), idempotency_key="k")
    assert await hand.start(chain(1), idempotency_key="k") == run_id
    await client.cancel(run_id)
    assert sql.status(run_id) == "cancelled"


# -- queues ----------------------------------------------------------------------------------------------------


async def test_workers_leave_a_paused_queue_alone_and_go_on_when_it_is_resumed(
    hand: Hand, client: AsyncClient, start_worker: Any, sql: Sql, restless: None
):
    """What runs finishes, and what follows from it waits in the queue; other queues are served."""
    held = Held()
    worker = await start_worker(executors=Scripted(transform=held), queues=("default", "other"))
    run_id = await hand.start(workflow(step("a"), step("b", "a"), step("c", "a", queue="other")))
    worker.relay.nudge()
    await eventually(lambda: len(held.started) == 1)
    await client.pause_queue("default", reason="provider down")
    await eventually(lambda: "default" in worker.lanes.paused)
    held.release.set()
    await eventually(lambda: sql.steps(run_id).get("c") == "completed")
    assert sql.steps(run_id) == {"a": "completed", "b": "queued", "c": "completed"}
    found = await client.explain(run_id)
    assert (found.causes[0].kind, sql.status(run_id)) == ("queue_paused", "running")
    await client.resume_queue("default")
    await eventually(lambda: sql.status(run_id) == "completed")


async def test_a_worker_that_starts_finds_the_queue_paused(
    hand: Hand, client: AsyncClient, start_worker: Any, sql: Sql
):
    """It has taken nothing when it serves the first other one."""
    run_id, other = await hand.start(chain(1)), await hand.start(workflow(step("x", queue="other"), name="other"))
    await client.pause_queue("default")
    await start_worker(executors=Scripted(transform=Counting()), queues=("default", "other"))
    await eventually(lambda: sql.status(other) == "completed")
    assert sql.steps(run_id) == {"s0": "queued"}


async def test_a_heartbeat_brings_the_pauses_once(hand: Hand, client: AsyncClient, sql: Sql):
    """The worker is told when they change, and not with every beat."""
    enlist(sql, "w")
    told: list[frozenset[str]] = []
    beating = Heartbeat(hand.engine.endpoints.database_url, "w", Holdings(), timedelta(seconds=30), lambda what: what())
    beating.on_paused = told.append
    await asyncio.to_thread(beating.beat)
    await client.pause_queue("default")
    for _ in range(2):
        await asyncio.to_thread(beating.beat)
    await client.resume_queue("default")
    await asyncio.to_thread(beating.beat)
    beating._drop_connection()
    assert told == [frozenset(), frozenset({"default"}), frozenset()]


async def test_degraded_claiming_asks_for_the_same_room(hand: Hand, make_engine: Any, client: AsyncClient):
    """A lane of a paused queue has none, so nothing is taken from the outbox either."""
    from flowforge.engine.worker import Worker

    await hand.start(chain(1))
    worker = Worker(await make_engine())
    worker.hold(frozenset({"default"}))
    rooms = {lane.name: worker.room_of(lane)() for lane in worker.lanes}
    assert rooms == {"default": 0, "default.python": 0}
    taken: list[object] = []
    now = [0.0]
    source = Source("default", "stream", worker.room_of(next(iter(worker.lanes))))
    loop = Degraded(
        hand.engine.database, [source], taken.extend, lambda: 0, worker.engine.streams.epoch, lambda: now[0]
    )
    await loop.run_once()
    now[0] = PATIENCE
    await loop.run_once()
    assert (loop.active, taken) == (True, [])
    worker.hold(frozenset())
    await loop.run_once()
    assert len(taken) == 1


# -- both ------------------------------------------------------------------------------------------------------


async def test_pausing_twice_changes_nothing_and_the_first_stays_on_the_record(
    hand: Hand, client: AsyncClient, sql: Sql
):
    """So does resuming twice; each pause is one row, with who and why at both ends."""
    await hand.publish(chain(1))
    first = await client.pause_workflow("test-workflow", reason="one")
    again = await client.pause_workflow("test-workflow", reason="two")
    assert (first.changed, again.changed, again.paused) == (True, False, True)
    assert again.pause is not None
    assert again.pause.reason == "one"
    ended = await client.resume_workflow("test-workflow", reason="over")
    nothing = await client.resume_workflow("test-workflow")
    assert (ended.changed, nothing.changed, nothing.paused) == (True, False, False)
    await client.pause_workflow("test-workflow", reason="three")
    history = await client.pause_history("workflow", "test-workflow")
    assert [(one.reason, one.resume_reason, one.paused_by) for one in history] == [
        ("three", None, client.actor()),
        ("one", "over", client.actor()),
    ]


async def test_two_at_once_make_one_pause(hand: Hand, client: AsyncClient, sql: Sql):
    """One of them did it."""
    done = await asyncio.gather(*(client.pause_queue("default", reason=str(no)) for no in range(6)))
    assert (sum(one.changed for one in done), sql.counts("pauses")) == (1, 1)


async def test_what_nobody_has_named_cannot_be_held(hand: Hand, client: AsyncClient):
    """A kill switch that was spelled wrong must not look as if it were turned."""
    await hand.publish(workflow(step("a", queue="payments")))
    with pytest.raises(NotFound, match="no workflow 'test-workflo'") as unknown:
        await client.pause_workflow("test-workflo")
    assert unknown.value.hint == "did you mean 'test-workflow'?"
    with pytest.raises(NotFound, match="queue 'paymets'") as misspelt:
        await client.pause_queue("paymets")
    assert misspelt.value.hint == "did you mean 'payments'?"
    assert (await client.pause_queue("payments")).changed


async def test_queues_are_listed_with_what_lies_in_them(hand: Hand, client: AsyncClient, sql: Sql):
    """Also those that nobody serves."""
    enlist(sql, queues=("default", "idle"), concurrency=3)
    run_id = await hand.start(workflow(step("a"), step("b", queue="gpu"), step("c")))
    await hand.claim(run_id, "a")
    await client.pause_queue("gpu", reason="drivers")
    found = {one.name: one for one in (await client.queues()).queues}
    assert sorted(found) == ["default", "gpu", "idle"]
    assert (found["default"].queued, found["default"].workers, found["default"].taken) == (1, 1, 1)
    assert (found["gpu"].queued, found["gpu"].workers, found["gpu"].outbox) == (1, 0, 1)
    assert found["gpu"].document()["reason"] == "drivers"
    assert found["gpu"].oldest is not None
