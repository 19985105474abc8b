"""A foreach: its items in order, never more of them at once than allowed, and a retry repeats only what failed."""

from __future__ import annotations

import random
from collections import defaultdict
from typing import Any
from uuid import UUID

import pytest

from flowforge.client import AsyncClient
from flowforge.model.outcome import Completed, Expanded, Failed
from tests.support.definitions import Definition, step, workflow
from tests.support.documents import error_of, steps_of
from tests.support.hand import Hand, error
from tests.support.sql import Sql

ONCE = {"max_attempts": 1}


def each(items: str, expression: str = "item", *, inner: Definition | None = None, **config: Any) -> Definition:
    """Make a foreach of one step."""
    settings = {name: config.pop(name) for name in ("on_error",) if name in config}
    body = inner or {"type": "transform", "config": {"expression": expression}, "retry": ONCE}
    return step("each", kind="foreach", config={"items": items, "step": body, **config}, **settings)


def most_at_once(sql: Sql, run_id: UUID) -> int:
    """Return how many items were ever worked on at once, from the history."""
    query = "SELECT type, step FROM events WHERE run_id = %s AND step LIKE 'each[%%' ORDER BY seq"
    active: defaultdict[str, set[str]] = defaultdict(set)
    most = 0
    for kind, name in sql.rows(query, run_id):
        item = name.partition("]")[0]
        if kind == "step.queued":
            active[item].add(name)
        elif kind in ("step.completed", "step.failed", "step.cancelled", "step.skipped"):
            active[item].discard(name)
        most = max(most, sum(map(bool, active.values())))
    return most


async def begun(hand: Hand, definition: Definition, count: int) -> UUID:
    """Start a run, and let its foreach find its items."""
    run_id = await hand.start(definition)
    await hand.settle(await hand.claim(run_id, "each"), Expanded({"items": list(range(count))}, count))
    return run_id


@pytest.fixture
def tidy(sql: Sql, at_rest):
    """Check the invariants of what was played without a relay."""

    async def check(**how: Any) -> int:
        sql.do("DELETE FROM outbox")
        count: int = await at_rest(**how)
        return count

    return check


@pytest.mark.thorough
async def test_five_thousand_items_of_which_three_fail(start_worker, client: AsyncClient, at_rest, sql: Sql):
    """Results come in order, the three are named, and a retry repeats these three and nothing else."""
    expression = "1 / (0 if item in input.bad else 1) * item"
    definition = workflow(each("input.items", expression, max_parallel=200))
    bad = [7, 2_500, 4_999]
    await start_worker(concurrency=200)
    run = await client.run(definition, {"items": list(range(5_000)), "bad": bad})
    run = await client.wait(run.id, timeout=100)
    assert (run.status, error_of(run)["code"]) == ("failed", "FOREACH_FAILED")
    assert error_of(run)["details"]["failed"] == bad
    assert "3 of 5,000 items failed" in error_of(run)["message"]
    assert most_at_once(sql, run.id) <= 200
    counts = dict(sql.rows("SELECT status::text, count(*) FROM steps WHERE step_no > 0 GROUP BY 1"))
    assert counts == {"completed": 4_997, "failed": 3}
    sql.do("UPDATE runs SET input = replace(input::text, '\"bad\":[7,2500,4999]', '\"bad\":[]')::json")
    await client.retry(run.id, reason="the three are repaired")
    run = await client.wait(run.id, timeout=100)
    assert run.status == "completed"
    assert isinstance(run.output, dict)
    assert [one["result"] for one in run.output["each"]["results"]] == list(range(5_000))
    assert run.output["each"]["errors"] == {}
    twice = sql.rows("SELECT step FROM events WHERE type = 'step.started' AND attempt = 2 ORDER BY step")
    assert [name for (name,) in twice if name != "each"] == sorted(f"each[{no}]" for no in bad)
    assert await at_rest() == 1


@pytest.mark.parametrize("limit", [1, 2, 7])
async def test_no_more_items_than_allowed_are_worked_on(hand: Hand, sql: Sql, tidy, limit: int):
    """Whatever order they end in, and whether they fail or not."""
    run_id = await begun(hand, workflow(each("input.x", max_parallel=limit, wait_for_all=True)), 20)
    chance = random.Random(limit)
    while True:
        queued = await hand.queued(run_id)
        if queued == [0]:
            break
        assert len(queued) <= limit
        claimed = await hand.claim(run_id, chance.choice(queued))
        await hand.settle(claimed, Failed(error()) if chance.random() < 0.2 else Completed(1))
    assert most_at_once(sql, run_id) == limit
    await hand.complete(run_id, "each", {})
    await tidy()


