"""Pause, resume, skip, cancel by force, retry with another version, replay, incidents: what operators do to runs."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from flowforge.client import AsyncClient
from flowforge.errors import Conflict, InputError, NotFound, UsageError
from flowforge.model.facts import Refusal, Refused
from flowforge.model.outcome import Completed, Failed, Outcome, Waiting
from tests.support.definitions import Definition, chain, step, workflow
from tests.support.documents import error_of, steps_of
from tests.support.eventually import eventually
from tests.support.executors import Counting, Held, Scripted
from tests.support.hand import Hand, error
from tests.support.sql import Sql

ONCE = {"max_attempts": 1}


@pytest.fixture
def tidy(sql: Sql, at_rest):
    """Check the invariants of what was played without a relay."""

    async def check(**how: Any) -> int:
        sql.do("DELETE FROM outbox")
        count: int = await at_rest(**how)
        return count

    return check


def said(sql: Sql, run_id: UUID, kind: str) -> list[tuple[Any, ...]]:
    """Return the actor and the reason of each event of a type."""
    query = "SELECT data->>'actor', data->>'reason' FROM events WHERE run_id = %s AND type = %s ORDER BY seq"
    return sql.rows(query, run_id, kind)


# -- pause and resume ----------------------------------------------------------------------------------------


async def test_nothing_starts_in_a_paused_run(hand: Hand, client: AsyncClient, sql: Sql, tidy):
    """What runs ends and is recorded; what follows is dispatched when the run is resumed."""
    run_id = await hand.start(chain(2))
    claimed = await hand.claim(run_id, "s0")
    await client.pause(run_id, reason="bank holiday")
    await hand.settle(claimed, Completed(1), lanes=["default"])
    assert (sql.status(run_id), sql.steps(run_id)) == ("paused", {"s0": "completed", "s1": "queued"})
    assert (await hand.claim(run_id, "s1")).answer == Refused(Refusal.PAUSED)
    await client.resume(run_id, reason="it is over")
    await hand.complete(run_id, "s1")
    assert sql.status(run_id) == "completed"
    assert said(sql, run_id, "workflow.paused") == [(client.actor(), "bank holiday")]
    assert said(sql, run_id, "workflow.resumed") == [(client.actor(), "it is over")]
    await tidy()


async def test_pausing_and_resuming_twice_changes_nothing(hand: Hand, client: AsyncClient, sql: Sql):
    """Both are accepted again, and leave no second event."""
    run_id = await hand.start(chain(1))
    for verb, status in ((client.pause, "paused"), (client.resume, "running")):
        for _ in range(2):
            assert (await verb(run_id)).status == status
    events = sql.events(run_id)
    assert (events.count("workflow.paused"), events.count("workflow.resumed")) == (1, 1)


async def test_the_deadline_of_a_paused_run_stands_still(hand: Hand, client: AsyncClient, sql: Sql):
    """It is as much later as the run was held."""
    run_id = await hand.start(chain(1, timeout="1h"))
    await client.pause(run_id)
    sql.do("UPDATE runs SET deadline_at = clock_timestamp() - interval '1 s', wake_at = clock_timestamp()")
    await hand.wake(run_id)
    assert sql.status(run_id) == "paused"
    sql.do("UPDATE run_events SET at = at - interval '10 minutes' WHERE events::text LIKE '%workflow.paused%'")
    await client.resume(run_id)
    assert sql.status(run_id) == "running"
    assert sql.value("SELECT deadline_at > clock_timestamp() + interval '9 minutes' FROM runs") is True


async def test_a_run_that_fails_while_it_is_paused_ends_when_it_is_resumed(
    hand: Hand, client: AsyncClient, sql: Sql, tidy
):
    """And undoes nothing before that."""
    undo = {"type": "transform", "config": {"expression": "1"}}
    run_id = await hand.start(workflow(step("a", compensate=undo), step("b", "a", retry=ONCE)))
    await hand.complete(run_id, "a")
    claimed = await hand.claim(run_id, "b")
    await client.pause(run_id)
    await hand.settle(claimed, Failed(error()))
    assert sql.status(run_id) == "paused"
    await client.resume(run_id)
    assert sql.status(run_id) == "compensating"
    await hand.complete(run_id, "a:compensate")
    assert sql.status(run_id) == "failed"
    await tidy()


async def test_a_paused_run_can_be_cancelled(hand: Hand, client: AsyncClient, sql: Sql, tidy):
    """At once, where nothing runs."""
    run_id = await hand.start(chain(1))
    await client.pause(run_id)
    assert (await client.cancel(run_id)).status == "cancelled"
    await tidy()


async def test_timers_of_a_paused_run_go_on_and_nothing_follows(hand: Hand, client: AsyncClient, sql: Sql, tidy):
    """A delay ends, and what comes behind it starts when the run is resumed."""
    run_id = await hand.start(chain(2))
    await hand.settle(await hand.claim(run_id, "s0"), Waiting(timedelta(hours=1)))
    await client.pause(run_id)
    sql.do("UPDATE steps SET due_at = clock_timestamp() - interval '1 s'")
    sql.do("DELETE FROM outbox")
    await hand.wake(run_id)
    assert sql.steps(run_id) == {"s0": "completed", "s1": "queued"}
    assert sql.counts("outbox") == 0
    await client.resume(run_id)
    assert sql.counts("outbox") == 1
    await hand.finish(run_id)
    assert sql.status(run_id) == "completed"


@pytest.mark.parametrize("end", ["completed", "failed", "cancelled", "pending"])
async def test_only_a_running_run_can_be_paused_or_resumed(hand: Hand, client: AsyncClient, sql: Sql, end: str):
    """The conflict says what it is instead."""
    run_id = await hand.start(chain(1, limit=1))
    if end == "pending":
        run_id = await hand.start(chain(1, limit=1))
    elif end == "failed":
        await hand.fail(run_id, 0)
    elif end == "cancelled":
        await hand.cancel(run_id)
    else:
        await hand.finish(run_id)
    for verb in (client.pause, client.resume):
        with pytest.raises(Conflict, match=f"the run is {end}"):
            await verb(run_id)


# -- skip ----------------------------------------------------------------------------------------------------


async def test_a_step_that_has_not_started_is_skipped(hand: Hand, client: AsyncClient, sql: Sql, tidy):
    """What follows it runs, and it says who skipped it and why; the second time changes nothing."""
    run_id = await hand.start(chain(3))
    for _ in range(2):
        await client.skip(run_id, "s1", reason="not needed")
    await hand.complete(run_id, "s0")
    assert sql.steps(run_id) == {"s0": "completed", "s1": "skipped", "s2": "queued"}
    assert said(sql, run_id, "step.skipped") == [(client.actor(), "not needed")]
    await hand.complete(run_id, "s2")
    assert sql.status(run_id) == "completed"
    await tidy()


async def test_the_step_that_ended_a_run_is_skipped_and_the_run_goes_on(
    hand: Hand, client: AsyncClient, sql: Sql, tidy
):
    """As if it had been skipped in the first place."""
    run_id = await hand.start(chain(3))
    await hand.complete(run_id, "s0")
    await hand.fail(run_id, "s1")
    run = await client.skip(run_id, "s1", reason="done by hand")
    assert run.status == "running"
    await hand.complete(run_id, "s2")
    assert sql.status(run_id) == "completed"
    assert sql.steps(run_id)["s1"] == "skipped"
    await tidy()


async def test_a_step_that_runs_or_is_done_cannot_be_skipped(hand: Hand, client: AsyncClient, sql: Sql):
    """The conflict says why, and what to do instead."""
    run_id = await hand.start(chain(2))
    await hand.claim(run_id, "s0")
    with pytest.raises(Conflict, match="is running; wait for it, or cancel the run"):
        await client.skip(run_id, "s0")
    second = await hand.start(chain(2))
    await hand.complete(second, "s0")
    with pytest.raises(Conflict, match="already completed"):
        await client.skip(second, "s0")
    with pytest.raises(NotFound, match="has no step 's9'"):
        await client.skip(second, "s9")


# -- cancel by force -----------------------------------------------------------------------------------------


async def test_cancel_by_force_does_not_wait_for_what_runs(hand: Hand, client: AsyncClient, sql: Sql, tidy):
    """What the attempt says afterwards comes too late."""
    run_id = await hand.start(chain(2))
    claimed = await hand.claim(run_id, "s0")
    run = await client.cancel(run_id, force=True, reason="its host is gone")
    assert run.status == "cancelled"
    assert (await hand.settle(claimed, Completed(1))).answer == Refused(Refusal.STALE)
    assert sql.steps(run_id)["s0"] == "cancelled"
    await tidy()


async def test_force_ends_a_run_that_is_being_cancelled(hand: Hand, client: AsyncClient, sql: Sql, tidy):
    """The first cancel still waits for the attempt."""
    run_id = await hand.start(chain(1))
    await hand.claim(run_id, "s0")
    assert (await client.cancel(run_id)).status == "cancelling"
    assert (await client.cancel(run_id, force=True)).status == "cancelled"
    await tidy()


# -- retry with another version ------------------------------------------------------------------------------


async def test_a_failed_run_goes_on_with_another_version(start_worker, client: AsyncClient, sql: Sql, at_rest):
    """Steps are known by their ids: what completed stays, whatever their numbers are now."""
    first = workflow(step("a", expression="'kept'"), step("b", "a", expression="1 / 0", retry=ONCE), step("c", "b"))
    await start_worker()
    run = await client.run(first)
    assert (await client.wait(run.id, timeout=60)).status == "failed"
    second = workflow(
        step("new", expression="'new'"), step("b", "a", "new", expression="'mended'"), step("a", expression="'again'")
    )
    published = await client.publish(second)
    await client.retry(run.id, to_version=published.version, reason="the fix is published")
    run = await client.wait(run.id, timeout=60)
    assert (run.status, run.version) == ("completed", 2)
    assert {one.id: one.output for one in steps_of(run)} == {
        "new": {"result": "new"},
        "b": {"result": "mended"},
        "a": {"result": "kept"},
    }
    query = "SELECT data->>'version', data->>'reason' FROM events WHERE type = 'workflow.retried'"
    assert sql.rows(query) == [("2", "the fix is published")]
    await at_rest()


async def test_a_step_that_changed_its_type_is_executed_anew(hand: Hand, client: AsyncClient, sql: Sql, tidy):
    """Its attempts go on counting, and what it came to does not count."""
    run_id = await hand.start(workflow(step("a"), step("b", "a", retry=ONCE)))
    await hand.complete(run_id, "a", "old")
    await hand.fail(run_id, "b")
    changed = step("a", kind="http", config={"url": "http://127.0.0.1/"})
    await client.publish(workflow(changed, step("b", "a", retry=ONCE)))
    await client.retry(run_id, to_version=2)
    assert sql.steps(run_id) == {"a": "queued", "b": "pending"}
    claimed = await hand.claim(run_id, "a")
    assert claimed.assignment is not None
    assert (claimed.assignment.attempt, claimed.assignment.token) == (2, 2)
    await hand.settle(claimed, Completed("new"))
    await hand.finish(run_id)
    await tidy()


async def test_a_retry_that_is_refused_moves_nothing(hand: Hand, client: AsyncClient, sql: Sql):
    """Neither where the run goes on, nor where the step to start from is unknown, nor the version."""
    run_id = await hand.start(chain(1))
    await client.publish(chain(2))
    with pytest.raises(Conflict, match="only a failed or cancelled run"):
        await client.retry(run_id, to_version=2)
    await hand.fail(run_id, "s0")
    with pytest.raises(NotFound, match="has no step 'nope'"):
        await client.retry(run_id, to_version=2, from_step="nope")
    with pytest.raises(NotFound, match="no version 9"):
        await client.retry(run_id, to_version=9)
    assert (await client.get(run_id)).version == 1


async def test_an_attempt_of_the_version_before_settles_nothing(hand: Hand, client: AsyncClient, sql: Sql):
    """Its step's number and token may be those of another step now."""
    run_id = await hand.start(workflow(step("a"), step("b", "a")))
    old = await hand.claim(run_id, "a")
    await client.cancel(run_id, force=True)
    await client.publish(workflow(step("other"), step("b", "other")))
    await client.retry(run_id, to_version=2)
    new = await hand.claim(run_id, "other")
    assert new.assignment is not None
    assert old.assignment is not None
    assert (new.assignment.step.no, new.assignment.token) == (old.assignment.step.no, old.assignment.token)
    assert (await hand.settle(old, Completed("stale"))).answer == Refused(Refusal.STALE)
    assert sql.steps(run_id)["other"] == "running"
    await hand.settle(new, Completed("fresh"))
    assert sql.steps(run_id)["other"] == "completed"


