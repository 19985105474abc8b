"""Ways to stand still, made for real: `explain` alone names the true cause, and what would move it."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import pytest

from flowforge.client import AsyncClient
from flowforge.engine.engine import Endpoints
from flowforge.errors import NotFound
from flowforge.model.explanation import Cause, Explanation
from flowforge.model.outcome import Completed, Expanded, Failed, Waiting
from tests.support.definitions import Definition, chain, diamond, step, workflow
from tests.support.hand import Hand, error
from tests.support.register import enlist
from tests.support.sql import Sql

SIGNAL = Waiting(None, {"deadline": None, "name": "paid"}, signal="paid")
RETRY = {"max_attempts": 4, "initial_delay": "60s", "jitter": False}


def kinds(found: Explanation) -> list[str]:
    """Return the chain of kinds below the first cause."""
    return [cause.kind.value for cause in found.causes[0].chain()]


def first(found: Explanation) -> Cause:
    """Return the first cause."""
    return found.causes[0]


# -- before it starts ------------------------------------------------------------------------------------------


async def test_a_full_gate_names_its_holder_and_what_that_waits_for(hand: Hand, client: AsyncClient, sql: Sql):
    """The run that has been in longest is paused; the command resumes that one."""
    enlist(sql)
    holder = await hand.start(chain(1, limit=1))
    waiting = await hand.start(chain(1, limit=1))
    await client.pause(holder, reason="bank holiday")
    found = await client.explain(waiting)
    assert kinds(found) == ["gate_full", "run_paused"]
    assert (first(found).weight, found.command) == ("held", f"flowforge resume {holder}")
    assert "bank holiday" in found.summary
    assert [one.name for one in first(found).holders] == [str(holder)]


async def test_a_run_at_a_gate_is_told_its_place_in_the_line(hand: Hand, client: AsyncClient, sql: Sql):
    """Two are in, two wait before it; nobody has to do anything."""
    enlist(sql)
    *_, last = [await hand.start(chain(1, limit=2)) for _ in range(5)]
    found = await client.explain(last)
    assert kinds(found)[0] == "gate_full"
    assert first(found).data == {"limit": 2, "active": 2, "ahead": 2, "waiting": 3}
    assert not found.stuck


@pytest.mark.parametrize("limit", [None, 5])
async def test_a_paused_workflow_holds_its_new_runs(hand: Hand, client: AsyncClient, sql: Sql, limit: int | None):
    """With a gate or without one."""
    enlist(sql)
    await hand.publish(chain(1, limit=limit))
    await client.pause_workflow("test-workflow", reason="wrong rates")
    run_id = await hand.start(chain(1, limit=limit))
    found = await client.explain(run_id)
    assert (kinds(found), sql.status(run_id)) == (["workflow_paused"], "pending")
    assert (found.command, found.stuck) == ("flowforge workflow resume test-workflow", True)
    assert "wrong rates" in found.summary


async def test_runs_that_wait_for_each_other_are_told_so(hand: Hand, client: AsyncClient, sql: Sql):
    """A run holds the only place of its gate, and waits for its child, which waits at that gate."""
    enlist(sql)
    outer = workflow(step("sub", kind="workflow", config={"name": "test-workflow"}), limit=1)
    run_id = await hand.start(outer)
    child = await _child(hand, run_id, outer)
    found = await client.explain(run_id)
    assert kinds(found) == ["child_run", "gate_full", "deadlock"]
    assert str(child) in found.summary
    assert found.stuck


# -- queued ----------------------------------------------------------------------------------------------------


async def test_a_queue_that_no_worker_serves(hand: Hand, client: AsyncClient, sql: Sql):
    """Workers of other queues do not help; one that did is remembered."""
    enlist(sql)
    enlist(sql, "w-old", queues=("gpu",), seen="10 minutes")
    found = await client.explain(await hand.start(workflow(step("a", queue="gpu"), step("b", "a"))))
    assert kinds(found) == ["no_worker"]
    assert found.command == "flowforge worker start --queue gpu"
    assert (first(found).behind, first(found).weight) == (1, "blocked")
    assert "w-old was last seen 10m ago" in found.summary


async def test_no_worker_at_all(hand: Hand, client: AsyncClient):
    """Nothing else is worth a word."""
    found = await client.explain(await hand.start(chain(1)))
    assert (kinds(found), found.command) == (["no_worker"], "flowforge worker start")


async def test_a_step_type_that_no_worker_has(hand: Hand, client: AsyncClient, sql: Sql):
    """The queue is served, by workers without the package."""
    enlist(sql, types=("python",))
    found = await client.explain(await hand.start(chain(1)))
    assert (kinds(found), first(found).data) == (["type_not_installed"], {"type": "transform"})


async def test_workers_that_have_no_room(hand: Hand, client: AsyncClient, sql: Sql):
    """What takes their slots is named."""
    enlist(sql, concurrency=1)
    busy = await hand.start(chain(1, name="report"))
    await hand.claim(busy, 0)
    found = await client.explain(await hand.start(chain(1)))
    assert kinds(found) == ["workers_busy"]
    (holder,) = first(found).holders
    assert (holder.name, holder.doing) == ("hand", f"1 of 1 slots: report/s0 of run {busy}")
    assert "report/s0" in found.summary


async def test_a_queue_that_is_paused(hand: Hand, client: AsyncClient, sql: Sql):
    """By whom, and why."""
    enlist(sql)
    await client.pause_queue("default", reason="provider down")
    found = await client.explain(await hand.start(chain(1)))
    assert (kinds(found), found.command) == (["queue_paused"], "flowforge queue resume default")
    assert "provider down" in found.summary


async def test_redis_is_down(hand: Hand, settings, endpoints: Endpoints, sql: Sql):
    """The answer comes from Postgres, and says that the streams are away."""
    enlist(sql)
    run_id = await hand.start(chain(1))
    away = Endpoints(endpoints.database_url, "redis://127.0.0.1:1/0")
    async with AsyncClient(settings, endpoints=away) as client:
        found = await client.explain(run_id)
        everything = await client.explain()
        queues = await client.queues()
    assert kinds(found) == ["streams_down"]
    assert "127.0.0.1:1" in first(found).subject.name
    assert first(everything).kind == "streams_down"
    assert queues.streams_down is not None
    assert (queues.queues[0].backlog, queues.queues[0].queued) == (None, 1)


async def test_a_dispatch_that_no_relay_takes(hand: Hand, client: AsyncClient, sql: Sql):
    """It lies in the outbox although workers are there."""
    enlist(sql)
    run_id = await hand.start(chain(1))
    sql.do("UPDATE steps SET queued_at = queued_at - interval '1 minute'")
    found = await client.explain(run_id)
    assert kinds(found) == ["outbox_lag"]
    assert [cause.kind for cause in (await client.explain()).causes] == ["outbox_lag"]


async def test_a_dispatch_that_was_lost(hand: Hand, client: AsyncClient, sql: Sql):
    """Neither in the outbox nor in the stream; when it is sent again is known."""
    enlist(sql)
    run_id = await hand.start(chain(1))
    sql.do("DELETE FROM outbox")
    sql.do("UPDATE steps SET queued_at = queued_at - interval '10 seconds'")
    found = await client.explain(run_id)
    assert kinds(found) == ["dispatch_lost"]
    assert found.moves_at == sql.value("SELECT due_at FROM steps")


# -- started ---------------------------------------------------------------------------------------------------


async def test_a_step_at_work(hand: Hand, client: AsyncClient, sql: Sql):
    """On which worker, which attempt, and when it is stopped."""
    enlist(sql)
    run_id = await hand.start(workflow(step("a", timeout="90s")))
    await hand.claim(run_id, "a")
    found = await client.explain(run_id)
    assert (kinds(found), found.stuck) == (["running"], False)
    assert found.moves_at == sql.value("SELECT started_at + interval '90 seconds' FROM steps")


async def test_a_worker_that_is_lost(hand: Hand, client: AsyncClient, sql: Sql):
    """Its lease goes on; another worker takes the step when it ends, if there is one."""
    enlist(sql, seen="40 seconds")
    run_id = await hand.start(chain(1))
    await hand.claim(run_id, 0)
    alone = await client.explain(run_id)
    assert (kinds(alone), alone.stuck) == (["worker_lost", "no_worker"], True)
    enlist(sql, "other")
    found = await client.explain(run_id)
    assert (kinds(found), found.stuck) == (["worker_lost"], False)
    assert found.moves_at == sql.value("SELECT due_at FROM steps")


async def test_a_retry_says_which_attempt_failed_and_when_the_next_one_is(hand: Hand, client: AsyncClient, sql: Sql):
    """With the error."""
    enlist(sql)
    run_id = await hand.start(workflow(step("charge", retry=RETRY), step("ship", "charge")))
    await hand.settle(await hand.claim(run_id, "charge"), Failed(error("HTTP_503", "try later", retryable=True)))
    found = await client.explain(run_id)
    assert (kinds(found), first(found).behind) == (["retry"], 1)
    assert "waits for attempt 2 of 4; attempt 1 failed, HTTP_503: try later" in found.summary
    assert found.moves_at == sql.value("SELECT due_at FROM steps WHERE step_no = 0")
    assert found.command == f"flowforge skip {run_id} charge"


async def test_timers_need_a_worker(hand: Hand, client: AsyncClient, sql: Sql):
    """A delay goes on by itself, but not without anybody who looks; and then it is overdue."""
    run_id = await hand.start(workflow(step("pause", kind="delay", config={"duration": "1h"})))
    await hand.settle(await hand.claim(run_id, 0), Waiting(timedelta(hours=1)))
    assert [cause.kind for cause in (await client.explain(run_id)).causes] == ["no_worker", "delay"]
    sql.do("UPDATE steps SET due_at = due_at - interval '2 hours'")
    found = await client.explain(run_id)
    assert (kinds(found), found.command) == (["overdue", "no_worker"], "flowforge worker start")
    enlist(sql)
    assert not (await client.explain(run_id)).stuck


async def test_a_signal_that_has_not_come(hand: Hand, client: AsyncClient, sql: Sql):
    """The command would send it; a name that a shell would eat is quoted."""
    enlist(sql)
    run_id = await hand.start(workflow(step("paid", kind="wait_signal", config={"name": "paid; rm"})))
    waits = Waiting(timedelta(hours=1), {"deadline": None, "name": "paid; rm"}, signal="paid; rm")
    await hand.settle(await hand.claim(run_id, 0), waits)
    found = await client.explain(run_id)
    assert (kinds(found), found.stuck) == (["signal"], True)
    assert found.command == f"flowforge signal {run_id} 'paid; rm'"
    assert found.moves_at is not None


async def test_an_approval_says_who_is_asked_and_how_many_are_missing(hand: Hand, client: AsyncClient, sql: Sql):
    """One of two has approved."""
    enlist(sql)
    asked = {"prompt": "Release 120?", "approvers": [client.actor(), "cyd"], "required": 2}
    config = {"prompt": "Release?", "approvers": asked["approvers"], "required": 2}
    run_id = await hand.start(workflow(step("release", kind="approval", config=config)))
    await hand.settle(await hand.claim(run_id, 0), Waiting(None, asked, approvals=2))
    await client.decide(run_id, "release", approved=True)
    found = await client.explain(run_id)
    assert (kinds(found), found.command) == (["approval"], f"flowforge approve {run_id} release")
    assert (first(found).data["missing"], first(found).data["asked"]) == (1, asked["approvers"])
    assert [one["actor"] for one in first(found).data["approved"]] == [client.actor()]
    assert "Release 120?" in found.summary


async def test_a_foreach_waits_for_its_items(hand: Hand, client: AsyncClient, sql: Sql):
    """Items that wait for the same are told as one."""
    enlist(sql)
    body = {"id": "one", "type": "transform", "config": {"expression": "1"}, "retry": RETRY}
    run_id = await hand.start(workflow(step("each", kind="foreach", config={"items": "input", "step": body})))
    await hand.settle(await hand.claim(run_id, 0), Expanded([1, 2, 3], 3))
    for item in (0, 1):
        claimed = await hand.claim(run_id, f"each[{item}]")
        await hand.settle(claimed, Failed(error("HTTP_429", retryable=True)))
    await hand.complete(run_id, "each[2]")
    found = await client.explain(run_id)
    assert kinds(found) == ["items", "retry"]
    assert first(found).data == {"items": 3, "open": 2}
    assert (first(found).because[0].count, first(found).because[0].members) == (2, ("each[0]", "each[1]"))


async def test_a_child_run_is_explained_in_turn(hand: Hand, client: AsyncClient, sql: Sql):
    """The command at the end of the chain is about the child."""
    enlist(sql)
    run_id = await hand.start(workflow(step("sub", kind="workflow", config={"name": "inner"})))
    child = await _child(
        hand, run_id, workflow(step("wait", kind="wait_signal", config={"name": "paid"}), name="inner")
    )
    await hand.settle(await hand.claim(child, 0), SIGNAL)
    found = await client.explain(run_id)
    assert (kinds(found), found.command) == (["child_run", "signal"], f"flowforge signal {child} paid")
    assert found.stuck


async def test_a_step_that_waits_for_others_is_told_why_those_do_not_end(hand: Hand, client: AsyncClient, sql: Sql):
    """d waits for b and c; c is done, b has failed once."""
    enlist(sql)
    run_id = await hand.start(diamond())
    await hand.complete(run_id, "a")
    await hand.complete(run_id, "c")
    await hand.fail(run_id, "b", retryable=True)
    found = await client.explain(run_id, step="d")
    assert kinds(found) == ["sibling", "retry"]
    assert first(found).data == {"waits_for": ["b"]}
    whole = await client.explain(run_id)
    assert [cause.kind for cause in whole.causes] == ["retry", "sibling"]
    with pytest.raises(NotFound, match="no step 'e'"):
        await client.explain(run_id, step="e")


# -- the whole run ---------------------------------------------------------------------------------------------


async def test_a_paused_run_says_who_holds_it_and_what_it_would_wait_for_then(
    hand: Hand, client: AsyncClient, sql: Sql
):
    """Several causes at once: the one that blocks most first, and the deadline at the end."""
    enlist(sql)
    run_id = await hand.start(workflow(step("paid", kind="wait_signal", config={"name": "paid"}), step("b"), step("c")))
    await hand.settle(await hand.claim(run_id, "paid"), SIGNAL)
    await hand.claim(run_id, "b")
    await client.pause(run_id, reason="bank holiday")
    found = await client.explain(run_id)
    assert [cause.kind for cause in found.causes] == ["run_paused", "signal", "running"]
    assert found.command == f"flowforge resume {run_id}"


async def test_a_deadline_is_told_beside_what_it_waits_for(hand: Hand, client: AsyncClient, sql: Sql):
    """When the run ends whatever happens."""
    enlist(sql)
    run_id = await hand.start(workflow(step("a"), timeout="1h"))
    await hand.claim(run_id, "a")
    found = await client.explain(run_id)
    assert [cause.kind for cause in found.causes] == ["running", "deadline"]
    assert found.causes[1].until == sql.value("SELECT deadline_at FROM runs")


async def test_a_run_that_is_cancelled_waits_for_its_running_step(hand: Hand, client: AsyncClient, sql: Sql):
    """Who cancelled it, why, and what has not stopped."""
    enlist(sql)
    run_id = await hand.start(chain(2))
    await hand.claim(run_id, 0)
    await client.cancel(run_id, reason="wrong customer")
    found = await client.explain(run_id)
    assert kinds(found) == ["cancelling", "stopping"]
    assert ("wrong customer" in found.summary, first(found).command) == (True, f"flowforge cancel {run_id} --force")


async def test_a_run_that_fails_waits_for_what_still_runs(hand: Hand, client: AsyncClient, sql: Sql):
    """The failure is known already."""
    enlist(sql)
    run_id = await hand.start(workflow(step("a"), step("b")))
    await hand.claim(run_id, "b")
    await hand.fail(run_id, "a")
    found = await client.explain(run_id)
    assert kinds(found) == ["failing", "running"]
    assert "step 'a' failed with TEST" in found.summary


async def test_a_run_that_undoes_what_it_did(hand: Hand, client: AsyncClient, sql: Sql):
    """Why it began to, how much is left, and what it is at."""
    enlist(sql)
    undo = {"type": "transform", "config": {"expression": "1"}, "retry": RETRY}
    run_id = await hand.start(workflow(step("a", compensate=undo), step("b", "a", compensate=undo), step("c", "b")))
    await hand.complete(run_id, "a")
    await hand.complete(run_id, "b")
    await hand.fail(run_id, "c")
    await hand.fail(run_id, "b:compensate", retryable=True)
    found = await client.explain(run_id)
    assert kinds(found) == ["compensating", "retry"]
    assert first(found).data["left"] == 2
    assert "step 'c' failed with TEST" in found.summary


async def _child(hand: Hand, run_id: UUID, definition: Definition) -> UUID:
    """Let the first step of a run start a run, and wait for it."""
    claimed = await hand.claim(run_id, 0)
    child = await hand.start(definition, parent=(run_id, 0))
    await hand.settle(claimed, Waiting(timedelta(minutes=2), {"run": str(child), "attempt": 1}))
    return child


async def test_nothing_is_changed_by_asking(hand: Hand, client: AsyncClient, sql: Sql):
    """No row, and no event."""
    run_id = await hand.start(chain(2))
    await hand.settle(await hand.claim(run_id, 0), Completed(1))
    before = sql.rows("SELECT * FROM runs"), sql.rows("SELECT * FROM steps"), sql.counts("run_events")
    await client.explain(run_id)
    await client.explain()
    assert (sql.rows("SELECT * FROM runs"), sql.rows("SELECT * FROM steps"), sql.counts("run_events")) == before