async def test_a_worker_executes_items_up_to_the_limit(start_worker, client: AsyncClient, at_rest, sql: Sql):
    """Also where workers go on with what becomes ready."""
    for _ in range(2):
        await start_worker(concurrency=50)
    run = await client.run(workflow(each(str(list(range(300))), max_parallel=5)))
    run = await client.wait(run.id, timeout=60)
    assert run.status == "completed"
    assert isinstance(run.output, dict)
    assert [one["result"] for one in run.output["each"]["results"]] == list(range(300))
    assert most_at_once(sql, run.id) == 5
    await at_rest()


async def test_what_is_repeated_may_be_steps_that_depend_on_each_other(start_worker, client: AsyncClient, at_rest):
    """Each item has its own, and they see only each other's."""
    body = [
        {"id": "double", "type": "transform", "config": {"expression": "item * 2"}},
        {
            "id": "more",
            "type": "transform",
            "config": {"expression": "steps.double.output.result + run.index"},
        },
    ]
    body[1]["depends_on"] = ["double"]
    definition = workflow(
        step("each", kind="foreach", config={"items": "[10, 20, 30]", "steps": body, "max_parallel": 2})
    )
    await start_worker()
    run = await client.run(definition)
    run = await client.wait(run.id, timeout=60)
    assert run.status == "completed", run.error
    ids = [one.id for one in steps_of(run)]
    assert "each[2].double" in ids
    outputs = {one.id: one.output for one in steps_of(run)}
    assert [outputs[f"each[{no}].more"] for no in range(3)] == [{"result": 20}, {"result": 41}, {"result": 62}]
    await at_rest()


async def test_the_first_failure_stops_the_others_if_it_shall(hand: Hand, client: AsyncClient, sql: Sql, tidy):
    """`wait_for_all: false`: what waits is cancelled, what runs is told, and the run fails when that has ended."""
    run_id = await begun(hand, workflow(each("input.x", wait_for_all=False, max_parallel=3)), 10)
    first, second, third = await hand.queued(run_id)
    running = await hand.claim(run_id, second)
    await hand.fail(run_id, first)
    assert sql.value("SELECT cancel_requested FROM steps WHERE step_no = %s", second) is True
    assert sql.value("SELECT status::text FROM steps WHERE step_no = %s", third) == "cancelled"
    await hand.settle(running, Completed(1))
    run = await client.get(run_id)
    assert (run.status, error_of(run)["code"]) == ("failed", "FOREACH_FAILED")
    assert sql.value("SELECT count(*) FROM steps WHERE step_no > 0") == 3
    await tidy()


@pytest.mark.parametrize("items", ["[]", "{}"])
async def test_no_items_are_done_at_once(start_worker, client: AsyncClient, at_rest, items: str):
    """What follows goes on."""
    await start_worker()
    run = await client.run(workflow(each(items), step("after", "each", expression="steps.each.output.count")))
    run = await client.wait(run.id, timeout=60)
    assert (run.status, run.output) == ("completed", {"after": {"result": 0}})
    await at_rest()


async def test_more_items_than_there_may_be_fail_the_step(start_worker, client: AsyncClient, at_rest):
    """It says how many there are, and how many there may be."""
    await start_worker()
    run = await client.run(workflow(each("input.items")), {"items": [0] * 10_001})
    run = await client.wait(run.id, timeout=60)
    assert run.status == "failed"
    assert "at most 10,000 items, here are 10,001" in error_of(run)["message"]
    await at_rest()


async def test_the_items_of_a_mapping_have_key_and_value(start_worker, client: AsyncClient, at_rest):
    """In the order of the mapping."""
    await start_worker()
    run = await client.run(
        workflow(each("input.prices", "item.key + '=' + str(item.value)")), {"prices": {"b": 1, "a": 2}}
    )
    run = await client.wait(run.id, timeout=60)
    assert isinstance(run.output, dict)
    assert run.output["each"]["results"] == [{"result": "b=1"}, {"result": "a=2"}]
    await at_rest()


async def test_what_is_no_list_fails_the_step(start_worker, client: AsyncClient, at_rest):
    """It says what it is instead."""
    await start_worker()
    run = await client.run(workflow(each("input.items")), {"items": "abc"})
    run = await client.wait(run.id, timeout=60)
    assert "must be a list or a mapping, not text" in error_of(run)["message"]
    await at_rest()


@pytest.mark.parametrize("handling", ["continue", "skip"])
async def test_items_whose_failures_are_handled_do_not_fail_the_foreach(
    start_worker, client: AsyncClient, at_rest, handling: str
):
    """They have null among the results, and their error beside them unless they were skipped over."""
    inner = {
        "type": "transform",
        "config": {"expression": "1 / item"},
        "retry": ONCE,
        "on_error": handling,
    }
    await start_worker()
    run = await client.run(workflow(each("[1, 0, 2]", inner=inner)))
    run = await client.wait(run.id, timeout=60)
    assert run.status == "completed", run.error
    assert isinstance(run.output, dict)
    output = run.output["each"]
    assert output["results"] == [{"result": 1.0}, None, {"result": 0.5}]
    assert list(output["errors"]) == ["1"]
    await at_rest()