# -- replay --------------------------------------------------------------------------------------------------


async def test_a_replay_is_a_new_run_that_knows_the_old_one(start_worker, client: AsyncClient, at_rest):
    """With its input, some of it changed if asked for; the old one stays as it is."""
    await start_worker()
    run = await client.run(workflow(step("a", expression="input.order.n * 2")), {"order": {"n": 1, "id": "x"}})
    run = await client.wait(run.id, timeout=60)
    again = await client.replay(run.id, changes={"input.order.n": 5})
    again = await client.wait(again.id, timeout=60)
    assert (again.replay_of, again.trigger) == (run.id, "replay")
    assert (again.input, again.output) == ({"order": {"n": 5, "id": "x"}}, {"a": {"result": 10}})
    assert (await client.get(run.id)).input == {"order": {"n": 1, "id": "x"}}
    assert await at_rest() == 2


async def test_a_rehearsal_does_nothing_and_says_what_would_differ(start_worker, client: AsyncClient, sql: Sql):
    """Effects are stubbed with what was recorded; what only computes is computed."""
    counting = Counting(lambda _: Completed({"price": 10}))
    await start_worker(executors=Scripted(http=counting))
    config = {"url": "http://x"}
    definition = workflow(
        step("price", kind="http", config=config),
        step("total", "price", expression="steps.price.output.price * input.n"),
        step("pay", "total", kind="http", config=config),
    )
    run = await client.run(definition, {"n": 2})
    run = await client.wait(run.id, timeout=60)
    counting.executed.clear()
    assert (await client.rehearse(run.id)).same
    other = await client.rehearse(run.id, changes={"n": 3})
    assert not other.same
    totals = {one.id: (one.source, one.output_before, one.output_after) for one in other.steps}
    assert totals["total"] == ("computed", {"result": 20}, {"result": 30})
    assert totals["pay"][0] == "recorded"
    assert counting.executed == []
    assert sql.counts("runs") == 1


