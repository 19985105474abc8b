"""What a replay and a run that goes on with other versions remember: who wanted it, and what was done before."""

from __future__ import annotations

import pytest

from flowforge.client import AsyncClient
from flowforge.errors import Conflict
from flowforge.model.facts import Refusal, Refused
from flowforge.model.outcome import Completed
from tests.support.definitions import step, workflow
from tests.support.documents import steps_of
from tests.support.hand import Hand
from tests.support.sql import Sql

ONCE = {"max_attempts": 1}
FIRST = "SELECT data FROM events WHERE run_id = %s AND seq = 1"


async def test_the_history_of_a_replay_begins_with_who_wanted_it_and_why(hand: Hand, client: AsyncClient, sql: Sql):
    """What was recorded in the other run comes before its start."""
    run_id = await hand.start(workflow(step("a"), step("b", "a")))
    await hand.complete(run_id, "a")
    again = await client.replay(run_id, from_step="b", reason="the price list was wrong")
    known = {"trigger": "replay", "actor": client.actor(), "reason": "the price list was wrong"}
    assert sql.rows(FIRST, again.id) == [(known,)]
    assert sql.events(again.id) == ["workflow.created", "step.completed a", "workflow.started", "step.queued b"]
    assert sql.rows(FIRST, run_id) == [({"trigger": "api"},)]


async def test_a_step_that_a_version_dropped_and_the_next_has_again_goes_on_counting(
    hand: Hand, client: AsyncClient, sql: Sql, at_rest
):
    """Its attempts, its tokens, and how often its effect was undone, which makes another idempotency key."""
    undo = {"type": "transform", "config": {"expression": "1"}}
    pay, bad = step("pay", retry=ONCE, compensate=undo), step("bad", "pay", retry=ONCE)
    run_id = await hand.start(workflow(pay, bad))
    old = await hand.claim(run_id, "pay")
    await hand.settle(old, Completed(1))
    await hand.fail(run_id, "bad")
    await hand.complete(run_id, "pay:compensate")
    await client.publish(workflow(step("bad", retry=ONCE)))
    await client.retry(run_id, to_version=2)
    await hand.fail(run_id, "bad")
    await client.publish(workflow(step("new"), pay, bad))
    await client.retry(run_id, to_version=3)
    new = await hand.claim(run_id, "pay")
    assert old.assignment is not None
    assert new.assignment is not None
    assert (new.assignment.attempt, new.assignment.token) == (2, 2)
    assert new.assignment.idempotency_key == f"{old.assignment.idempotency_key}:1"
    assert (await hand.settle(old, Completed("late"))).answer == Refused(Refusal.STALE)
    await hand.settle(new, Completed(2))
    await hand.finish(run_id)
    found = {one.id: one.attempts for one in steps_of(await client.get(run_id))}
    assert found == {"new": 1, "pay": 2, "bad": 3}
    sql.do("DELETE FROM outbox")
    assert await at_rest() == 1


async def test_what_is_undone_by_another_version_was_done_whatever_its_type_is_now(
    hand: Hand, client: AsyncClient, sql: Sql, at_rest
):
    """A run that could not undo everything goes on with that; it is not moved where a step would come back."""
    undo = {"type": "transform", "config": {"expression": "1"}, "retry": ONCE}
    pay, ship = step("pay", retry=ONCE, compensate=undo), step("ship", "pay", retry=ONCE)
    run_id = await hand.start(workflow(step("old"), pay, ship))
    for name in ("old", "pay"):
        await hand.complete(run_id, name)
    await hand.fail(run_id, "ship")
    await hand.fail(run_id, "pay:compensate")
    called = {"id": "pay", "type": "http", "config": {"url": "http://x"}, "compensate": undo}
    await client.publish(workflow(called, ship))
    await client.retry(run_id, to_version=2)
    assert sql.steps(run_id)["pay"] == "completed"
    await hand.fail(run_id, "pay:compensate")
    await client.publish(workflow(step("old"), called, ship))
    with pytest.raises(Conflict, match="has steps again that an earlier one had dropped: old"):
        await client.retry(run_id, to_version=3)
    await client.retry(run_id)
    await hand.complete(run_id, "pay:compensate")
    assert (sql.status(run_id), sql.steps(run_id)["pay"]) == ("failed", "compensated")
    sql.do("DELETE FROM outbox")
    assert await at_rest() == 1
