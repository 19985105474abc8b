"""Foreach on real servers: a step for each item, in order, some at a time, and again only for those that failed."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from flowforge.client import AsyncClient
from tests.support.definitions import step, workflow
from tests.support.documents import error_of, output_of, steps_of
from tests.support.sql import Sql

ONCE = {"max_attempts": 1}


def each(body: dict[str, Any], *after: str, items: str = "input.rows", **config: Any) -> dict[str, Any]:
    """Make a foreach."""
    inner = {"step": body} if "steps" not in body else body
    return step("each", *after, kind="foreach", config={"items": items, **inner, **config})


async def test_results_are_in_the_order_of_the_items(client: AsyncClient, start_worker, at_rest):
    """Each step sees its item and its place."""
    await start_worker()
    body = step("one", expression="[item.name, run.index, input.x]")
    del body["id"]
    rows = [{"name": name} for name in "abc"]
    run = await client.run(
        workflow(each(body), step("sum", "each", expression="steps.each.output")), {"rows": rows, "x": 1}, wait=True
    )
    assert run.output == {
        "sum": {
            "result": {
                "results": [{"result": ["a", 0, 1]}, {"result": ["b", 1, 1]}, {"result": ["c", 2, 1]}],
                "errors": {},
                "count": 3,
            }
        }
    }
    assert [one.id for one in steps_of(run)] == ["each", "each[0]", "each[1]", "each[2]", "sum"]
    assert await at_rest() == 1


async def test_five_thousand_items_with_three_failures(client: AsyncClient, start_worker, at_rest, sql: Sql):
    """All are worked on; the error names the three, and a retry repeats no other."""
    await start_worker(concurrency=512)
    await start_worker(concurrency=512)
    body = step("one", expression="10 / item", retry=ONCE)
    rows: list[Any] = [1] * 5_000
    for position in (7, 2_500, 4_999):
        rows[position] = 0
    run = await client.run(workflow(each(body, max_parallel=500)), {"rows": rows}, wait=True)
    assert run.status == "failed"
    assert error_of(run)["code"] == "FOREACH_FAILED"
    assert error_of(run)["details"]["failed"] == [7, 2_500, 4_999]
    attempts = Counter(one.attempts for one in steps_of(run) if one.id.startswith("each["))
    assert attempts == {1: 5_000}
    await client.retry(run.id)
    again = await client.wait(run.id, timeout=60)
    assert error_of(again)["details"]["failed"] == [7, 2_500, 4_999]
    assert Counter(one.attempts for one in steps_of(again) if one.id.startswith("each[")) == {1: 4_997, 2: 3}
    assert await at_rest() == 1


async def test_no_more_items_than_allowed_are_worked_on_at_once(client: AsyncClient, start_worker, at_rest, sql: Sql):
    """By the history."""
    await start_worker()
    body = {"steps": [step("x", expression="item"), step("y", "x", expression="steps.x.output.result * 2")]}
    run = await client.run(workflow(each(body, max_parallel=2)), {"rows": list(range(20))}, wait=True)
    assert run.status == "completed"
    results = output_of(run, "each")
    assert [one["results"]["y"]["result"] for one in results["results"]] == [2 * no for no in range(20)]
    busy: set[str] = set()
    for event in sql.events(run.id):
        kind, _, name = event.partition(" ")
        item = name.partition(".")[0]
        if kind == "step.queued" and name.startswith("each["):
            busy.add(item)
        if kind == "step.completed" and name == item:
            busy.discard(item)
        assert len(busy) <= 2
    assert await at_rest() == 1


async def test_an_item_may_fail_without_failing_the_others(client: AsyncClient, start_worker, at_rest):
    """`on_error: continue` on what is repeated keeps the error with the item."""
    await start_worker()
    body = step("one", expression="10 / item", retry=ONCE, on_error="continue")
    run = await client.run(workflow(each(body)), {"rows": [1, 0, 2]}, wait=True)
    assert run.status == "completed"
    output = output_of(run, "each")
    assert output["results"] == [{"result": 10.0}, None, {"result": 5.0}]
    assert output["errors"]["1"]["code"] == "EXPRESSION_ERROR"
    assert await at_rest() == 1


async def test_the_first_failure_may_stop_the_others(client: AsyncClient, start_worker, at_rest):
    """wait_for_all: false."""
    await start_worker()
    bad = step("one", expression="10 / item", retry=ONCE)
    run = await client.run(workflow(each(bad, wait_for_all=False, max_parallel=1)), {"rows": [0, 1, 2]}, wait=True)
    assert (run.status, error_of(run)["code"]) == ("failed", "FOREACH_FAILED")
    assert [one.id for one in steps_of(run)] == ["each", "each[0]"]
    assert await at_rest() == 1


@pytest.mark.parametrize(
    ("rows", "status", "code"),
    [
        ([], "completed", None),
        ({"a": 1}, "completed", None),
        ("text", "failed", "BAD_CONFIG"),
        (7, "failed", "BAD_CONFIG"),
    ],
)
async def test_items_are_a_list_or_a_mapping(client: AsyncClient, start_worker, at_rest, rows, status, code):
    """An empty list is done at once; a mapping gives key and value."""
    await start_worker()
    run = await client.run(workflow(each(step("one", expression="item"))), {"rows": rows}, wait=True)
    assert run.status == status
    assert (run.error or {}).get("code") == code
    if rows == {"a": 1}:
        assert run.output == {"each": {"results": [{"result": {"key": "a", "value": 1}}], "errors": {}, "count": 1}}
    assert await at_rest() == 1


async def test_too_many_items_are_refused(client: AsyncClient, start_worker):
    """Ten thousand is the most."""
    await start_worker()
    run = await client.run(workflow(each(step("one"))), {"rows": [0] * 10_001}, wait=True)
    assert "at most 10,000 items" in error_of(run)["message"]


async def test_items_that_were_done_are_undone_too(client: AsyncClient, start_worker, at_rest, sql: Sql):
    """The last to complete first, each with its own output."""
    await start_worker()
    undo = {"type": "transform", "config": {"expression": "item"}}
    body = step("one", expression="item", compensate=undo)
    definition = workflow(each(body, max_parallel=1), step("bad", "each", expression="1 / 0", retry=ONCE))
    run = await client.run(definition, {"rows": ["a", "b", "c"]}, wait=True)
    assert [one.output for one in run.compensation.steps] == [{"result": "c"}, {"result": "b"}, {"result": "a"}]
    assert await at_rest() == 1