async def test_a_replay_that_makes_no_sense_is_refused(hand: Hand, client: AsyncClient, sql: Sql):
    """With what is wrong with it, and without a run."""
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}}
    run_id = await hand.start(chain(1, input_schema=schema), {"n": 1})
    with pytest.raises(InputError):
        await client.replay(run_id, changes={"n": "text"})
    with pytest.raises(UsageError, match="is not in the input"):
        await client.replay(run_id, changes={"n.deep": 1})
    with pytest.raises(NotFound, match="has no step"):
        await client.replay(run_id, from_step="nope")
    with pytest.raises(NotFound, match="no version 7"):
        await client.replay(run_id, version=7)
    assert sql.counts("runs") == 1


async def test_what_a_replay_did_not_do_it_does_not_undo(hand: Hand, client: AsyncClient, sql: Sql, tidy):
    """The effect of a recorded step belongs to the other run."""
    undo = {"type": "transform", "config": {"expression": "1"}}
    steps = [
        step("a", retry=ONCE, compensate=undo),
        step("b", "a", retry=ONCE, compensate=undo),
        step("c", "b", retry=ONCE),
    ]
    run_id = await hand.start(workflow(*steps))
    for name in ("a", "b", "c"):
        await hand.complete(run_id, name)
    again = await client.replay(run_id, from_step="b")
    await hand.complete(again.id, "b")
    await hand.fail(again.id, "c")
    assert [sql.steps(again.id)[name] for name in ("a", "b:compensate")] == ["completed", "queued"]
    await hand.complete(again.id, "b:compensate")
    assert sql.status(again.id) == "failed"
    await tidy()


