"""Runs of runs on real servers: an outcome, a cancellation, a lost worker, each where it belongs."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from flowforge.client import AsyncClient
from flowforge.engine import children
from flowforge.engine.entries import Consequences
from flowforge.engine.ledger import Ledger
from flowforge.errors import DatabaseUnavailable
from tests.support.definitions import chain, step, workflow
from tests.support.documents import error_of, outputs_of
from tests.support.eventually import eventually
from tests.support.sql import Sql


def child(step_id: str, name: str, *after: str, value: Any = None, **more: Any) -> dict[str, Any]:
    """Make a step that starts a run."""
    return step(step_id, *after, kind="workflow", config={"name": name, "input": value or {}}, **more)


async def test_a_child_s_output_is_the_step_s(client: AsyncClient, start_worker, at_rest):
    """With the run's id and version; the child knows its parent."""
    await client.publish(workflow(step("x", expression="input.n * 2"), name="inner"))
    await start_worker()
    run = await client.run(
        workflow(child("c", "inner", value={"n": "{{ input.n }}"}), name="outer"), {"n": 4}, wait=True
    )
    output = outputs_of(run)[0]
    assert (output["workflow"], output["version"], output["output"]) == ("inner", 1, {"x": {"result": 8}})
    inner = await client.get(output["run_id"])
    assert (inner.parent, inner.trigger) == ((run.id, "c"), "workflow")
    assert await at_rest() == 2


async def test_children_of_children_are_cancelled_from_the_top(client: AsyncClient, start_worker, sql: Sql, at_rest):
    """Three deep."""
    await client.publish(workflow(step("wait", kind="delay", config={"duration": "1h"}), name="low"))
    await client.publish(workflow(child("c", "low"), name="middle"))
    await start_worker()
    run = await client.run(workflow(child("c", "middle"), name="top"))
    query = "SELECT count(*) FROM runs r JOIN steps s ON s.run_id = r.id WHERE s.status = 'waiting'"
    await eventually(lambda: sql.value(query) == 3)
    await client.cancel(run.id, reason="stop it")
    await eventually(lambda: sql.rows("SELECT DISTINCT status::text FROM runs") == [("cancelled",)])
    assert await at_rest() == 3


async def test_a_child_that_fails_fails_the_step(client: AsyncClient, start_worker, at_rest):
    """And a policy that names that starts another one."""
    once = {"max_attempts": 1}
    await client.publish(workflow(step("x", expression="1 / input.n", retry=once), name="inner"))
    await start_worker()
    retry = {"max_attempts": 2, "initial_delay": "1ms", "retry_on": ["CHILD_FAILED"]}
    run = await client.run(workflow(child("c", "inner", value={"n": 0}, retry=retry), name="outer"), wait=True)
    assert error_of(run)["code"] == "CHILD_FAILED"
    assert "divides by zero" in error_of(run)["message"]
    assert await at_rest() == 3


@pytest.mark.parametrize("again", ["from the failure", "from the step"])
async def test_a_retry_starts_another_child(client: AsyncClient, start_worker, sql: Sql, at_rest, again):
    """The one before stays as it is."""
    await client.publish(workflow(step("x", expression="1 / input.n", retry={"max_attempts": 1}), name="inner"))
    await start_worker()
    run = await client.run(workflow(child("c", "inner", value={"n": 0}), name="outer"), wait=True)
    await client.retry(run.id, from_step="c" if again == "from the step" else None)
    await client.wait(run.id, timeout=30)
    assert sql.value("SELECT count(*) FROM runs WHERE parent_run_id = %s", run.id) == 2
    assert await at_rest() == 3


async def test_a_lost_attempt_adopts_the_run_it_finds(client: AsyncClient, start_worker, sql: Sql):
    """One child, whoever looks after it."""
    await client.publish(workflow(step("wait", kind="wait_signal"), name="inner"))
    await start_worker()
    run = await client.run(workflow(child("c", "inner"), name="outer"))
    await eventually(lambda: sql.value("SELECT count(*) FROM steps WHERE status = 'waiting'") == 2)
    # As if the worker had died right after it started the child.
    sql.do("UPDATE steps SET output = NULL, due_at = now() - interval '1s' WHERE run_id = %s", run.id)
    sql.do("UPDATE runs SET wake_at = now() - interval '1s', revision = revision + 1 WHERE id = %s", run.id)
    inner = sql.value("SELECT id FROM runs WHERE parent_run_id = %s", run.id)
    await eventually(lambda: sql.value("SELECT output ->> 'run' FROM steps WHERE run_id = %s", run.id) == str(inner))
    await client.signal(inner, "wait")
    assert (await client.wait(run.id, timeout=30)).status == "completed"
    assert sql.counts("runs") == 2


async def test_a_version_can_be_pinned(client: AsyncClient, start_worker, at_rest):
    """name@version, whatever is newer."""
    for no in (1, 2):
        await client.publish(workflow(step("x", expression=str(no)), name="inner"))
    await start_worker()
    run = await client.run(workflow(child("c", "inner@1"), name="outer"), wait=True)
    assert outputs_of(run)[0]["output"] == {"x": {"result": 1}}
    assert await at_rest() == 2


async def test_what_cannot_be_started_says_why(client: AsyncClient, start_worker):
    """No such workflow; an input that its schema refuses; itself, for ever."""
    await start_worker()
    run = await client.run(workflow(child("c", "nothing"), name="outer"), wait=True)
    assert "no published workflow 'nothing'" in error_of(run)["message"]
    await client.publish(chain(1, name="strict", input_schema={"type": "object", "required": ["n"]}))
    run = await client.run(workflow(child("c", "strict"), name="outer-two"), wait=True)
    assert error_of(run)["code"] == "CHILD_INPUT"
    await client.publish(workflow(child("c", "itself", retry={"max_attempts": 1}), name="itself"))
    run = await client.run("itself", wait=True)
    assert "runs deep already" in error_of(run)["message"]


async def test_a_child_whose_end_was_committed_without_an_answer_is_heard_of(
    client: AsyncClient, start_worker, at_rest, monkeypatch: pytest.MonkeyPatch
):
    """The settlement is repeated, and with it the news: the step does not wait until it looks by itself."""
    real, lost = Ledger._pass_on, list[int]()

    async def pass_on(ledger: Ledger, consequences: Consequences) -> None:
        if consequences.parents and not lost:
            lost.append(1)
            raise DatabaseUnavailable
        await real(ledger, consequences)

    monkeypatch.setattr(Ledger, "_pass_on", pass_on)
    monkeypatch.setattr(children, "LOOK_AFTER", timedelta(days=1))
    await client.publish(workflow(step("x"), name="inner"))
    await start_worker()
    run = await client.run(workflow(child("c", "inner"), name="outer"), wait=True)
    assert run.status == "completed"
    assert lost
    assert await at_rest() == 2
