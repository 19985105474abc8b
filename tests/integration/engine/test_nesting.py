"""Runs that steps of other runs start: one for each attempt that counts, and cancelled with their parent."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest

from flowforge.client import AsyncClient
from flowforge.engine.children import Children
from flowforge.model.outcome import Completed, Failed, Outcome
from flowforge.steps.base import Report
from tests.support.definitions import Definition, step, workflow
from tests.support.documents import error_of, steps_of
from tests.support.eventually import eventually
from tests.support.executors import Counting, Scripted
from tests.support.hand import Hand, error
from tests.support.sql import Sql

ONCE = {"max_attempts": 1}
AGAIN = {"max_attempts": 3, "initial_delay": "1ms", "jitter": False, "retry_on": ["CHILD_FAILED"]}
REPORT = Report(lambda _: None, lambda _: None)
#: Ends when a signal comes.
ENDLESS = step("hold", kind="wait_signal", config={})


def calling(step_id: str, target: str, *after: str, retry: Any = ONCE, **config: Any) -> Definition:
    """Make a step that starts a run."""
    return step(step_id, *after, kind="workflow", config={"name": target, **config}, retry=retry)


def tree(sql: Sql) -> list[tuple[str, str]]:
    """Return the name and status of every run, oldest first."""
    return sql.rows("SELECT w.name, r.status::text FROM runs r JOIN workflows w ON w.id = r.workflow_id ORDER BY r.id")


async def below(sql: Sql, name: str, status: str = "running") -> UUID:
    """Wait for a run of a workflow in a status; return its id."""
    query = """SELECT r.id FROM runs r JOIN workflows w ON w.id = r.workflow_id
               WHERE w.name = %s AND r.status::text = %s ORDER BY r.id DESC LIMIT 1"""
    rows = await eventually(lambda: sql.rows(query, name, status), what=f"a run of {name} is {status}")
    found: UUID = rows[0][0]
    return found


async def test_a_child_gives_its_output_to_the_step(start_worker, client: AsyncClient, at_rest, sql: Sql):
    """With its id and version; it knows its parent."""
    await client.publish(workflow(step("double", expression="input.n * 2"), name="child-flow"))
    await start_worker()
    run = await client.run(workflow(calling("call", "child-flow", input={"n": "{{ input.n }}"})), {"n": 21})
    run = await client.wait(run.id, timeout=60)
    assert run.status == "completed", run.error
    output = steps_of(run)[0].output
    assert isinstance(output, dict)
    assert (output["workflow"], output["version"]) == ("child-flow", 1)
    assert output["output"] == {"double": {"result": 42}}
    child = await client.get(output["run_id"])
    assert (child.parent, child.trigger) == ((run.id, "call"), "workflow")
    assert await at_rest() == 2


async def test_runs_nested_three_deep_are_cancelled_from_the_top(start_worker, client: AsyncClient, at_rest, sql: Sql):
    """Every one of them, and who cancelled them is written in each."""
    await client.publish(workflow(ENDLESS, name="level-three"))
    await client.publish(workflow(calling("down", "level-three"), name="level-two"))
    await client.publish(workflow(calling("down", "level-two"), name="level-one"))
    await start_worker()
    run = await client.run("level-one")
    last = await below(sql, "level-three")
    await eventually(lambda: sql.steps(last) == {"hold": "waiting"}, what="the last one waits")
    await client.cancel(run.id, reason="enough")
    await eventually(lambda: {status for _, status in tree(sql)} == {"cancelled"}, what="all are cancelled")
    assert [name for name, _ in tree(sql)] == ["level-one", "level-two", "level-three"]
    assert await at_rest() == 3


async def test_a_child_stays_on_the_version_it_was_started_with(start_worker, client: AsyncClient, at_rest, sql: Sql):
    """Also when a newer one is published meanwhile, and when the step's policy starts another run."""
    bad = step("bad", "hold", kind="http", config={"url": "http://x"}, retry=ONCE)
    await client.publish(workflow(ENDLESS, bad, name="child-flow"))
    outcomes: Iterator[Outcome] = iter([Failed(error()), Completed("well")])
    await start_worker(executors=Scripted(http=Counting(lambda _: next(outcomes))))
    run = await client.run(workflow(calling("call", "child-flow", retry=AGAIN)))
    first = await below(sql, "child-flow")
    await client.publish(workflow(step("other"), name="child-flow"))
    await client.signal(first, "hold")
    await below(sql, "child-flow", "failed")
    second = await below(sql, "child-flow")
    await client.signal(second, "hold")
    run = await client.wait(run.id, timeout=60)
    output = steps_of(run)[0].output
    assert isinstance(output, dict)
    assert (output["run_id"], output["version"]) == (str(second), 1)
    await at_rest()