# -- error handling ------------------------------------------------------------------------------------------


async def test_a_failure_that_is_continued_from_is_in_the_context(start_worker, client: AsyncClient, at_rest):
    """Under `steps.<id>.error`; per step, or for the whole workflow."""
    bad = step("a", expression="1 / 0", retry=ONCE)
    after = step("b", "a", expression="steps.a.error.code")
    await start_worker()
    for definition in (
        workflow({**bad, "on_error": "continue"}, after, name="by-step"),
        workflow(bad, after, name="by-workflow", error_handling={"on_error": "continue"}),
    ):
        run = await client.run(definition)
        run = await client.wait(run.id, timeout=60)
        assert (run.status, run.output) == ("completed", {"b": {"result": "EXPRESSION_ERROR"}}), run.error
        assert steps_of(run)[0].status == "failed"
    await at_rest()


async def test_a_failure_that_is_skipped_over_skips_only_its_step(start_worker, client: AsyncClient, at_rest):
    """What follows runs."""
    await start_worker()
    bad = step("a", expression="1 / 0", retry=ONCE, on_error="skip")
    run = await client.run(workflow(bad, step("b", "a", expression="'went on'")))
    run = await client.wait(run.id, timeout=60)
    assert (run.status, run.output) == ("completed", {"b": {"result": "went on"}})
    assert steps_of(run)[0].status == "skipped"
    await at_rest()