async def test_items_that_an_operator_skips_do_not_fail_the_foreach(start_worker, client: AsyncClient, at_rest):
    """Nor does one of several steps of an item; they have null among the results, and say who skipped them."""
    inside = [{"id": "half", "type": "transform", "config": {"expression": "1 / item"}, "retry": ONCE}]
    nested = step("more", kind="foreach", config={"items": "[1, 0]", "steps": inside})
    await start_worker()
    run = await client.run(workflow(each("[1, 0, 2]", "1 / item"), nested))
    await client.wait(run.id, timeout=60)
    await client.skip(run.id, "each[1]", reason="nothing to divide")
    await client.wait(run.id, timeout=60)
    await client.skip(run.id, "more[1].half")
    run = await client.wait(run.id, timeout=60)
    assert run.status == "completed", run.error
    assert isinstance(run.output, dict)
    assert run.output["each"]["results"] == [{"result": 1.0}, None, {"result": 0.5}]
    assert "nothing to divide" in run.output["each"]["errors"]["1"]["message"]
    await at_rest()


async def test_a_worker_that_dies_with_an_item_leaves_it_to_the_next(make_engine, hand: Hand, sql: Sql, tidy):
    """The item is executed again, and its room is not given away twice."""
    other = Hand(await make_engine(), "other")
    run_id = await begun(hand, workflow(each("input.x", max_parallel=2)), 4)
    first, _ = await hand.queued(run_id)
    await hand.claim(run_id, first)
    sql.do("UPDATE steps SET due_at = clock_timestamp() - interval '1 s' WHERE status = 'running'")
    await other.wake(run_id)
    assert len(await other.queued(run_id)) == 2
    while (queued := await other.queued(run_id)) != [0]:
        await other.complete(run_id, queued[0])
    await other.complete(run_id, "each", {})
    assert most_at_once(sql, run_id) == 2
    assert sql.status(run_id) == "completed"
    await tidy()


async def test_a_worker_that_dies_with_the_foreach_itself_leaves_nothing_half_begun(hand: Hand, sql: Sql, tidy):
    """Before its items are known, and when it collects what they came to."""
    run_id = await hand.start(workflow(each("input.x")))
    await hand.claim(run_id, "each")
    sql.do("UPDATE steps SET due_at = clock_timestamp() - interval '1 s' WHERE status = 'running'")
    await hand.wake(run_id)
    await hand.settle(await hand.claim(run_id, "each"), Expanded({"items": [0, 1]}, 2))
    for no in await hand.queued(run_id):
        await hand.complete(run_id, no)
    await hand.claim(run_id, "each")
    sql.do("UPDATE steps SET due_at = clock_timestamp() - interval '1 s' WHERE status = 'running'")
    await hand.wake(run_id)
    claimed = await hand.claim(run_id, "each")
    assert claimed.assignment is not None
    assert claimed.assignment.wake is not None
    assert len(claimed.assignment.wake.items) == 2
    await hand.settle(claimed, Completed({}))
    assert sql.status(run_id) == "completed"
    await tidy()


async def test_a_cancelled_run_enters_no_more_items(hand: Hand, sql: Sql, tidy):
    """What is worked on ends, and then the run."""
    run_id = await begun(hand, workflow(each("input.x", max_parallel=2)), 10)
    first, _ = await hand.queued(run_id)
    claimed = await hand.claim(run_id, first)
    await hand.cancel(run_id)
    await hand.settle(claimed, Completed(1))
    assert sql.status(run_id) == "cancelled"
    assert sql.value("SELECT count(*) FROM steps") == 3
    await tidy()


async def test_items_go_on_after_a_pause(hand: Hand, client: AsyncClient, sql: Sql, tidy):
    """What became ready meanwhile is dispatched, and the limit holds."""
    run_id = await begun(hand, workflow(each("input.x", max_parallel=2)), 5)
    first, second = await hand.queued(run_id)
    claimed = [await hand.claim(run_id, no) for no in (first, second)]
    await client.pause(run_id)
    sql.do("DELETE FROM outbox")
    for one in claimed:
        await hand.settle(one, Completed(1))
    assert sql.counts("outbox") == 0
    assert len(await hand.queued(run_id)) == 2
    await client.resume(run_id)
    assert sql.counts("outbox") == 2
    while (queued := await hand.queued(run_id)) != [0]:
        await hand.complete(run_id, queued[0])
    await hand.complete(run_id, "each", {})
    assert most_at_once(sql, run_id) == 2
    await tidy()
