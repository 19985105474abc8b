"""Sagas: what was done is undone, the last first, each once, whatever fails and whoever dies on the way."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from flowforge.client import AsyncClient
from flowforge.errors import Conflict
from flowforge.model.facts import Accepted, CancelRequested, Refusal, Refused, Rejected, Woke
from flowforge.model.outcome import Cancelled, Completed, Expanded, Failed
from tests.support.definitions import Definition, step, workflow
from tests.support.documents import error_of
from tests.support.executors import Held, Scripted
from tests.support.hand import Hand, error
from tests.support.sql import Sql

ONCE = {"max_attempts": 1}
NOW = {"max_attempts": 3, "initial_delay": "1ms", "factor": 1, "jitter": False}
LENGTH = 5


def undo(expression: str = "1", **more: Any) -> Definition:
    """Make what undoes a step."""
    return {"type": "transform", "config": {"expression": expression}, "retry": ONCE, **more}


def saga(length: int = LENGTH, *, undoing: Definition | None = None, **more: Any) -> Definition:
    """Make s0 → s1 → …, each with something that undoes it."""
    steps = [
        step(f"s{no}", *([f"s{no - 1}"] if no else []), retry=ONCE, compensate=undoing or undo())
        for no in range(length)
    ]
    return workflow(*steps, **more)


async def undone(hand: Hand, sql: Sql, run_id: UUID, outcome: Any = None) -> list[str]:
    """Execute what is queued until nothing is; return the steps in the order in which they were executed."""
    names: list[str] = []
    while queued := await hand.queued(run_id):
        (no,) = queued
        claimed = await hand.claim(run_id, no)
        assert claimed.assignment is not None
        names.append(claimed.assignment.step.id)
        await hand.settle(claimed, outcome or Completed(None))
    assert sql.status(run_id) in ("failed", "cancelled", "completed"), sql.steps(run_id)
    return names


async def failing_at(hand: Hand, definition: Definition, position: int, value: Any = None) -> UUID:
    """Start a saga, and let it fail at a position."""
    run_id = await hand.start(definition, value)
    for no in range(position):
        await hand.complete(run_id, f"s{no}", {"no": no})
    await hand.fail(run_id, f"s{position}")
    return run_id


def compensated(*numbers: int) -> list[str]:
    """Return the ids of the steps that undo some, in that order."""
    return [f"s{no}:compensate" for no in numbers]


@pytest.fixture
def tidy(sql: Sql, at_rest):
    """Check the invariants of what was played without a relay."""

    async def check(**how: Any) -> int:
        sql.do("DELETE FROM outbox")
        count: int = await at_rest(**how)
        return count

    return check


@pytest.mark.parametrize("position", range(LENGTH))
async def test_what_completed_before_a_failure_is_undone_in_reverse(hand: Hand, sql: Sql, tidy, position: int):
    """At every position; the run then fails with the error of the step that failed."""
    run_id = await failing_at(hand, saga(), position)
    assert sql.status(run_id) == ("compensating" if position else "failed")
    assert await undone(hand, sql, run_id) == compensated(*reversed(range(position)))
    assert sql.status(run_id) == "failed"
    assert sql.value("SELECT error->>'step' FROM runs") == f"s{position}"
    statuses = {name: status for name, status in sql.steps(run_id).items() if not name.endswith(":compensate")}
    expected = {f"s{no}": "compensated" for no in range(position)} | {f"s{position}": "failed"}
    assert {name: statuses[name] for name in expected} == expected
    assert sql.rows("SELECT kind, step, count FROM incidents") == [("irrecoverable_error", f"s{position}", 1)]
    assert await tidy() == 1


async def test_what_undoes_a_step_sees_outputs_input_and_the_error(hand: Hand, sql: Sql, tidy):
    """All that a compensation may want to know is in its context."""
    seen = '{"mine": steps.s0.output.no, "input": input.order, "why": run.error.code, "where": run.error.step}'
    run_id = await failing_at(hand, saga(2, undoing=undo(seen)), 1, {"order": "A-7"})
    claimed = await hand.claim(run_id, "s0:compensate")
    assert claimed.assignment is not None
    expression = claimed.assignment.step.expressions["expression"]
    assert expression.evaluate(claimed.assignment.context) == {"mine": 0, "input": "A-7", "why": "TEST", "where": "s1"}
    await hand.settle(claimed, Completed(None))
    await tidy()


async def test_a_compensation_has_retries_of_its_own(hand: Hand, sql: Sql, tidy):
    """It fails twice and succeeds; the next to be undone waits for that."""
    run_id = await failing_at(hand, saga(3, undoing=undo(retry=NOW)), 2)
    for _ in range(2):
        await hand.settle(await hand.claim(run_id, "s1:compensate"), Failed(error(retryable=True)))
        assert sql.steps(run_id)["s1:compensate"] == "waiting"
        assert sql.steps(run_id).get("s0:compensate") in (None, "pending")
        sql.do("UPDATE steps SET due_at = clock_timestamp() - interval '1 s' WHERE status = 'waiting'")
        await hand.wake(run_id)
    assert await undone(hand, sql, run_id) == compensated(1, 0)
    assert sql.value("SELECT attempt FROM steps WHERE token = 3") == 3


@pytest.mark.parametrize("position", range(LENGTH - 1))
async def test_one_that_cannot_be_undone_ends_the_run_and_an_incident_names_what_is_left(
    hand: Hand, client: AsyncClient, sql: Sql, tidy, position: int
):
    """What completed later is undone, what completed before is not, and it is said which that is."""
    run_id = await failing_at(hand, saga(), LENGTH - 1)
    for no in reversed(range(position + 1, LENGTH - 1)):
        await hand.complete(run_id, f"s{no}:compensate")
    await hand.fail(run_id, f"s{position}:compensate")
    run = await client.get(run_id)
    left = [f"s{no}" for no in reversed(range(position + 1))]
    assert (run.status, error_of(run)["code"]) == ("failed", "COMPENSATION_FAILED")
    assert error_of(run)["details"]["not_undone"] == left
    assert error_of(run)["details"]["cause"]["step"] == f"s{LENGTH - 1}"
    (incident,) = await client.incidents()
    assert (incident.kind, incident.step, incident.run_id) == ("compensation_failed", f"s{position}", run_id)
    assert incident.error["details"]["not_undone"] == left
    assert run.compensation is not None
    assert run.compensation.status == "failed"
    await tidy()


async def test_an_operator_lets_the_compensation_go_on(hand: Hand, client: AsyncClient, sql: Sql, tidy):
    """A retry goes on with the one that failed, and the run fails in the end as it would have."""
    run_id = await failing_at(hand, saga(4), 3)
    await hand.complete(run_id, "s2:compensate")
    await hand.fail(run_id, "s1:compensate")
    await client.retry(run_id, reason="the provider is back")
    assert sql.status(run_id) == "compensating"
    assert await undone(hand, sql, run_id) == compensated(1, 0)
    assert (sql.status(run_id), sql.value("SELECT error->>'step' FROM runs")) == ("failed", "s3")
    assert await tidy() == 1


async def test_an_operator_goes_on_without_one_that_cannot_be_undone(hand: Hand, client: AsyncClient, sql: Sql, tidy):
    """It stays completed, the rest is undone, and the history says who left it out and why."""
    run_id = await failing_at(hand, saga(4), 3)
    await hand.complete(run_id, "s2:compensate")
    await hand.fail(run_id, "s1:compensate")
    await client.skip(run_id, "s1:compensate", reason="refunded by hand")
    assert await undone(hand, sql, run_id) == compensated(0)
    steps = sql.steps(run_id)
    assert (steps["s0"], steps["s1"], steps["s2"]) == ("compensated", "completed", "compensated")
    (data,) = sql.rows("SELECT data->>'reason' FROM events WHERE type = 'step.skipped'")
    assert data == ("refunded by hand",)
    assert await tidy() == 1


async def test_a_run_that_was_undone_can_be_retried_and_does_everything_again(hand: Hand, sql: Sql, tidy):
    """An effect that was undone and is made again is another one: its idempotency key says so."""
    run_id = await hand.start(saga(2))
    first = await hand.claim(run_id, "s0")
    await hand.settle(first, Completed(1))
    await hand.fail(run_id, "s1")
    before = await hand.claim(run_id, "s0:compensate")
    await hand.settle(before, Completed(1))
    await hand.retry(run_id)
    second = await hand.claim(run_id, "s0")
    await hand.settle(second, Completed(2))
    await hand.fail(run_id, "s1")
    after = await hand.claim(run_id, "s0:compensate")
    await hand.settle(after, Completed(1))
    keys = [one.assignment.idempotency_key for one in (first, second, before, after) if one.assignment]
    undoing = f"{run_id}:s0:compensate"
    assert keys == [f"{run_id}:s0", f"{run_id}:s0:1", undoing, f"{undoing}:1"]
    assert sql.status(run_id) == "failed"
    assert await tidy() == 1


async def test_attempts_of_one_effect_share_their_key(hand: Hand, sql: Sql):
    """A retry by policy, a lost worker and a retry of what failed are the same effect."""
    run_id = await hand.start(workflow(step("a", retry=NOW, compensate=undo())))
    keys = []
    for _ in range(3):
        claimed = await hand.claim(run_id, "a")
        assert claimed.assignment is not None
        keys.append(claimed.assignment.idempotency_key)
        await hand.settle(claimed, Failed(error(retryable=True)))
        sql.do("UPDATE steps SET due_at = clock_timestamp() - interval '1 s' WHERE status = 'waiting'")
        await hand.wake(run_id)
    await hand.retry(run_id)
    again = await hand.claim(run_id, "a")
    assert again.assignment is not None
    assert {*keys, again.assignment.idempotency_key} == {f"{run_id}:a"}


@pytest.mark.parametrize("how", ["sweeper", "reclaim"])
@pytest.mark.parametrize("position", range(LENGTH - 1))
async def test_a_worker_that_dies_while_undoing_leaves_it_to_the_next(
    make_engine, hand: Hand, sql: Sql, tidy, position: int, how: str
):
    """At every position: the same step is undone again, nothing twice, and what the dead one says is too late."""
    other = Hand(await make_engine(), "other")
    run_id = await failing_at(hand, saga(), LENGTH - 1)
    for no in reversed(range(position + 1, LENGTH - 1)):
        await hand.complete(run_id, f"s{no}:compensate")
    dead = await hand.claim(run_id, f"s{position}:compensate")
    sql.do("UPDATE steps SET due_at = clock_timestamp() - interval '1 s' WHERE status = 'running'")
    if how == "sweeper":
        await other.wake(run_id)
        taken = await other.claim(run_id, f"s{position}:compensate")
    else:
        taken = await other.claim(run_id, f"s{position}:compensate", reclaimed=True)
    assert (await hand.settle(dead, Completed("late"))).answer == Refused(Refusal.STALE)
    await other.settle(taken, Completed("in time"))
    assert await undone(other, sql, run_id) == compensated(*reversed(range(position)))
    assert sql.events(run_id).count(f"step.compensated s{position}") == 1
    assert await tidy() == 1


@pytest.mark.parametrize("position", range(LENGTH))
async def test_a_worker_that_dies_at_any_step_loses_nothing_of_the_saga(
    make_engine, hand: Hand, sql: Sql, tidy, position: int
):
    """The step is executed again by another, fails there, and all before it is undone."""
    other = Hand(await make_engine(), "other")
    run_id = await hand.start(saga())
    for no in range(position):
        await hand.complete(run_id, f"s{no}")
    await hand.claim(run_id, f"s{position}")
    sql.do("UPDATE steps SET due_at = clock_timestamp() - interval '1 s' WHERE status = 'running'")
    await other.wake(run_id)
    await other.fail(run_id, f"s{position}")
    assert await undone(other, sql, run_id) == compensated(*reversed(range(position)))
    assert await tidy() == 1


async def test_a_compensation_that_takes_down_every_worker_is_poison(hand: Hand, client: AsyncClient, sql: Sql, tidy):
    """It ends the run like one that fails, with an incident for each of the two things."""
    run_id = await failing_at(hand, saga(2), 1)
    for _ in range(4):
        await hand.claim(run_id, "s0:compensate")
        sql.do("UPDATE steps SET due_at = clock_timestamp() - interval '1 s' WHERE status = 'running'")
        await hand.wake(run_id)
    run = await client.get(run_id)
    assert error_of(run)["details"]["not_undone"] == ["s0"]
    assert {one.kind for one in await client.incidents()} == {"poison_step", "compensation_failed"}
    await tidy()


@pytest.mark.parametrize("position", range(LENGTH))
async def test_a_cancelled_run_undoes_what_it_did_if_its_workflow_says_so(hand: Hand, sql: Sql, tidy, position: int):
    """The step that runs is stopped first, and is not undone unless it completed after all."""
    run_id = await hand.start(saga(on_cancel="compensate"))
    for no in range(position):
        await hand.complete(run_id, f"s{no}")
    claimed = await hand.claim(run_id, f"s{position}")
    await hand.cancel(run_id)
    assert sql.status(run_id) == "cancelling"
    await hand.settle(claimed, Cancelled() if position % 2 else Completed("after all"))
    last = position if position % 2 else position + 1
    assert await undone(hand, sql, run_id) == compensated(*reversed(range(last)))
    assert sql.status(run_id) == "cancelled"
    assert sql.counts("incidents") == 0
    assert await tidy() == 1


async def test_a_cancelled_run_undoes_nothing_unless_its_workflow_says_so(hand: Hand, sql: Sql, tidy):
    """Cancelling is not failing."""
    run_id = await hand.start(saga())
    await hand.complete(run_id, "s0")
    await hand.cancel(run_id)
    assert (sql.status(run_id), sql.steps(run_id)["s0"]) == ("cancelled", "completed")
    assert await tidy() == 1


@pytest.mark.parametrize("on_cancel", ["compensate", None])
async def test_a_run_that_takes_too_long_undoes_what_it_did_if_its_workflow_says_so(
    hand: Hand, sql: Sql, tidy, on_cancel: str | None
):
    """Its end is a failure by timeout either way."""
    more: dict[str, Any] = {"on_cancel": on_cancel} if on_cancel else {}
    run_id = await hand.start(saga(3, timeout="1h", **more))
    await hand.complete(run_id, "s0")
    await hand.complete(run_id, "s1")
    claimed = await hand.claim(run_id, "s2")
    sql.do("UPDATE runs SET deadline_at = clock_timestamp() - interval '1 s'")
    await hand.wake(run_id)
    await hand.settle(claimed, Cancelled())
    assert await undone(hand, sql, run_id) == (compensated(1, 0) if on_cancel else [])
    assert (sql.status(run_id), sql.value("SELECT error->>'code' FROM runs")) == ("failed", "RUN_TIMEOUT")
    assert await tidy() == 1


async def test_the_deadline_of_a_run_does_not_end_its_compensation(hand: Hand, sql: Sql, tidy):
    """A run that undoes what it did takes the time that needs."""
    run_id = await failing_at(hand, saga(2, timeout="1h"), 1)
    assert sql.value("SELECT deadline_at FROM runs") is None
    await hand.wake(run_id)
    assert await undone(hand, sql, run_id) == compensated(0)


async def test_steps_that_nothing_undoes_are_reported(hand: Hand, client: AsyncClient, sql: Sql, tidy):
    """Those that had an effect; what only computes has none."""
    steps = [
        step("pay", kind="http", config={"url": "http://127.0.0.1/pay"}, retry=ONCE),
        step("reserve", "pay", retry=ONCE, compensate=undo()),
        step("compute", "reserve", retry=ONCE),
        step("ship", "compute", retry=ONCE),
    ]
    run_id = await hand.start(workflow(*steps))
    for name in ("pay", "reserve", "compute"):
        await hand.complete(run_id, name)
    await hand.fail(run_id, "ship")
    assert await undone(hand, sql, run_id) == ["reserve:compensate"]
    (said,) = sql.rows("SELECT data->'steps', data->'not_reversible' FROM events WHERE type = 'workflow.compensating'")
    assert said == (["reserve"], ["pay"])
    run = await client.get(run_id)
    assert run.compensation is not None
    assert (run.compensation.status, run.compensation.not_reversible) == ("completed", ("pay",))
    await tidy()


async def test_cancel_is_refused_while_a_run_undoes_what_it_did(hand: Hand, sql: Sql, tidy):
    """Only by force is it left half undone, and then it is said what is left."""
    run_id = await failing_at(hand, saga(3), 2)
    claimed = await hand.claim(run_id, "s1:compensate")
    answer = (await hand.cancel(run_id)).answer
    assert isinstance(answer, Rejected)
    assert "--force" in answer.message
    assert isinstance((await hand.apply(run_id, CancelRequested("me", "enough", force=True))).answer, Accepted)
    assert sql.status(run_id) == "failed"
    assert sql.value("SELECT error->'details'->'not_undone' FROM runs") == ["s1", "s0"]
    assert (await hand.settle(claimed, Completed(1))).answer == Refused(Refusal.STALE)
    await tidy()


async def test_a_run_cannot_be_paused_while_it_undoes_what_it_did(hand: Hand, client: AsyncClient, sql: Sql):
    """Half undone is no state to leave a run in."""
    run_id = await failing_at(hand, saga(2), 1)
    with pytest.raises(Conflict, match="compensating"):
        await client.pause(run_id)


async def test_steps_that_ran_beside_each_other_are_undone_one_at_a_time(hand: Hand, sql: Sql, tidy):
    """In reverse of the order in which they completed."""
    steps = [step(name, retry=ONCE, compensate=undo()) for name in ("a", "b", "c")]
    run_id = await hand.start(workflow(*steps, step("end", "a", "b", "c", retry=ONCE)))
    for name in ("b", "c", "a"):
        await hand.complete(run_id, name)
    await hand.fail(run_id, "end")
    assert await undone(hand, sql, run_id) == ["a:compensate", "c:compensate", "b:compensate"]
    await tidy()


async def test_a_failure_waits_for_what_runs_and_undoes_that_too(hand: Hand, sql: Sql, tidy):
    """A sibling that completes while the run fails has had its effect."""
    steps = [step(name, retry=ONCE, compensate=undo()) for name in ("a", "b")]
    run_id = await hand.start(workflow(*steps))
    running = await hand.claim(run_id, "a")
    await hand.fail(run_id, "b")
    assert sql.status(run_id) == "running"
    await hand.settle(running, Completed(1))
    assert await undone(hand, sql, run_id) == ["a:compensate"]
    await tidy()


async def test_a_compensation_may_wait_for_its_retry_over_the_death_of_everything(hand: Hand, sql: Sql, tidy):
    """Its timer is a row like others."""
    run_id = await failing_at(hand, saga(2, undoing=undo(retry={"max_attempts": 2, "initial_delay": "1h"})), 1)
    await hand.settle(await hand.claim(run_id, "s0:compensate"), Failed(error(retryable=True)))
    assert isinstance((await hand.apply(run_id, Woke())).answer, Accepted)
    assert sql.steps(run_id)["s0:compensate"] == "waiting"
    sql.do("UPDATE steps SET due_at = clock_timestamp() - interval '1 s' WHERE status = 'waiting'")
    await hand.wake(run_id)
    assert await undone(hand, sql, run_id) == compensated(0)
    assert sql.value("SELECT max(now() - started_at) < interval '1 h' FROM steps") is True


async def test_items_of_a_foreach_are_undone_each_by_itself(hand: Hand, sql: Sql, tidy):
    """Those that completed, the last first."""
    inner = {"id": "one", **step("x", retry=ONCE, compensate=undo("item"))}
    each = step("each", kind="foreach", config={"items": "[1, 2, 3]", "max_parallel": 1, "step": inner})
    run_id = await hand.start(workflow(each, step("end", "each", retry=ONCE)))
    await hand.settle(await hand.claim(run_id, "each"), Expanded({"items": [1, 2, 3]}, 3))
    for item in range(3):
        await hand.complete(run_id, await only(hand, run_id), item)
    await hand.complete(run_id, "each", {"items": [1, 2, 3]})
    await hand.fail(run_id, "end")
    assert await undone(hand, sql, run_id) == [f"each[{item}]:compensate" for item in (2, 1, 0)]
    await tidy()


async def test_what_undoes_an_item_sees_the_item(start_worker, client: AsyncClient, at_rest):
    """Also when the whole foreach has completed, and its output has taken the place of its items."""
    inner = {"type": "transform", "config": {"expression": "item * 2"}, "compensate": undo("item")}
    each = step("each", kind="foreach", config={"items": "input.items", "step": inner})
    await start_worker()
    run = await client.run(workflow(each, step("end", "each", expression="1 / 0", retry=ONCE)), {"items": [7, 8]})
    run = await client.wait(run.id, timeout=60)
    assert error_of(run)["step"] == "end", error_of(run)
    assert run.compensation is not None
    assert {one.id: one.output for one in run.compensation.steps} == {
        "each[0]:compensate": {"result": 7},
        "each[1]:compensate": {"result": 8},
    }
    assert await at_rest() == 1


async def test_a_compensation_has_a_timeout_of_its_own(start_worker, client: AsyncClient, at_rest):
    """One that hangs is stopped, and then it has failed."""
    slow = {"type": "http", "config": {"url": "http://127.0.0.1/"}, "timeout": "200ms", "retry": ONCE}
    steps = [step("a", retry=ONCE, compensate=slow), step("b", "a", expression="1 / 0", retry=ONCE)]
    run = await client.run(workflow(*steps))
    held = Held()
    await start_worker(executors=Scripted(http=held))
    run = await client.wait(run.id, timeout=60)
    assert error_of(run)["code"] == "COMPENSATION_FAILED"
    assert [one.step.id for one in held.cancelled] == ["a:compensate"]
    assert await at_rest() == 1


async def only(hand: Hand, run_id: UUID) -> int:
    """Return the number of the one step that is queued."""
    (no,) = await hand.queued(run_id)
    return no
