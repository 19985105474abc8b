"""Runs of runs on real servers: started again with the step, and heard of although an answer was lost."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from flowforge.client import AsyncClient
from flowforge.engine import children
from flowforge.engine.entries import Consequences
from flowforge.engine.ledger import Ledger
from flowforge.errors import DatabaseUnavailable
from tests.support.definitions import step, workflow
from tests.support.sql import Sql


def child(step_id: str, name: str, *after: str, value: Any = None, **more: Any) -> dict[str, Any]:
    """Make a step that starts a run."""
    return step(step_id, *after, kind="workflow", config={"name": name, "input": value or {}}, **more)


async def test_a_retry_from_the_step_starts_another_child(client: AsyncClient, start_worker, sql: Sql, at_rest):
    """The one before stays as it is."""
    await client.publish(workflow(step("x", expression="1 / input.n", retry={"max_attempts": 1}), name="inner"))
    await start_worker()
    run = await client.run(workflow(child("c", "inner", value={"n": 0}), name="outer"), wait=True)
    await client.retry(run.id, from_step="c")
    await client.wait(run.id, timeout=60)
    assert sql.value("SELECT count(*) FROM runs WHERE parent_run_id = %s", run.id) == 2
    assert await at_rest() == 3


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
