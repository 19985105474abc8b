"""Approvals and signals on real servers: early, late, several, refused, out of time; and operators who compete."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from flowforge.client import AsyncClient
from flowforge.errors import Conflict, FlowforgeError, NotFound
from flowforge.settings import Settings
from tests.support.definitions import chain, step, workflow
from tests.support.documents import error_of, outputs_of, steps_of
from tests.support.eventually import eventually
from tests.support.sql import Sql


def ask(step_id: str = "ask", *after: str, **config: Any) -> dict[str, Any]:
    """Make an approval."""
    return step(step_id, *after, kind="approval", config={"prompt": "Release {{ input.amount }}?", **config})


def wait_for(step_id: str, *after: str, **config: Any) -> dict[str, Any]:
    """Make a step that waits for a signal."""
    return step(step_id, *after, kind="wait_signal", config=config)


@pytest.fixture
def waiting(sql: Sql):
    """Wait until so many steps wait."""

    async def until(count: int = 1) -> None:
        query = "SELECT count(*) FROM steps WHERE status = 'waiting'"
        await eventually(lambda: sql.value(query) == count)

    return until


@pytest.fixture
async def people(settings: Settings, endpoints):
    """Clients of ada and bob, who are both of finance, and of eve, who is not."""
    clients = []
    for name in ("ada", "bob", "eve"):
        changed = settings.model_copy(update={"actor": name, "groups": {"finance": ("ada", "bob")}})
        clients.append(await AsyncClient(changed, endpoints=endpoints, connections=2).open())
    yield clients
    for one in clients:
        await one.close()


async def test_two_of_a_group_have_to_approve(client: AsyncClient, start_worker, people, waiting, at_rest):
    """Each once; somebody else may not."""
    ada, bob, eve = people
    await start_worker()
    run = await client.run(workflow(ask(approvers=["finance"], required=2)), {"amount": 120})
    await waiting()
    shown = steps_of(await client.get(run.id))[0].waits_for
    assert shown == {"approval": {"prompt": "Release 120?", "details": None, "approvers": ["finance"]}, "missing": 2}
    with pytest.raises(Conflict, match="eve may not decide"):
        await eve.decide(run.id, "ask", approved=True)
    await ada.decide(run.id, "ask", approved=True, comment="fine")
    with pytest.raises(Conflict, match="ada has decided"):
        await ada.decide(run.id, "ask", approved=True)
    await bob.decide(run.id, "ask", approved=True)
    done = await client.wait(run.id, timeout=30)
    decisions = outputs_of(done)[0]["decisions"]
    assert [(one["actor"], one["approved"], one["comment"]) for one in decisions] == [
        ("ada", True, "fine"),
        ("bob", True, None),
    ]
    assert await at_rest() == 1


async def test_one_rejection_is_enough(client: AsyncClient, start_worker, people, waiting, at_rest):
    """The step fails, saying who and why."""
    ada, bob, _ = people
    await start_worker()
    run = await client.run(workflow(ask(approvers=["ada", "bob"], required="all")), {"amount": 1})
    await waiting()
    await ada.decide(run.id, "ask", approved=True)
    await bob.decide(run.id, "ask", approved=False, comment="wrong account")
    done = await client.wait(run.id, timeout=30)
    assert (error_of(done)["code"], "rejected by bob: wrong account" in error_of(done)["message"]) == ("REJECTED", True)
    assert await at_rest() == 1


@pytest.mark.parametrize(
    ("on_timeout", "status", "code"),
    [("fail", "failed", "APPROVAL_TIMEOUT"), ("reject", "failed", "REJECTED"), ("approve", "completed", None)],
)
async def test_an_approval_that_nobody_gives(client: AsyncClient, start_worker, at_rest, on_timeout, status, code):
    """What counts then is the definition's choice."""
    await start_worker()
    run = await client.run(workflow(ask(timeout="50ms", on_timeout=on_timeout)), {"amount": 1}, wait=True)
    assert (run.status, (run.error or {}).get("code")) == (status, code)
    assert await at_rest() == 1


async def test_an_approval_is_escalated(client: AsyncClient, start_worker, people, waiting, sql: Sql, at_rest):
    """After a while others may decide, too."""
    _, bob, _ = people
    await start_worker()
    asking = ask(approvers=["eve"], escalate={"after": "50ms", "approvers": ["bob"]})
    run = await client.run(workflow(asking), {"amount": 1})
    await eventually(lambda: sql.value("SELECT count(*) FROM steps WHERE output ->> 'escalated' = 'true'") == 1)
    await waiting()
    await bob.decide(run.id, "ask", approved=True)
    assert (await client.wait(run.id, timeout=30)).status == "completed"
    assert await at_rest() == 1


