"""The gate before a publication: past runs are replayed on the version that is to be, and nothing is stored."""

from __future__ import annotations

import pytest

from flowforge.client import AsyncClient
from flowforge.model.divergence import Divergence
from tests.support.definitions import step, workflow
from tests.support.sql import Sql

ABS = {"function": "builtins:abs", "args": {"x": "{{ input.n }}"}}


def definition(**changes):
    """A run of `call` and of what reads it, by way of a branch."""
    steps = {
        "call": step("call", kind="python", config=ABS),
        "if": step(
            "if", "call", kind="conditional", config={"condition": "steps.call.output > 2", "branches": {"true": "big"}}
        ),
        "big": step("big", expression="steps.call.output * 10"),
    } | changes
    return workflow(*(one for one in steps.values() if one is not None))


@pytest.fixture
async def ran(client: AsyncClient, start_worker) -> None:
    """Three runs, of which one takes the branch, and one that is cancelled."""
    await start_worker()
    waits = {**definition(), "steps": [*definition()["steps"], step("wait", kind="wait_signal", config={"name": "go"})]}
    runs = [await client.run(waits, {"n": -n}) for n in (1, 2, 3, 4)]
    for run in runs[:3]:
        await client.signal(run.id, "go")
        await client.wait(run.id, timeout=60)
    await client.cancel(runs[3].id)
    await client.wait(runs[3].id, timeout=60)


def same():
    """The definition that the runs were of, with another description."""
    found = definition()
    found["steps"].append(step("wait", kind="wait_signal", config={"name": "go"}))
    return {**found, "description": "the same, said otherwise"}


async def test_a_version_that_comes_to_the_same_passes(ran: None, client: AsyncClient, sql: Sql):
    """Cancelled runs prove nothing, and are said to be left out."""
    told: list[tuple[int, int]] = []
    found = await client.verify(same(), 100, progress=lambda done, of: told.append((done, of)))
    assert (found.refused, found.version, found.replayed, dict(found.left_out)) == (False, 1, 3, {"cancelled": 1})
    assert told[-1] == (4, 4)
    assert sql.counts("workflow_versions") == 1
    assert (await client.verify(same(), 2)).replayed == 1


async def test_differences_are_listed_by_class_with_their_runs(ran: None, client: AsyncClient):
    """Each cause once; what is accepted refuses nothing."""
    changed = same()
    changed["steps"][1]["config"] = {"condition": "steps.call.output > 1", "branches": {"true": "big"}}
    changed["steps"][2]["config"] = {"expression": "steps.call.output * 11"}
    changed["steps"][3] = step("tell", kind="notification", config={"targets": ["x"], "title": "t", "body": "b"})
    found = await client.verify(changed, 100)
    assert [(one.kind.value, one.step, one.count) for one in found.divergences] == [
        ("branch", "if", 1),
        ("missing", "wait", 3),
        ("new", "tell", 3),
        ("output", "big", 1),
    ]
    assert found.refused
    assert not (await client.verify(changed, 100, accept=list(Divergence))).refused


async def test_an_outcome_that_differs_is_told(ran: None, client: AsyncClient):
    """A step that fails now, or an input that is refused."""
    fails = same()
    fails["steps"][2]["config"] = {"expression": "1 / 0"}
    found = await client.verify(fails, 100)
    assert [(one.kind.value, one.step, one.count) for one in found.divergences] == [("outcome", "big", 1)]
    refuses = {**same(), "input_schema": {"properties": {"n": {"minimum": -1}}}}
    found = await client.verify(refuses, 100)
    assert [(one.kind.value, one.step, one.count) for one in found.divergences] == [("outcome", None, 2)]


async def test_nothing_to_verify_with_is_no_refusal(client: AsyncClient):
    """A workflow that is new has no runs."""
    found = await client.verify(same(), 10)
    assert (found.refused, found.version, found.replayed) == (False, None, 0)