async def test_retry_as_error_handling_takes_the_policy_of_the_workflow(start_worker, client: AsyncClient, at_rest):
    """`on_error: retry`."""
    outcomes: Iterator[Outcome] = iter(
        [Failed(error(retryable=True)), Failed(error(retryable=True)), Completed("third time lucky")]
    )
    await start_worker(executors=Scripted(http=Counting(lambda _: next(outcomes))))
    call = step("a", kind="http", config={"url": "http://x"})
    policy = {"max_attempts": 3, "initial_delay": "1ms", "jitter": False}
    run = await client.run(workflow(call, error_handling={"on_error": "retry"}, retry=policy))
    run = await client.wait(run.id, timeout=60)
    assert (run.status, steps_of(run)[0].attempts) == ("completed", 3)
    await at_rest()


async def test_all_attempts_together_may_take_only_so_long(hand: Hand, client: AsyncClient, sql: Sql, tidy):
    """`max_elapsed`: a retry that would come after that does not come."""
    policy = {"max_attempts": 9, "initial_delay": "1h", "max_delay": "1h", "jitter": False, "max_elapsed": "90m"}
    run_id = await hand.start(workflow(step("a", retry=policy)))
    await hand.settle(await hand.claim(run_id, "a"), Failed(error(retryable=True)))
    assert sql.steps(run_id) == {"a": "waiting"}
    sql.do(
        """UPDATE steps SET due_at = clock_timestamp() - interval '1 s',
           error = jsonb_set(error, '{since}', to_jsonb(clock_timestamp() - interval '1 hour'))"""
    )
    await hand.wake(run_id)
    await hand.settle(await hand.claim(run_id, "a"), Failed(error(retryable=True)))
    run = await client.get(run_id)
    assert run.status == "failed"
    assert "max_elapsed" in error_of(run)["hint"]


@pytest.mark.parametrize("limit", [0, 2])
async def test_lost_workers_are_counted_apart_from_failures(
    hand: Hand, client: AsyncClient, sql: Sql, tidy, limit: int
):
    """`max_crashes` of them make a step poison, and cost no attempt of its policy."""
    run_id = await hand.start(workflow(step("a", retry={"max_attempts": 1, "max_crashes": limit})))
    for no in range(limit + 1):
        await hand.claim(run_id, "a")
        assert sql.status(run_id) == "running", no
        sql.do("UPDATE steps SET due_at = clock_timestamp() - interval '1 s'")
        await hand.wake(run_id)
    run = await client.get(run_id)
    assert (run.status, error_of(run)["code"]) == ("failed", "POISON")
    assert sql.rows("SELECT kind FROM incidents") == [("poison_step",)]
    await tidy()


async def test_a_parallel_step_that_does_not_wait_stops_the_others(start_worker, client: AsyncClient, at_rest):
    """`wait_for_all: false`: the first failure ends it, and what runs beside that is stopped."""
    held = Held()
    await start_worker(executors=Scripted(http=held))
    slow: Definition = {"id": "slow", "type": "http", "config": {"url": "http://x"}, "retry": ONCE}
    start: Definition = {"id": "start", "type": "wait_signal", "config": {}}
    bad = step("bad", "start", expression="1 / 0", retry=ONCE)
    both = step("both", kind="parallel", config={"wait_for_all": False, "steps": [slow, start, bad]})
    run = await client.run(workflow(both))
    await eventually(lambda: held.started, what="the slow one runs")
    await client.signal(run.id, "both.start")
    run = await client.wait(run.id, timeout=60)
    assert error_of(run)["code"] == "PARALLEL_FAILED"
    assert [one.step.id for one in held.cancelled] == ["both.slow"]
    await at_rest()


# -- incidents -----------------------------------------------------------------------------------------------


async def test_the_same_thing_over_and_over_is_one_incident_that_counts(hand: Hand, client: AsyncClient, sql: Sql):
    """Once it is resolved, the next time opens another."""
    runs = await hand.start_many(chain(1), 3)
    for run_id in runs:
        await hand.fail(run_id, 0)
    (incident,) = await client.incidents()
    assert (incident.kind, incident.step, incident.count) == ("irrecoverable_error", "s0", 3)
    assert incident.run_id == runs[-1]
    resolved = await client.resolve_incident(incident.id, resolution="mended")
    assert (resolved.resolved_by, resolved.resolution) == (client.actor(), "mended")
    with pytest.raises(Conflict, match="was resolved by"):
        await client.resolve_incident(incident.id)
    await hand.fail(await hand.start(chain(1)), 0)
    assert [one.count for one in await client.incidents()] == [1]
    assert len(await client.incidents(resolved=True)) == 2
    with pytest.raises(NotFound):
        await client.incident(99)
