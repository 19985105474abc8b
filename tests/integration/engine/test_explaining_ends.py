"""Ways to end, made for real: `explain` names the first cause first, and what followed from it."""

from __future__ import annotations

import re
from datetime import timedelta
from uuid import UUID

from flowforge.client import AsyncClient
from flowforge.model.explanation import Explanation
from flowforge.model.outcome import Failed, Waiting
from tests.support.definitions import chain, parallel, step, workflow
from tests.support.hand import Hand, error
from tests.support.sql import Sql

UNDO = {"type": "transform", "config": {"expression": "1"}, "retry": {"max_attempts": 1}}


def kinds(found: Explanation) -> list[str]:
    """Return the kinds of the causes, in order."""
    return [cause.kind.value for cause in found.causes]


async def test_attempts_that_are_used_up_are_listed(hand: Hand, client: AsyncClient, sql: Sql):
    """Each with its error; the last one said why there is no other."""
    retry = {"max_attempts": 2, "initial_delay": "0s"}
    run_id = await hand.start(workflow(step("charge", retry=retry), step("ship", "charge")))
    for code in ("HTTP_503", "TIMEOUT"):
        await hand.settle(await hand.claim(run_id, "charge"), Failed(error(code, f"{code} came", retryable=True)))
        sql.do("UPDATE steps SET due_at = due_at - interval '1 minute' WHERE status = 'waiting'")
        await hand.wake(run_id)
    found = await client.explain(run_id)
    assert (kinds(found), found.status) == (["step_failed"], "failed")
    assert [(one["attempt"], one["code"]) for one in found.causes[0].data["attempts"]] == [
        (1, "HTTP_503"),
        (2, "TIMEOUT"),
    ]
    assert "failed for good on attempt 2 of 2, TIMEOUT: TIMEOUT came; its attempts are used up" in found.summary
    assert found.command == f"flowforge retry {run_id}"


async def test_a_failure_that_trying_again_would_not_help(hand: Hand, client: AsyncClient):
    """The policy would have had attempts left."""
    run_id = await hand.start(chain(1))
    await hand.fail(run_id, 0)
    assert "that is not tried again by itself" in (await client.explain(run_id)).summary


async def test_the_step_inside_a_parallel_step_is_the_first_cause(hand: Hand, client: AsyncClient):
    """Then the step that it took down."""
    run_id = await hand.start(workflow(parallel("fan", step("mail"), step("label"), wait_for_all=False)))
    await hand.fail(run_id, "fan.label")
    found = await client.explain(run_id)
    assert [(cause.kind, cause.subject.name) for cause in found.causes] == [
        ("step_failed", "fan.label"),
        ("step_failed", "fan"),
    ]


async def test_a_child_run_that_failed_is_explained_in_turn(hand: Hand, client: AsyncClient):
    """The chain ends at the step that failed in the child."""
    run_id = await hand.start(workflow(step("sub", kind="workflow", config={"name": "inner"})))
    claimed = await hand.claim(run_id, 0)
    child = await hand.start(chain(1, name="inner"), parent=(run_id, 0))
    await hand.fail(child, 0)
    await hand.settle(claimed, Failed(error("CHILD_FAILED", f"run {child} failed")))
    found = await client.explain(run_id)
    assert [cause.subject.name for cause in found.causes[0].chain()] == ["sub", "s0"]
    assert found.command == f"flowforge retry {child}"


async def test_a_run_out_of_time_says_what_it_stood_at(hand: Hand, client: AsyncClient, sql: Sql):
    """A signal that did not come."""
    run_id = await hand.start(
        workflow(step("paid", kind="wait_signal", config={"name": "paid"}), step("b"), timeout="1h")
    )
    await hand.settle(await hand.claim(run_id, "paid"), Waiting(timedelta(hours=2), {"name": "paid"}, signal="paid"))
    await _out_of_time(hand, sql, run_id)
    found = await client.explain(run_id)
    assert kinds(found) == ["timed_out"]
    assert [re.sub(r"for \d+s$", "for 0s", one.text) for one in found.causes[0].because] == [
        "step 'paid' waited for the signal 'paid', for 0s",
        "step 'b' waited for a worker, for 0s",
    ]


async def test_a_cancelled_run_says_by_whom_and_why(hand: Hand, client: AsyncClient):
    """As it was recorded."""
    run_id = await hand.start(chain(1))
    await client.cancel(run_id, reason="wrong customer")
    found = await client.explain(run_id)
    assert (kinds(found), found.causes[0].data["actor"]) == (["cancelled"], client.actor())
    assert "(wrong customer)" in found.summary


async def test_a_run_that_nobody_wants_any_more_points_at_its_parent(hand: Hand, client: AsyncClient):
    """Whose end is explained below."""
    run_id = await hand.start(workflow(step("sub", kind="workflow", config={"name": "inner"})))
    claimed = await hand.claim(run_id, 0)
    child = await hand.start(chain(1, name="inner"), parent=(run_id, 0))
    await hand.settle(claimed, Waiting(timedelta(minutes=2), {"run": str(child), "attempt": 1}))
    await client.cancel(run_id, reason="not needed")
    found = await client.explain(child)
    assert [cause.kind for cause in found.causes[0].chain()] == ["cancelled", "child_ended", "cancelled"]
    assert str(run_id) in found.summary
    assert "(not needed)" in found.summary


async def test_what_could_not_be_undone_comes_after_why_it_was_to_be(hand: Hand, client: AsyncClient):
    """First the failure, then the compensation that failed, with what is left."""
    run_id = await hand.start(workflow(step("a", compensate=UNDO), step("b", "a", compensate=UNDO), step("c", "b")))
    await hand.complete(run_id, "a")
    await hand.complete(run_id, "b")
    await hand.fail(run_id, "c")
    await hand.complete(run_id, "b:compensate")
    await hand.fail(run_id, "a:compensate")
    found = await client.explain(run_id)
    assert kinds(found) == ["step_failed", "not_undone", "undone"]
    assert [cause.subject.name for cause in found.causes[:2]] == ["c", "a:compensate"]
    assert (found.causes[1].data["not_undone"], found.causes[2].members) == (["a"], ("b",))


async def test_a_step_that_takes_down_its_workers(hand: Hand, client: AsyncClient, sql: Sql):
    """Each lost worker is an attempt of the list."""
    run_id = await hand.start(workflow(step("a", retry={"max_crashes": 1})))
    for _ in range(2):
        await hand.claim(run_id, "a")
        sql.do("UPDATE steps SET due_at = clock_timestamp() - interval '1 second'")
        await hand.wake(run_id)
    found = await client.explain(run_id)
    assert [one["code"] for one in found.causes[0].data["attempts"]] == ["WORKER_LOST", "POISON"]
    assert "2 workers were lost while running this step" in found.summary


async def test_a_completed_run_says_so_and_what_it_went_on_without(hand: Hand, client: AsyncClient):
    """A step whose failure was to be left out."""
    run_id = await hand.start(workflow(step("a", error_handling={"on_error": "skip"}), step("b")))
    await hand.fail(run_id, "a")
    await hand.complete(run_id, "b")
    found = await client.explain(run_id)
    assert (kinds(found), found.stuck, found.command) == (["completed", "step_left_out"], False, None)
    assert found.causes[1].members == ("a",)


async def _out_of_time(hand: Hand, sql: Sql, run_id: UUID) -> None:
    """Let a run's deadline pass."""
    sql.do("UPDATE runs SET deadline_at = clock_timestamp() - interval '1 second' WHERE id = %s", run_id)
    await hand.wake(run_id)
