"""Bulk verbs: chosen and planned in sets, carried out in sets, and nothing done twice."""

from __future__ import annotations

from dataclasses import replace

import pytest

from flowforge.client import AsyncClient
from flowforge.client.bulk import Manner
from flowforge.errors import NotFound
from flowforge.model.bulk import Plan, Result, Verb, tally
from flowforge.model.documents import RunFilter
from flowforge.model.drift import Care
from flowforge.model.status import RunStatus
from tests.support.definitions import chain, step, workflow
from tests.support.hand import Hand
from tests.support.sql import Sql

ETL = RunFilter(workflow="etl")
UNDONE = workflow(
    step("pay", compensate={"type": "transform", "config": {"expression": "1"}}),
    step("ship", "pay"),
    name="etl",
    limit=10,
    on_cancel="compensate",
)


def reasons(sql: Sql, run_id: object) -> list[str]:
    """Return the reasons in a run's history, with who gave them."""
    query = "SELECT data ->> 'actor', data ->> 'reason' FROM events WHERE run_id = %s AND data::jsonb ? 'reason'"
    return [f"{actor}: {reason}" for actor, reason in sql.rows(query, run_id)]


async def test_a_filter_means_the_runs_that_the_verb_changes(hand: Hand, client: AsyncClient, sql: Sql):
    """They are planned, asked in one transaction, and each history says who, why and by which plan."""
    made = await hand.start_many(chain(2, name="etl"), 5)
    other = await hand.start(chain(2, name="other"))
    await hand.cancel(made[0])
    plan = await client.plan(Verb.CANCEL, ETL, options={"reason": "wrong file"})
    assert {target.id for target in plan.targets} == set(made[1:])
    outcomes = await client.carry_out(plan)
    assert tally(outcomes)["done"] == 4
    assert {sql.status(run_id) for run_id in made} == {"cancelled"}
    assert sql.status(other) == "running"
    assert reasons(sql, made[1])[0].endswith(f": wrong file [plan {plan.id}]")


async def test_a_plan_says_what_is_undone_and_which_slots_become_free(hand: Hand, client: AsyncClient):
    """Of gated runs that hold one, and steps that completed."""
    first = await hand.start(UNDONE)
    await hand.start(UNDONE)
    await hand.complete(first, "pay", 1)
    counts = (await client.plan(Verb.CANCEL, ETL)).counts()
    assert (counts["slots_freed"], counts["compensations"]) == (2, {"steps": 1, "runs": 1})


async def test_runs_that_have_changed_are_left_alone(hand: Hand, client: AsyncClient, sql: Sql):
    """Unless the plan is forced upon them; those that refuse keep no other from its answer."""
    made = await hand.start_many(chain(2, name="etl"), 4)
    plan = await client.plan(Verb.PAUSE, ETL)
    await hand.complete(made[0], "s0")
    await hand.cancel(made[1])
    outcomes = {one.run: one for one in await client.carry_out(plan, Manner(care=Care.EXACT))}
    assert {run_id: outcomes[run_id].result for run_id in made} == {
        made[0]: Result.CHANGED,
        made[1]: Result.CHANGED,
        made[2]: Result.DONE,
        made[3]: Result.DONE,
    }
    assert outcomes[made[1]].message == "was running, is cancelled"
    forced = {one.run: one.result for one in await client.carry_out(plan, Manner(care=Care.NONE))}
    assert (forced[made[0]], forced[made[1]]) == (Result.DONE, Result.REFUSED)
    assert sql.status(made[0]) == "paused"


@pytest.mark.parametrize("care", [Care.EXACT, Care.KIND])
async def test_a_run_that_changes_after_the_last_look_is_left_alone(
    hand: Hand, client: AsyncClient, sql: Sql, monkeypatch: pytest.MonkeyPatch, care: Care
):
    """Somebody retries a failed run between the look and the deed; it fails again, and is not retried twice."""
    first, second = await hand.start_many(chain(1, name="etl"), 2)
    await hand.fail(first, "s0")
    await hand.fail(second, "s0")
    plan = await client.plan(Verb.RETRY, [first, second])
    ask = client.ask_many

    async def late(entries):
        monkeypatch.undo()
        await hand.retry(first)
        await hand.fail(first, "s0")
        return await ask(entries)

    monkeypatch.setattr(client, "ask_many", late)
    outcomes = {one.run: one for one in await client.carry_out(plan, Manner(care=care))}
    assert [outcomes[run_id].result for run_id in (first, second)] == [Result.CHANGED, Result.DONE]
    assert outcomes[first].message == "has ended again, failed as before"
    assert (sql.status(first), sql.status(second)) == ("failed", "running")


