"""Sagas on real servers: what was done is undone, in reverse order, whatever happens on the way."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from flowforge.client import AsyncClient
from flowforge.errors import Conflict
from flowforge.model.facts import Granted
from flowforge.model.outcome import Completed, Failed, StepError
from flowforge.steps.base import Assignment
from tests.support.definitions import step, workflow
from tests.support.documents import error_of, steps_of
from tests.support.executors import Counting, Scripted
from tests.support.hand import Hand, error
from tests.support.sql import Sql

ONCE = {"max_attempts": 1}
QUICK = {"max_attempts": 3, "initial_delay": "1ms", "jitter": False}


def saga(fails_at: int, *, length: int = 5, undo_fails: int | None = None, **more: Any) -> dict[str, Any]:
    """Make s0 to s4, each undone by what reads the failure, its own output and the input; one of them fails."""
    steps = []
    for no in range(length):
        broken = "1 / 0" if no == undo_fails else f"[run.error.step, steps.s{no}.output.result, input.order]"
        steps.append(
            step(
                f"s{no}",
                *([f"s{no - 1}"] if no else []),
                expression="1 / 0" if no == fails_at else f"{no} * 10",
                retry=ONCE,
                compensate={"type": "transform", "config": {"expression": broken}, "retry": ONCE},
            )
        )
    return workflow(*steps, **more)


@pytest.mark.parametrize("fails_at", range(5))
async def test_what_was_done_is_undone_in_reverse_order(client: AsyncClient, start_worker, at_rest, sql: Sql, fails_at):
    """Each with the failed step's error, its own output and the original input."""
    await start_worker()
    run = await client.run(saga(fails_at), {"order": "o-17"}, wait=True)
    assert run.status == "failed"
    assert error_of(run)["step"] == f"s{fails_at}"
    statuses = [one.status.value for one in steps_of(run)]
    assert statuses == ["compensated"] * fails_at + ["failed"] + ["cancelled"] * (4 - fails_at)
    undone = [event.split()[1] for event in sql.events(run.id) if event.startswith("step.compensated")]
    assert undone == [f"s{no}" for no in reversed(range(fails_at))]
    assert run.compensation.status == ("completed" if fails_at else "none")
    assert [one.output for one in run.compensation.steps] == [
        {"result": [f"s{fails_at}", no * 10, "o-17"]} for no in reversed(range(fails_at))
    ]
    assert await at_rest() == 1


async def test_a_compensation_that_keeps_failing_leaves_an_incident_that_names_what_is_left(
    client: AsyncClient, start_worker, at_rest
):
    """The run fails; retrying tries again, skipping says that it was done by hand."""
    await start_worker()
    run = await client.run(saga(3, undo_fails=1), {"order": 1}, wait=True)
    assert error_of(run)["code"] == "COMPENSATION_FAILED"
    assert error_of(run)["details"]["not_undone"] == ["s1", "s0"]
    assert error_of(run)["details"]["cause"]["step"] == "s3"
    (incident,) = await client.incidents()
    assert (incident.kind, incident.step, incident.run_id, incident.count) == ("compensation_failed", "s1", run.id, 1)

    await client.retry(run.id)
    again = await client.wait(run.id, timeout=30)
    assert error_of(again)["code"] == "COMPENSATION_FAILED"
    assert (await client.incident(incident.id)).count == 2

    await client.skip(run.id, "s1:compensate", reason="refunded by hand")
    over = await client.wait(run.id, timeout=30)
    assert (over.status, error_of(over)["step"]) == ("failed", "s3")
    assert [(one.id, one.status.value) for one in over.compensation.steps] == [
        ("s2:compensate", "completed"),
        ("s1:compensate", "skipped"),
        ("s0:compensate", "completed"),
    ]
    await client.resolve_incident(incident.id, resolution="refunded")
    with pytest.raises(Conflict, match="resolved by"):
        await client.resolve_incident(incident.id)
    assert await at_rest() == 1


async def test_a_compensation_has_retries_of_its_own(client: AsyncClient, start_worker, at_rest):
    """Those that the definition gives it, not the step's."""
    tries: list[int] = []

    def undo(assignment: Assignment) -> Any:
        if assignment.step.compensates is None:
            return Completed({"id": 7})
        tries.append(assignment.attempt)
        return Failed(StepError("BUSY", "later")) if len(tries) < 3 else Completed({})

    await start_worker(executors=Scripted(http=Counting(undo)))
    do = {"method": "POST", "url": "https://stock.example/"}
    pay = step("pay", kind="http", config=do, compensate={"type": "http", "config": do, "retry": QUICK})
    run = await client.run(workflow(pay, step("ship", "pay", expression="1 / 0", retry=ONCE)), wait=True)
    assert (run.status, run.compensation.status, tries) == ("failed", "completed", [1, 2, 3])
    assert await at_rest() == 1


async def test_what_was_undone_and_is_repeated_is_another_effect(client: AsyncClient, start_worker, at_rest):
    """Its idempotency key is another one, and so is that of what undoes it again."""
    keys: list[tuple[str, str]] = []

    def note(assignment: Assignment) -> Any:
        keys.append((assignment.step.id, assignment.idempotency_key.partition(":")[2]))
        return Completed({})

    await start_worker(executors=Scripted(http=Counting(note)))
    do = {"method": "POST", "url": "https://stock.example/"}
    pay = step("pay", kind="http", config=do, compensate={"type": "http", "config": do})
    run = await client.run(workflow(pay, step("ship", "pay", expression="1 / 0", retry=ONCE)), wait=True)
    await client.retry(run.id)
    await client.wait(run.id, timeout=30)
    assert keys == [
        ("pay", "pay"),
        ("pay:compensate", "pay:compensate"),
        ("pay", "pay:1"),
        ("pay:compensate", "pay:compensate:1"),
    ]
    assert await at_rest() == 1