async def test_a_version_may_be_named(start_worker, client: AsyncClient, at_rest):
    """`name@version`, or `version` beside the name."""
    for text in ("'one'", "'two'"):
        await client.publish(workflow(step("a", expression=text), name="child-flow"))
    await start_worker()
    run = await client.run(workflow(calling("x", "child-flow@1"), calling("y", "child-flow", version=1)))
    run = await client.wait(run.id, timeout=60)
    outputs: list[Any] = [one.output for one in steps_of(run)]
    assert [one["output"] for one in outputs] == [{"a": {"result": "one"}}] * 2
    await at_rest()


async def test_a_child_that_fails_fails_the_step_with_its_reason(start_worker, client: AsyncClient, at_rest):
    """CHILD_FAILED names the run, and quotes its error."""
    await client.publish(workflow(step("bad", expression="1 / 0", retry=ONCE), name="child-flow"))
    await start_worker()
    run = await client.run(workflow(calling("call", "child-flow")))
    run = await client.wait(run.id, timeout=60)
    found = error_of(run)
    assert found["code"] == "CHILD_FAILED"
    child = await client.get(found["details"]["run_id"])
    assert (child.status, found["details"]["error"]) == ("failed", child.error)
    await at_rest()


async def test_an_operators_retry_starts_another_child(start_worker, client: AsyncClient, at_rest, sql: Sql):
    """The one that failed is kept, and belongs to the step no more."""
    await client.publish(workflow(step("bad", kind="http", config={"url": "http://x"}, retry=ONCE), name="child-flow"))
    outcomes: Iterator[Outcome] = iter([Failed(error()), Completed("well")])
    await start_worker(executors=Scripted(http=Counting(lambda _: next(outcomes))))
    run = await client.run(workflow(calling("call", "child-flow")))
    assert (await client.wait(run.id, timeout=60)).status == "failed"
    await client.retry(run.id)
    run = await client.wait(run.id, timeout=60)
    assert run.status == "completed", run.error
    assert [status for name, status in tree(sql) if name == "child-flow"] == ["failed", "completed"]
    await at_rest()


async def test_a_retry_by_policy_starts_another_child(start_worker, client: AsyncClient, at_rest, sql: Sql):
    """Where the step says that a failed child is worth another one."""
    await client.publish(workflow(step("bad", kind="http", config={"url": "http://x"}, retry=ONCE), name="child-flow"))
    outcomes: Iterator[Outcome] = iter([Failed(error()), Failed(error()), Completed("well")])
    await start_worker(executors=Scripted(http=Counting(lambda _: next(outcomes))))
    run = await client.run(workflow(calling("call", "child-flow", retry=AGAIN)))
    run = await client.wait(run.id, timeout=60)
    assert run.status == "completed", run.error
    assert [status for name, status in tree(sql) if name == "child-flow"] == ["failed", "failed", "completed"]
    assert steps_of(run)[0].attempts == 3
    await at_rest()


async def test_an_attempt_that_is_lost_adopts_the_run_it_finds(
    start_worker, client: AsyncClient, hand: Hand, at_rest, sql: Sql
):
    """Its worker died after it had started one: there is no second."""
    await client.publish(workflow(ENDLESS, name="child-flow"))
    run_id = await hand.start(workflow(calling("call", "child-flow")))
    claimed = await hand.claim(run_id, "call")
    assert claimed.assignment is not None
    children = _children(hand)
    await children.run(claimed.assignment, REPORT)
    assert len(tree(sql)) == 2
    sql.do("UPDATE steps SET due_at = clock_timestamp() - interval '1 s' WHERE run_id = %s", run_id)
    await hand.wake(run_id)
    await start_worker()
    child = await below(sql, "child-flow")
    await eventually(lambda: sql.steps(child) == {"hold": "waiting"}, what="the child waits")
    await client.signal(child, "hold", "go")
    run = await client.wait(run_id, timeout=60)
    assert run.status == "completed"
    assert len(tree(sql)) == 2
    assert await at_rest() == 2


