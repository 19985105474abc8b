"""Search: every filter finds what looking at every run finds, in every order, a page at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from flowforge.client import AsyncClient
from flowforge.model.documents import SORTS, Run, RunFilter
from flowforge.model.status import RunStatus, StepStatus
from flowforge.store import search
from tests.support.definitions import chain, step, workflow
from tests.support.hand import Hand
from tests.support.sql import Sql

ORDERS = workflow(
    step("charge", expression="input.no"),
    step("ship", "charge"),
    name="orders",
    search=["input.customer", "output.ship"],
)
OLDER = workflow(step("charge"), name="orders")


@pytest.fixture
async def populated(hand: Hand, client: AsyncClient, sql: Sql) -> list[Run]:
    """Thirty runs of two workflows, one with two versions, in every status, with labels and errors."""
    made = [await hand.start(OLDER, {"no": no, "customer": no % 3}, labels={"team": "a"}) for no in range(4)]
    for no in range(16):
        labels = {"team": "ab"[no % 2], "odd": str(no % 2 == 1).lower()} if no % 4 else None
        trigger = "schedule" if no % 5 == 0 else "api"
        made.append(await hand.start(ORDERS, {"no": no, "customer": no % 3}, labels=labels, trigger=trigger))
    for no in range(8):
        made.append(await hand.start(chain(2, name="etl"), {"customer": no % 3}, replay_of=made[no % 2]))
    for no, run_id in enumerate(made):
        if no % 4 == 1:
            await hand.cancel(run_id)
    # How runs come to stand so is the subject of other tests; here they only have to.
    sql.do(
        """UPDATE runs SET status = 'failed', finished_at = started_at + interval '3 s', error = jsonb_build_object(
               'code', CASE WHEN right(id::text, 1) < '8' THEN 'HTTP_503' ELSE 'TIMEOUT' END, 'message', 'gone away')
           WHERE id = ANY(%s)""",
        made[2::4],
    )
    sql.do(
        """UPDATE steps SET status = 'failed', finished_at = now(), error = '{"code": "X"}' WHERE run_id = ANY(%s)""",
        made[2::4],
    )
    sql.do("UPDATE steps SET status = 'completed', finished_at = now() WHERE run_id = ANY(%s)", made[3::4])
    sql.do(
        """UPDATE runs SET status = 'completed', finished_at = started_at + make_interval(secs => seq * 1.5)
           WHERE id = ANY(%s)""",
        made[3::4],
    )
    return await client.runs(RunFilter(limit=100), steps=True)


def _has_words(run: Run, word: str) -> bool:
    error = run.error or {}
    return word in f"{run.workflow} {run.id} {run.labels} {error.get('code')} {error.get('message')}".lower()


def _customer(run: Run) -> Any:
    return run.input["customer"] if isinstance(run.input, dict) else None


def _step(run: Run, name: str, status: StepStatus) -> bool:
    return any(one.id == name and one.status is status for one in run.steps or ())


CASES: list[tuple[RunFilter, Callable[[Run], Any]]] = [
    (RunFilter(), lambda run: True),
    (RunFilter(statuses=(RunStatus.FAILED,)), lambda run: run.status == "failed"),
    (RunFilter(statuses=(RunStatus.FAILED, RunStatus.CANCELLED)), lambda run: run.status in ("failed", "cancelled")),
    (RunFilter(statuses=(RunStatus.RUNNING,)), lambda run: run.status == "running"),
    (RunFilter(statuses=(RunStatus.RUNNING, RunStatus.FAILED)), lambda run: run.status in ("running", "failed")),
    (RunFilter(statuses=(RunStatus.COMPLETED,)), lambda run: run.status == "completed"),
    (RunFilter(workflow="orders"), lambda run: run.workflow == "orders"),
    (RunFilter(workflow="or*"), lambda run: run.workflow == "orders"),
    (RunFilter(workflow="*"), lambda run: True),
    (RunFilter(workflow="or_ers"), lambda run: False),
    (RunFilter(version=1), lambda run: run.version == 1),
    (RunFilter(workflow="orders", version=2), lambda run: (run.workflow, run.version) == ("orders", 2)),
    (RunFilter(workflow="orders", version=9), lambda run: False),
    (
        RunFilter(workflow="orders", statuses=(RunStatus.FAILED, RunStatus.CANCELLED)),
        lambda run: run.workflow == "orders" and run.status in ("failed", "cancelled"),
    ),
    (
        RunFilter(workflow="etl", statuses=(RunStatus.RUNNING,)),
        lambda run: run.workflow == "etl" and run.status == "running",
    ),
    (RunFilter(labels=(("team", "a"),)), lambda run: run.labels.get("team") == "a"),
    (RunFilter(labels=(("team", "b"), ("odd", "true"))), lambda run: run.labels == {"team": "b", "odd": "true"}),
    (RunFilter(trigger="schedule"), lambda run: run.trigger == "schedule"),
    (RunFilter(trigger="api"), lambda run: run.trigger == "api"),
    (RunFilter(error="HTTP_503"), lambda run: (run.error or {}).get("code") == "HTTP_503"),
    (RunFilter(steps=(("charge", StepStatus.FAILED),)), lambda run: _step(run, "charge", StepStatus.FAILED)),
    (RunFilter(steps=(("charge", StepStatus.QUEUED),)), lambda run: _step(run, "charge", StepStatus.QUEUED)),
    (RunFilter(steps=(("ship", StepStatus.PENDING),)), lambda run: _step(run, "ship", StepStatus.PENDING)),
    (RunFilter(steps=(("ship", StepStatus.CANCELLED),)), lambda run: _step(run, "ship", StepStatus.CANCELLED)),
    (
        RunFilter(fields=(("input.customer", "2"),), workflow="orders", version=2),
        lambda run: (run.workflow, run.version) == ("orders", 2) and _customer(run) == 2,
    ),
    (
        RunFilter(fields=(("input.customer", "2"),), workflow="etl"),
        lambda run: run.workflow == "etl" and _customer(run) == 2,
    ),
    (RunFilter(fields=(("input.nothing", "2"),)), lambda run: False),
    (RunFilter(words=("gone",)), lambda run: _has_words(run, "gone")),
    (
        RunFilter(words=("ORDERS",), without=("timeout",)),
        lambda run: run.workflow == "orders" and "timeout" not in str(run.error).lower(),
    ),
]


@pytest.mark.parametrize("sort", SORTS)
async def test_every_filter_finds_what_looking_finds(populated: list[Run], client: AsyncClient, sort):
    """In each order, in pages of three that join without gaps or repetitions."""
    for wanted, matches in CASES:
        expected = [run.id for run in populated if matches(run)]
        if sort == "finished":
            expected = [run.id for run in populated if matches(run) and run.finished_at]
        if sort == "duration":
            expected = [run.id for run in populated if matches(run) and run.started_at]
        whole = await client.find(replace(wanted, sort=sort, limit=100))
        ids = [run.id for run in whole.runs]
        assert sorted(ids) == sorted(expected), (sort, wanted)
        assert whole.after is None
        paged: list[Any] = []
        after = None
        while not paged or after:
            page = await client.find(replace(wanted, sort=sort, limit=3, after=after))
            paged += [run.id for run in page.runs]
            after = page.after
            if after is None:
                break
        if sort != "duration" or all(run.finished_at for run in whole.runs):
            assert paged == ids, (sort, wanted)


async def test_orders_are_those_that_are_named(populated: list[Run], client: AsyncClient):
    """The newest and the longest first, workflows by name."""
    runs = {sort: (await client.find(RunFilter(sort=sort, limit=100))).runs for sort in SORTS}
    assert [run.id for run in runs["created"]] == sorted((run.id for run in populated), reverse=True)
    finished = [run.finished_at for run in runs["finished"] if run.finished_at]
    assert finished == sorted(finished, reverse=True)
    took = [run.finished_at - run.started_at for run in runs["duration"] if run.finished_at and run.started_at]
    assert took == sorted(took, reverse=True)
    assert [run.workflow for run in runs["workflow"]] == sorted(run.workflow for run in populated)


async def test_time_bounds_are_exact(populated: list[Run], client: AsyncClient):
    """By the time of creation, to the microsecond; whatever the ids say."""
    middle = sorted(run.created_at for run in populated)[12]
    since = await client.runs(RunFilter(since=middle, limit=100))
    until = await client.runs(RunFilter(until=middle, limit=100))
    assert {run.id for run in since} == {run.id for run in populated if run.created_at >= middle}
    assert {run.id for run in until} == {run.id for run in populated if run.created_at < middle}
    assert not await client.runs(RunFilter(until=middle - timedelta(days=1)))


async def test_replays_and_parents_are_found_by_reference(populated: list[Run], client: AsyncClient):
    """A part of the id is enough."""
    original = next(run.replay_of for run in populated if run.replay_of)
    found = await client.runs(RunFilter(replay_of=str(original)[-10:], limit=100))
    assert {run.id for run in found} == {run.id for run in populated if run.replay_of == original}
    assert not await client.runs(RunFilter(parent=str(original)))


async def test_a_field_is_found_by_its_index_where_it_is_declared(populated: list[Run], client: AsyncClient):
    """Versions that do not declare it are left out, and named."""
    found = await client.find(RunFilter(workflow="orders", fields=(("input.customer", "2"),)))
    assert {run.version for run in found.runs} == {2}
    assert found.undeclared == ("orders@1",)
    everywhere = await client.find(RunFilter(fields=(("input.customer", "2"),)))
    assert {run.workflow for run in everywhere.runs} == {"orders"}


async def test_outputs_are_filed_when_a_run_completes(hand: Hand, client: AsyncClient, sql: Sql):
    """And inputs when it starts."""
    run_id = await hand.start(ORDERS, {"no": 7, "customer": "Ada"})
    assert sql.rows("SELECT name, value FROM run_keys ORDER BY name") == [("input.customer", "Ada")]
    await hand.complete(run_id, "charge", 7)
    await hand.complete(run_id, "ship", 9)
    assert sql.rows("SELECT name, value FROM run_keys ORDER BY name") == [
        ("input.customer", "Ada"),
        ("output.ship", "9"),
    ]
    (found,) = await client.runs(RunFilter(fields=(("output.ship", "9"), ("input.customer", "Ada"))))
    assert found.id == run_id


async def test_a_bound_that_is_reached_is_said_and_passed(
    populated: list[Run], client: AsyncClient, monkeypatch: pytest.MonkeyPatch
):
    """A page names how many it looked at, and where the next one goes on."""
    monkeypatch.setattr(search, "MOST_SLOWLY", 10)
    wanted = RunFilter(words=("nowhere",))
    page = await client.find(wanted)
    assert (page.runs, page.looked_at, page.after) == ([], 10, populated[9].id)
    page = await client.find(replace(wanted, after=page.after))
    page = await client.find(replace(wanted, after=page.after))
    assert (page.looked_at, page.after) == (None, None)
    every = [run_id async for ids in client.every(RunFilter(words=("etl",))) for run_id in ids]
    assert every == [run.id for run in populated if run.workflow == "etl"]


async def test_short_runs_come_behind_the_long_ones_and_are_sorted_among_the_newest(
    hand: Hand, client: AsyncClient, sql: Sql, monkeypatch: pytest.MonkeyPatch
):
    """Those of a second and more are found however old they are; of the others, a page says how many it looked at."""
    seconds = [5, 0.2, 0.9, 0.1, 1, 3, 0.5, 0.3]
    made = [await hand.start(OLDER) for _ in seconds]
    for run_id, took in zip(made, seconds, strict=True):
        sql.do(
            """UPDATE runs SET status = 'completed', started_at = created_at,
                   finished_at = created_at + make_interval(secs => %s) WHERE id = %s""",
            took,
            run_id,
        )
    wanted = RunFilter(sort="duration", limit=100)
    found = await client.find(wanted)
    assert [run.id for run in found.runs] == [made[no] for no in (0, 5, 4, 2, 6, 7, 1, 3)]
    assert found.looked_at is None
    monkeypatch.setattr(search, "MOST_SLOWLY", 4)
    bounded = await client.find(wanted)
    assert [run.id for run in bounded.runs] == [made[no] for no in (0, 5, 4, 6, 7)]
    assert bounded.looked_at == 4
    assert (await client.find(replace(wanted, limit=3))).looked_at is None


async def test_runs_are_counted_by_status(populated: list[Run], client: AsyncClient):
    """All of a filter, whatever its limit."""
    counts = await client.count(RunFilter(workflow="orders", limit=1))
    expected: dict[RunStatus, tuple[int, bool]] = {}
    for run in populated:
        if run.workflow == "orders":
            expected[run.status] = (expected.get(run.status, (0, True))[0] + 1, True)
    assert counts == expected
    assert await client.count(RunFilter(workflow="nothing")) == {}