async def test_a_signal_that_comes_early_is_kept(client: AsyncClient, start_worker, at_rest):
    """Sent before anything runs; the second one goes to the second step that waits for it."""
    run = await client.run(workflow(wait_for("paid"), wait_for("again", "paid", name="paid")))
    await client.signal(run.id, "paid", {"amount": 1})
    await client.signal(run.id, "paid", {"amount": 2})
    await start_worker()
    done = await client.wait(run.id, timeout=30)
    assert [one["payload"] for one in outputs_of(done)] == [{"amount": 1}, {"amount": 2}]
    assert await at_rest() == 1


async def test_signals_reach_those_who_wait_in_order(client: AsyncClient, start_worker, waiting, at_rest):
    """One each."""
    await start_worker()
    run = await client.run(workflow(wait_for("a", name="go"), wait_for("b", name="go")))
    await waiting(2)
    await client.signal(run.id, "go", 1)
    await client.signal(run.id, "go", 2)
    done = await client.wait(run.id, timeout=30)
    assert sorted(one["payload"] for one in outputs_of(done)) == [1, 2]
    assert await at_rest() == 1


async def test_a_signal_nobody_waits_for_is_refused(client: AsyncClient, start_worker):
    """With the name that was meant."""
    run = await client.run(workflow(wait_for("paid")))
    with pytest.raises(Conflict, match="did you mean 'paid'"):
        await client.signal(run.id, "piad")
    with pytest.raises(NotFound):
        await client.decide(run.id, "nothing", approved=True)


@pytest.mark.parametrize(("on_timeout", "status"), [("fail", "failed"), ("continue", "completed")])
async def test_a_signal_that_does_not_come(client: AsyncClient, start_worker, at_rest, on_timeout, status):
    """The run fails, or goes on with the default."""
    await start_worker()
    run = await client.run(workflow(wait_for("a", timeout="50ms", on_timeout=on_timeout, default=7)), wait=True)
    assert run.status == status
    if status == "completed":
        assert (outputs_of(run)[0]["payload"], outputs_of(run)[0]["timed_out"]) == (7, True)
    assert await at_rest() == 1


async def winners(*attempts: Any) -> int:
    """Return how many of several requests at once were accepted."""
    results = await asyncio.gather(*attempts, return_exceptions=True)
    assert all(isinstance(one, FlowforgeError) for one in results if isinstance(one, BaseException)), results
    return sum(not isinstance(one, BaseException) for one in results)


async def test_of_two_operators_at_once_one_wins(client: AsyncClient, start_worker, people, waiting, at_rest, sql: Sql):
    """Whatever they ask: of contrary wishes one takes effect, and the other hears why not."""
    ada, bob, _ = people
    await start_worker()
    run = await client.run(workflow(ask()), {"amount": 1})
    await waiting()
    both = ada.decide(run.id, "ask", approved=True), bob.decide(run.id, "ask", approved=False)
    assert await winners(*both) == 1
    done = await client.wait(run.id, timeout=30)
    if done.status == "failed":
        assert await winners(ada.retry(run.id), bob.retry(run.id)) == 1
        await waiting()
        assert await winners(ada.cancel(run.id), bob.decide(run.id, "ask", approved=True)) == 1
        await client.wait(run.id, timeout=30)
    actors = sql.rows("SELECT data ->> 'actor' FROM events WHERE type = 'step.decided' ORDER BY seq")
    assert actors
    assert await at_rest() == 1


async def test_pausing_holds_a_run_and_resuming_lets_it_go(client: AsyncClient, start_worker, sql: Sql, at_rest):
    """Both can be repeated; a run that has ended can be neither."""
    run = await client.run(chain(3, timeout="1h"))
    for _ in range(2):
        assert (await client.pause(run.id, reason="bank holiday")).status == "paused"
    await start_worker()
    await eventually(lambda: sql.value("SELECT count(*) FROM outbox") == 0)
    assert sql.value("SELECT count(*) FROM steps WHERE status <> 'queued'") == 0
    before = sql.value("SELECT deadline_at FROM runs")
    for _ in range(2):
        await client.resume(run.id)
    assert sql.value("SELECT deadline_at FROM runs") > before
    assert (await client.wait(run.id, timeout=30)).status == "completed"
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
    done = await client.wait(run.id, timeout=30)
    assert [one.status.value for one in steps_of(done)] == ["skipped", "completed"]
    assert (steps_of(done)[0].error or {})["code"] == "SKIPPED_BY_OPERATOR"
    with pytest.raises(Conflict, match="completed"):
        await client.skip(run.id, "after")
    assert await at_rest() == 1


async def test_force_ends_a_run_whose_step_does_not_stop(hand, client: AsyncClient, sql: Sql):
    """What the attempt says later is refused."""
    from flowforge.model.outcome import Completed

    run_id = await hand.start(chain(1))
    held = await hand.claim(run_id, 0)
    await client.cancel(run_id)
    assert sql.status(run_id) == "cancelling"
    run = await client.cancel(run_id, force=True, reason="its host is gone")
    assert run.status == "cancelled"
    await hand.settle(held, Completed("late"))
    assert sql.steps(run_id) == {"s0": "cancelled"}