async def test_a_child_whose_parent_ended_unheard_is_swept(
    start_worker, client: AsyncClient, hand: Hand, sql: Sql, monkeypatch: pytest.MonkeyPatch
):
    """Whoever cancelled the parent died before it could say so."""
    monkeypatch.setattr("flowforge.engine.sweeper.ORPHANS_EVERY", 1)
    await client.publish(workflow(ENDLESS, name="child-flow"))
    run_id = await hand.start(workflow(calling("call", "child-flow")))
    claimed = await hand.claim(run_id, "call")
    assert claimed.assignment is not None
    await _children(hand).run(claimed.assignment, REPORT)
    sql.do("UPDATE runs SET status = 'cancelled', finished_at = clock_timestamp() WHERE id = %s", run_id)
    await start_worker()
    await eventually(lambda: ("child-flow", "cancelled") in tree(sql), what="the child is cancelled")


async def test_a_parent_that_takes_too_long_takes_its_child_with_it(
    start_worker, client: AsyncClient, at_rest, sql: Sql
):
    """A step has the timeout of its definition, whatever its child does."""
    await client.publish(workflow(ENDLESS, name="child-flow"))
    await start_worker()
    run = await client.run(workflow({**calling("call", "child-flow"), "timeout": "200ms"}))
    run = await client.wait(run.id, timeout=60)
    assert error_of(run)["code"] == "TIMEOUT"
    await eventually(lambda: ("child-flow", "cancelled") in tree(sql), what="the child is cancelled")
    await at_rest()


async def test_a_workflow_that_starts_itself_ends(start_worker, client: AsyncClient, at_rest, sql: Sql):
    """At a depth that is said."""
    await client.publish(workflow(calling("call", "endless-flow"), name="endless-flow"))
    await start_worker()
    run = await client.run("endless-flow")
    run = await client.wait(run.id, timeout=60)
    assert run.status == "failed"
    assert len(tree(sql)) == 11
    deepest = sql.value("SELECT error->>'code' FROM runs ORDER BY id DESC LIMIT 1")
    assert deepest == "CHILD_TOO_DEEP"
    assert await at_rest() == 11


async def test_items_start_runs_of_their_own(start_worker, client: AsyncClient, at_rest, sql: Sql):
    """Each knows the step that started it, and all are cancelled with the parent."""
    await client.publish(workflow(ENDLESS, name="child-flow"))
    await start_worker()
    each = step("each", kind="foreach", config={"items": "[1, 2, 3]", "step": calling("one", "child-flow")})
    run = await client.run(workflow(each))
    await eventually(lambda: len(tree(sql)) == 4, what="three children")
    children = [row[0] for row in sql.rows("SELECT id FROM runs WHERE parent_run_id IS NOT NULL ORDER BY id")]
    parents = {(await client.get(child)).parent for child in children}
    assert parents == {(run.id, f"each[{no}]") for no in range(3)}
    await client.cancel(run.id)
    await eventually(lambda: {status for _, status in tree(sql)} == {"cancelled"}, what="all are cancelled")
    assert await at_rest() == 4


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"target": "no-such-flow"}, "there is no published workflow 'no-such-flow'"),
        ({"target": "child-flow@9"}, "there is no published workflow 'child-flow@9'"),
        ({"target": "child-flow", "input": {"n": "text"}}, "input"),
    ],
)
async def test_a_child_that_cannot_start_fails_the_step(start_worker, client: AsyncClient, at_rest, config, message):
    """And says what is wrong."""
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}}
    await client.publish(workflow(step("a"), name="child-flow", input_schema=schema))
    await start_worker()
    run = await client.run(workflow(calling("call", **config)))
    run = await client.wait(run.id, timeout=60)
    assert run.status == "failed"
    assert message in error_of(run)["message"]
    await at_rest()


def _children(hand: Hand) -> Children:
    return Children(hand.engine, lambda _: None)