async def test_a_cancelled_run_undoes_what_it_did_if_its_workflow_says_so(hand: Hand, sql: Sql, at_rest):
    """Once what ran has stopped; it ends cancelled."""
    run_id = await hand.start(saga(9, on_cancel="compensate"), {"order": 1})
    await hand.complete(run_id, "s0")
    running = await hand.claim(run_id, "s1")
    await hand.cancel(run_id)
    assert sql.status(run_id) == "cancelling"
    await hand.settle(running, Completed({"result": 10}))
    assert sql.status(run_id) == "compensating"
    await hand.complete(run_id, "s1:compensate")
    await hand.complete(run_id, "s0:compensate")
    assert sql.status(run_id) == "cancelled"
    assert sql.value("SELECT error FROM runs") is None
    sql.do("DELETE FROM outbox")
    await at_rest()


async def test_a_run_that_takes_too_long_undoes_only_if_its_workflow_says_so(hand: Hand, sql: Sql):
    """on_cancel speaks of both."""
    for word, status in (("stop", "failed"), ("compensate", "compensating")):
        run_id = await hand.start(saga(9, on_cancel=word, timeout="1h", name=f"late-{word}"), {"order": 1})
        await hand.complete(run_id, "s0")
        sql.do("UPDATE runs SET deadline_at = now() - interval '1s' WHERE id = %s", run_id)
        await hand.wake(run_id)
        assert sql.status(run_id) == status


@pytest.mark.parametrize("position", range(3))
async def test_a_worker_that_dies_while_undoing_costs_nothing(hand: Hand, sql: Sql, position, at_rest):
    """The next one goes on at the step that was being undone."""
    run_id = await hand.start(saga(3), {"order": 1})
    for no in range(3):
        await hand.complete(run_id, f"s{no}")
    await hand.fail(run_id, "s3")
    for no in reversed(range(3)):
        name = f"s{no}:compensate"
        if no == position:
            await hand.claim(run_id, name)
            sql.do("UPDATE steps SET due_at = now() - interval '1s' WHERE run_id = %s AND status = 'running'", run_id)
            await hand.wake(run_id)
        await hand.complete(run_id, name)
    assert sql.status(run_id) == "failed"
    undone = [event for event in sql.events(run_id) if event.startswith("step.compensated")]
    assert undone == ["step.compensated s2", "step.compensated s1", "step.compensated s0"]
    sql.do("DELETE FROM outbox")
    await at_rest()


async def test_a_compensating_run_cannot_be_cancelled_but_by_force(hand: Hand, client: AsyncClient, sql: Sql):
    """And then what is left is named."""
    run_id = await hand.start(saga(2), {"order": 1})
    await hand.complete(run_id, "s0")
    await hand.complete(run_id, "s1")
    await hand.fail(run_id, "s2")
    with pytest.raises(Conflict, match="undoing what it did"):
        await client.cancel(run_id)
    run = await client.cancel(run_id, force=True)
    assert (run.status, error_of(run)["details"]["not_undone"]) == ("failed", ["s1", "s0"])


async def test_steps_without_compensation_are_reported_as_not_reversible(client: AsyncClient, start_worker):
    """What only computes or decides is not: it did nothing."""
    await start_worker(executors=Scripted(http=Counting(lambda _: Completed({}))))
    do = {"method": "POST", "url": "https://mail.example/"}
    undo = {"type": "transform", "config": {"expression": "1"}}
    steps = [
        step("mail", kind="http", config=do),
        step("pay", "mail", compensate=undo),
        step("count", "pay"),
        step("ship", "count", expression="1 / 0", retry=ONCE),
    ]
    run = await client.run(workflow(*steps), wait=True)
    assert run.compensation.not_reversible == ("mail",)


async def test_a_poison_step_has_an_incident(hand: Hand, sql: Sql):
    """Whoever runs it dies."""
    run_id = await hand.start(workflow(step("a", retry={"max_crashes": 0})))
    await hand.claim(run_id, "a")
    sql.do("UPDATE steps SET due_at = now() - interval '1s'")
    await hand.wake(run_id)
    assert sql.rows("SELECT kind, step, error ->> 'code' FROM incidents") == [("poison_step", "a", "POISON")]


async def test_the_same_failure_over_and_over_is_one_incident(hand: Hand, sql: Sql):
    """It counts, and names the last run."""
    runs = await hand.start_many(workflow(step("a", retry=ONCE)), 5)
    for run_id in runs:
        await hand.fail(run_id, "a")
    assert sql.rows("SELECT kind, count, run_id FROM incidents") == [("irrecoverable_error", 5, runs[-1])]


async def test_attempts_have_a_time_together(hand: Hand, sql: Sql):
    """max_elapsed ends the retries although there would be attempts left, and shortens the last one."""
    retry = {"max_attempts": 50, "initial_delay": "1ms", "max_elapsed": "10s"}
    run_id = await hand.start(workflow(step("a", retry=retry, timeout="1h")))
    first = await hand.claim(run_id, "a")
    assert isinstance(first.answer, Granted)
    assert first.assignment is not None
    assert first.assignment.timeout == timedelta(seconds=10)
    await hand.settle(first, Failed(error(retryable=True)))
    sql.do("UPDATE steps SET error = jsonb_set(error, '{since}', to_jsonb((now() - interval '11s')::text))")
    sql.do("UPDATE steps SET due_at = now() - interval '1s'")
    await hand.wake(run_id)
    await hand.settle(await hand.claim(run_id, "a"), Failed(error(retryable=True)))
    assert sql.status(run_id) == "failed"
    assert "max_elapsed" in sql.value("SELECT error ->> 'hint' FROM runs")
