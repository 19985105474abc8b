"""Foreach on real servers: a step for each item, in order, and some at a time."""

from __future__ import annotations

from typing import Any

from flowforge.client import AsyncClient
from tests.support.definitions import step, workflow
from tests.support.documents import output_of, steps_of
from tests.support.sql import Sql


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
