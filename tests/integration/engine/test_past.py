"""The past of real runs: as it was, where the time went, what differs, in a file and in another installation."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from flowforge.client import AsyncClient
from flowforge.client import capsules as files
from flowforge.engine.engine import Endpoints
from flowforge.errors import Conflict, NotFound
from flowforge.model.capsule import family
from flowforge.model.past import as_it_was, rebuilt
from flowforge.model.phase import Kind
from flowforge.settings import Settings
from tests.support.definitions import branching, step, workflow
from tests.support.hand import Hand
from tests.support.servers import Servers, Stock
from tests.support.sql import Sql

ONCE = {"max_attempts": 1}


@pytest.fixture
async def elsewhere(settings: Settings, session_servers: Servers, stock: Stock) -> AsyncIterator[AsyncClient]:
    """A client of another installation."""
    with stock.lend() as url:
        chosen = settings.model_copy(update={"database_url": url})
        async with AsyncClient(chosen, endpoints=Endpoints(url, session_servers.redis_url)) as one:
            yield one


async def test_a_run_is_rebuilt_from_its_history_as_its_rows_tell_it(client: AsyncClient, hand: Hand):
    """Outputs, branches, errors, attempts and compensation included."""
    undo = {"type": "transform", "config": {"expression": "1"}}
    bad = step("end", "choice", expression="1 / 0", retry=ONCE)
    definition = branching()
    definition["steps"] = [step("pay", compensate=undo), *definition["steps"][:1], bad]
    definition["steps"][1] |= {"depends_on": ["pay"]}
    definition["steps"][1]["config"]["branches"] = {"true": {"target_step": "end"}, "false": {"target_step": "end"}}
    run_id = await hand.start(definition, {"amount": 20})
    await hand.complete(run_id, "pay", {"paid": 20})
    await hand.complete(run_id, "choice", {"condition_result": True}, branch="true")
    await hand.fail(run_id, "end")
    await hand.finish(run_id)
    capsule = await client.capsule(run_id)
    assert capsule.run == await client.get(run_id)
    assert capsule.run.compensation.status == "completed"
    assert rebuilt(capsule.run, capsule.plan, capsule.events) == capsule.run
    again = as_it_was(capsule, seq=capsule.run.seq - 1).run
    assert again.status == "compensating"
    completed = next(event.seq for event in capsule.events if event.type == "step.completed")
    pay, choice, _ = as_it_was(capsule, seq=completed + 1).run.steps or ()
    assert (pay.status, pay.output, choice.status) == ("completed", {"paid": 20}, "queued")
    assert (await client.at(run_id, seq=1)).run.status == "pending"


async def test_what_no_relay_has_published_is_in_the_outbox(client: AsyncClient, hand: Hand):
    """Until it is claimed; the parts sum to the wall time."""
    run_id = await hand.start(workflow(step("a"), step("b", "a")))
    found = await client.phases(run_id)
    assert found.steps["a"][-1].kind is Kind.OUTBOX
    assert sum(found.parts.values(), timedelta()) == found.wall
    await hand.complete(run_id, "a")
    await hand.complete(run_id, "b")
    found = await client.phases(run_id)
    assert Kind.OUTBOX not in found.parts
    assert sum(found.parts.values(), timedelta()) == found.wall


async def test_two_runs_part_where_their_branches_do(client: AsyncClient, start_worker):
    """Inputs, outputs and the skipped steps follow from it."""
    await start_worker()
    small = await client.run(branching(), {"amount": 1}, wait=True)
    large = await client.run(branching(), {"amount": 20}, wait=True)
    found = await client.diff(small.id, large.id)
    assert found.first is not None
    assert (found.first.id, found.first.branches) == ("choice", ("false", "true"))
    assert [one.path for one in found.input] == ["amount"]
    assert (await client.diff(small.id, small.id)).same


async def test_a_run_goes_to_another_installation_to_be_looked_at(
    client: AsyncClient, elsewhere: AsyncClient, start_worker, sql: Sql, tmp_path: Path
):
    """There it is no run: it is not listed, counted, started, retried or signed, and can be rehearsed."""
    await start_worker(receipts=True)
    definition = workflow(step("a", expression="input.n * 2"), step("b", "a", expression="1 / 0", retry=ONCE))
    run = await client.run(definition, {"n": 1, "api_key": "abc"}, wait=True)
    receipts = await client.receipts(run.id)
    path = tmp_path / "run.ffz"
    made, size = await client.export(run.id, path)
    assert (size, made.redacted) == (path.stat().st_size, ("run.input.api_key",))
    assert files.read(path) == made
    with pytest.raises(Conflict, match="exists already"):
        await client.export(run.id, path)
    with pytest.raises(Conflict, match="is this installation's own"):
        await client.import_capsule(path)

    await elsewhere.import_capsule(path)
    await elsewhere.import_capsule(path)
    assert [one.id for one in await elsewhere.imported()] == [run.id]
    assert await elsewhere.runs() == []
    assert await elsewhere.capsule(str(run.id)[-8:]) == made
    assert await elsewhere.history(run.id) == await client.history(run.id)
    assert await elsewhere.receipts(run.id) == receipts
    for verb in (elsewhere.retry, elsewhere.cancel, elsewhere.replay, elsewhere.get):
        with pytest.raises(Conflict, match="it can only be looked at"):
            await verb(str(run.id))
    rehearsal = await elsewhere.rehearse(run.id, changes={"n": 5})
    assert {one.id: one.output_after for one in rehearsal.steps}["a"] == {"result": 10}
    assert (await elsewhere.rehearse(path.as_posix(), from_step="b")).steps[0].source == "recorded"
    assert (await elsewhere.diff(run.id, path.as_posix())).same
    assert await elsewhere.forget(run.id) == run.id
    with pytest.raises(NotFound):
        await elsewhere.capsule(run.id)
    assert sql.counts("imported_runs") == 0


async def test_a_run_takes_those_it_has_started_along(client: AsyncClient, start_worker, tmp_path: Path):
    """If it is asked to; each is a capsule of its own."""
    await client.publish(workflow(step("inner"), name="child-flow"))
    await start_worker()
    parent = workflow(step("call", kind="workflow", config={"name": "child-flow"}))
    run = await client.run(parent, wait=True, timeout=60)
    made, _ = await client.export(run.id, tmp_path / "alone.ffz")
    assert made.children == ()
    made, _ = await client.export(run.id, tmp_path / "all.ffz", children=True)
    assert [one.run.workflow for one in family(made)] == ["test-workflow", "child-flow"]
    assert family(files.read(tmp_path / "all.ffz"))[1].run.parent == (run.id, "call")
