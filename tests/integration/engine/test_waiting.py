"""Operators on real servers: who rejects, who holds a run, and who lets it go on without a step."""

from __future__ import annotations

from typing import Any

import pytest

from flowforge.client import AsyncClient
from flowforge.errors import Conflict
from flowforge.settings import Settings
from tests.support.definitions import chain, step, workflow
from tests.support.documents import error_of, steps_of
from tests.support.eventually import eventually
from tests.support.sql import Sql


def ask(step_id: str = "ask", *after: str, **config: Any) -> dict[str, Any]:
    """Make an approval."""
    return step(step_id, *after, kind="approval", config={"prompt": "Release {{ input.amount }}?", **config})


@pytest.fixture
def waiting(sql: Sql):
    """Wait until the step waits."""

    async def until() -> None:
        query = "SELECT count(*) FROM steps WHERE status = 'waiting'"
        await eventually(lambda: sql.value(query) == 1)

    return until


@pytest.fixture
async def people(settings: Settings, endpoints):
    """Clients of ada and bob."""
    clients = []
    for name in ("ada", "bob"):
        changed = settings.model_copy(update={"actor": name})
        clients.append(await AsyncClient(changed, endpoints=endpoints, connections=2).open())
    yield clients
    for one in clients:
        await one.close()


async def test_one_rejection_is_enough(client: AsyncClient, start_worker, people, waiting, at_rest):
    """The step fails, saying who and why."""
    ada, bob = people
    await start_worker()
    run = await client.run(workflow(ask(approvers=["ada", "bob"], required="all")), {"amount": 1})
    await waiting()
    await ada.decide(run.id, "ask", approved=True)
    await bob.decide(run.id, "ask", approved=False, comment="wrong account")
    done = await client.wait(run.id, timeout=60)
    assert (error_of(done)["code"], "rejected by bob: wrong account" in error_of(done)["message"]) == ("REJECTED", True)
    assert await at_rest() == 1


async def test_pausing_holds_a_run_and_resuming_lets_it_go(client: AsyncClient, start_worker, sql: Sql, at_rest):
    """Held by workers, too; a run that has ended can be neither."""
    run = await client.run(chain(3))
    for _ in range(2):
        assert (await client.pause(run.id, reason="bank holiday")).status == "paused"
    await start_worker()
    await eventually(lambda: sql.value("SELECT count(*) FROM outbox") == 0)
    assert sql.value("SELECT count(*) FROM steps WHERE status <> 'queued'") == 0
    await client.resume(run.id)
    assert (await client.wait(run.id, timeout=60)).status == "completed"
    with pytest.raises(Conflict, match="completed"):
        await client.pause(run.id)
    with pytest.raises(Conflict, match="completed"):
        await client.resume(run.id)
    paused = sql.rows("SELECT data ->> 'actor', data ->> 'reason' FROM events WHERE type = 'workflow.paused'")
    assert paused == [(client.actor(), "bank holiday")]
    assert await at_rest() == 1


async def test_a_run_goes_on_without_a_step(client: AsyncClient, start_worker, at_rest):
    """One that has failed, or that has not begun; not one that is done."""
    await start_worker()
    bad = step("bad", expression="1 / 0", retry={"max_attempts": 1})
    run = await client.run(workflow(bad, step("after", "bad")), wait=True)
    await client.skip(run.id, "bad", reason="not needed")
    done = await client.wait(run.id, timeout=60)
    assert [one.status.value for one in steps_of(done)] == ["skipped", "completed"]
    assert (steps_of(done)[0].error or {})["code"] == "SKIPPED_BY_OPERATOR"
    with pytest.raises(Conflict, match="completed"):
        await client.skip(run.id, "after")
    assert await at_rest() == 1