async def test_a_run_that_has_left_the_statuses_asked_for_is_not_meant(
    hand: Hand, client: AsyncClient, monkeypatch: pytest.MonkeyPatch
):
    """It was paused when it was chosen; what a filter without a status chose may move on."""
    run_id = await hand.start(chain(2, name="etl"))
    await client.pause(run_id)
    named = await client.plan(Verb.CANCEL, replace(ETL, statuses=(RunStatus.PAUSED,)))
    unnamed = await client.plan(Verb.CANCEL, ETL)
    await client.resume(run_id)
    (left,) = await client.carry_out(named)
    assert (left.result, left.message) == (Result.CHANGED, "was paused, is running")
    (done,) = await client.carry_out(unnamed)
    assert done.result is Result.DONE


async def test_a_plan_that_was_interrupted_goes_on(hand: Hand, client: AsyncClient, sql: Sql):
    """What it did is known from the histories, whether anybody kept a journal or not."""
    made = await hand.start_many(chain(2, name="etl"), 6)
    plan = await client.plan(Verb.PAUSE, ETL)
    half = replace(plan, targets=plan.targets[:3])
    await client.carry_out(half, Manner(care=Care.EXACT))
    again = await client.carry_out(plan, Manner(care=Care.EXACT, done=frozenset([plan.targets[0].id])))
    assert tally(again) == {"done": 3, "earlier": 3, "refused": 0, "changed": 0}
    assert all(len(reasons(sql, run_id)) == 1 for run_id in made)


async def test_held_runs_go_on_together_with_their_deadlines(hand: Hand, client: AsyncClient, sql: Sql):
    """Each is as much later as its run stood still."""
    await hand.start_many(chain(2, name="etl", timeout="1h"), 3)
    before = sql.rows("SELECT id, deadline_at FROM runs ORDER BY id")
    await client.carry_out(await client.plan(Verb.PAUSE, ETL))
    outcomes = await client.carry_out(await client.plan(Verb.RESUME, ETL))
    assert tally(outcomes)["done"] == 3
    after = sql.rows("SELECT id, deadline_at FROM runs ORDER BY id")
    assert all(new > old for (_, old), (_, new) in zip(before, after, strict=True))


async def test_failed_runs_are_retried_from_a_step_that_they_have(hand: Hand, client: AsyncClient, sql: Sql):
    """A run whose version does not have it refuses."""
    old = await hand.start(chain(1, name="etl"))
    new = await hand.start(chain(2, name="etl"))
    await hand.fail(old, "s0")
    await hand.complete(new, "s0")
    await hand.fail(new, "s1")
    plan = await client.plan(Verb.RETRY, ETL, options={"from_step": "s1"})
    outcomes = {one.run: one.result for one in await client.carry_out(plan)}
    assert outcomes == {old: Result.REFUSED, new: Result.DONE}
    assert (sql.status(old), sql.status(new)) == ("failed", "running")


async def test_runs_are_replayed_once_however_often_the_plan_is_carried_out(hand: Hand, client: AsyncClient, sql: Sql):
    """Each with its own input, some of it changed."""
    made = [await hand.start(chain(1, name="etl"), {"no": no}) for no in range(3)]
    plan = await client.plan(Verb.REPLAY, made, options={"changes": {"input.again": True}})
    first = await client.carry_out(plan)
    second = await client.carry_out(plan)
    assert [one.started for one in first] == [one.started for one in second]
    assert (tally(first)["done"], tally(second)["earlier"]) == (3, 3)
    found = sql.rows("SELECT replay_of, input::text FROM runs WHERE replay_of IS NOT NULL ORDER BY replay_of")
    assert found == [(run_id, f'{{"no":{no},"again":true}}') for no, run_id in enumerate(made)]


async def test_ids_have_to_be_those_of_runs(hand: Hand, client: AsyncClient):
    """The first that is none is named, and nothing is planned."""
    run_id = await hand.start(chain(1, name="etl"))
    with pytest.raises(NotFound, match="there is no run ffffffff"):
        await client.plan(Verb.CANCEL, [run_id, "ffffffff-ffff-7fff-8fff-ffffffffffff"])
    plan: Plan = await client.plan(Verb.CANCEL, [str(run_id), run_id, str(run_id)[-12:]])
    assert [(one.id, one.status) for one in plan.targets] == [(run_id, RunStatus.RUNNING)]
