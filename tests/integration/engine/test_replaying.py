"""Once more: replays from a step, and rehearsals."""

from __future__ import annotations

import pytest

from flowforge.client import AsyncClient
from flowforge.errors import NotFound
from tests.support.definitions import step, workflow
from tests.support.documents import steps_of
from tests.support.sql import Sql


async def test_a_replay_from_a_step_takes_the_rest_from_the_run(client: AsyncClient, start_worker, sql: Sql, at_rest):
    """What is recorded is not executed."""
    await start_worker()
    definition = workflow(
        step("a", expression="input.n"),
        step("b", "a", expression="steps.a.output.result + 1"),
        step("c", "a", "b", expression="[steps.a.output.result, steps.b.output.result, input.n]"),
    )
    run = await client.run(definition, {"n": 1}, wait=True)
    again = await client.replay(run.id, from_step="c", changes={"n": 7})
    done = await client.wait(again.id, timeout=60)
    assert done.output == {"c": {"result": [1, 2, 7]}}
    assert [one.attempts for one in steps_of(done)] == [0, 0, 1]
    assert sql.events(again.id)[:4] == ["workflow.created", "step.completed a", "step.completed b", "workflow.started"]
    with pytest.raises(NotFound, match="no step 'd'"):
        await client.replay(run.id, from_step="d")
    assert await at_rest() == 2


async def test_a_rehearsal_does_nothing_and_says_what_would_differ(client: AsyncClient, start_worker, sql: Sql):
    """Recorded outputs stand in for effects; another version is compared step by step."""
    await start_worker()
    before = workflow(step("a", kind="python", config={"function": "builtins:abs", "args": {"x": 1}}, on_error="skip"))
    before["steps"] += [step("b", "a", expression="input.n * 2")]
    run = await client.run(before, {"n": 3}, wait=True)
    runs = sql.counts("runs")
    assert (await client.rehearse(run.id)).same
    changed = workflow(*before["steps"][:1], step("b", "a", expression="input.n * 3"), step("new", "b"))
    await client.publish(changed)
    rehearsal = await client.rehearse(run.id, version=2)
    assert not rehearsal.same
    found = {one.id: (one.source, one.output_before, one.output_after) for one in rehearsal.steps}
    assert found["b"] == ("computed", {"result": 6}, {"result": 9})
    assert found["new"] == ("computed", None, {"result": 1})
    assert sql.counts("runs") == runs
