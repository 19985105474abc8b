"""Starting runs: accepted means committed, with history and dispatches, or not at all."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest

from flowforge.client import AsyncClient
from flowforge.engine.engine import Engine
from flowforge.engine.starting import uuid7
from flowforge.errors import Conflict, DatabaseUnavailable, InputError, NotFound, UsageError
from flowforge.settings import Settings
from tests.support.definitions import chain, diamond, step, workflow
from tests.support.hand import Hand
from tests.support.servers import Servers, Stock
from tests.support.sql import Sql


async def test_a_start_commits_run_events_and_outbox_in_one_transaction(hand: Hand, sql: Sql):
    """All rows carry the same transaction id, so no moment shows one without the others."""
    run_id = await hand.start(workflow(step("a"), step("b")))
    xids = sql.rows(
        """SELECT xmin::text FROM runs UNION SELECT xmin::text FROM steps UNION SELECT xmin::text FROM run_events
           UNION SELECT xmin::text FROM outbox"""
    )
    assert len(xids) == 1
    assert sql.status(run_id) == "running"
    assert sql.steps(run_id) == {"a": "queued", "b": "queued"}
    assert sql.rows("SELECT lane, step_no, dispatch_no FROM outbox ORDER BY step_no") == [
        ("default", 0, 1),
        ("default", 1, 1),
    ]
    assert sql.events(run_id) == ["workflow.created", "workflow.started", "step.queued a", "step.queued b"]


@pytest.mark.parametrize("limit", [None, 5])
@pytest.mark.parametrize("table", ["runs", "steps", "run_events", "outbox"])
@pytest.mark.parametrize("at_commit", [False, True])
async def test_a_crash_before_the_commit_leaves_nothing(
    hand: Hand, sql: Sql, table: str, limit: int | None, at_commit: bool
):
    """Whatever was written before the crash is gone with its transaction; the next start succeeds."""
    request = await hand.request(chain(2, limit=limit))
    sql.sabotage(table, "kill", at_commit=at_commit)
    with pytest.raises(DatabaseUnavailable):
        await hand.engine.starter.start([request])
    assert [sql.counts(name) for name in ("runs", "steps", "run_events", "outbox")] == [0, 0, 0, 0]
    (started,), _ = await hand.engine.starter.start([request])
    assert sql.status(started.id) == "running"


async def test_starts_that_come_together_share_a_transaction_and_keep_their_order(hand: Hand, sql: Sql):
    """One answer each, in the order of the requests."""
    requests = [await hand.request(chain(1), {"no": no}) for no in range(20)]
    started, consequences = await hand.engine.starter.start(requests)
    assert [one.id for one in started] == [one.run_id for one in requests]
    assert consequences.dispatched == 20
    assert sql.value("SELECT count(DISTINCT xmin::text) FROM runs") == 1
    assert (
        sql.rows("SELECT input ->> 'no' FROM runs ORDER BY id") == [(str(no),) for no in range(20)]
        or sql.value("SELECT count(DISTINCT input ->> 'no') FROM runs") == 20
    )


async def test_run_ids_are_ordered_by_the_time_of_their_start():
    """New runs stay close in every index, and ordering by id is ordering by time."""
    ids = []
    for _ in range(3):
        ids.append(uuid7())
        await asyncio.sleep(0.002)
    assert ids == sorted(ids)
    assert {one.version for one in ids} == {7}


async def test_a_workflow_without_a_limit_takes_no_gate(hand: Hand, sql: Sql):
    """No lock is shared by its runs."""
    run_ids = await hand.start_many(chain(1), 150)
    assert sql.value("SELECT count(*) FROM runs WHERE status = 'running' AND gate_id IS NULL") == len(run_ids)
    assert sql.counts("gates") == 0


async def test_a_run_pins_the_version_it_was_started_with(client: AsyncClient, hand: Hand, sql: Sql):
    """Publishing a new version changes nothing for runs that exist."""
    first = await client.run(chain(1))
    second = await client.run(chain(2))
    assert (first.version, second.version) == (1, 2)
    await hand.finish(first.id, {"v": 1})
    assert sql.status(first.id) == "completed"
    assert sql.steps(first.id) == {"s0": "completed"}


async def test_publishing_the_same_content_again_makes_no_version(client: AsyncClient, sql: Sql):
    """The digest decides, also when ten publish at once."""
    made = await asyncio.gather(*(client.publish(diamond()) for _ in range(10)))
    assert sum(one.created for one in made) == 1
    assert {one.version for one in made} == {1}
    assert sql.counts("workflow_versions") == 1


async def test_concurrent_publishing_numbers_versions_without_gaps(client: AsyncClient, sql: Sql):
    """Versions of one workflow are serialised by its row."""
    await asyncio.gather(*(client.publish(chain(length)) for length in range(1, 7)))
    assert sql.rows("SELECT version FROM workflow_versions ORDER BY version") == [(no,) for no in range(1, 7)]


async def test_a_draft_cannot_be_started_until_it_is_published(client: AsyncClient):
    """Draft → published → archived; only published versions start."""
    await client.publish(chain(1), draft=True)
    with pytest.raises(Conflict, match=r"draft|no published"):
        await client.run("test-workflow")
    published = await client.publish_draft("test-workflow")
    assert (await client.run("test-workflow")).version == published.version
    await client.archive("test-workflow")
    with pytest.raises(Conflict, match=r"archived|no published"):
        await client.run("test-workflow")


async def test_what_does_not_exist_is_named(client: AsyncClient):
    """With the name that was probably meant."""
    await client.publish(chain(1))
    with pytest.raises(NotFound, match="tset-workflow") as caught:
        await client.run("tset-workflow")
    assert "test-workflow" in (caught.value.hint or "")
    with pytest.raises(NotFound, match="version 7"):
        await client.run("test-workflow@7")
    with pytest.raises(NotFound):
        await client.get("0123456789abcdef0123456789abcdef")
    with pytest.raises(UsageError):
        await client.get("not-a-run")


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ({"a": float("nan")}, "input"),
        ({"a": "\0"}, "NUL"),
        ({"a": "\ud800"}, "surrogate"),
        ({"a": object()}, "not JSON"),
        ("x" * 2_000_000, "limit"),
    ],
)
async def test_an_input_that_cannot_be_stored_is_refused_before_anything_is_written(
    client: AsyncClient, sql: Sql, value: object, says: str
):
    """InputError says what is wrong; nothing is accepted."""
    with pytest.raises(InputError, match=says):
        await client.run(chain(1), value)
    assert sql.counts("runs") == 0


async def test_an_input_nested_without_end_is_refused(client: AsyncClient, sql: Sql):
    """10,000 levels are an error of the input, not of the interpreter."""
    value: object = 1
    for _ in range(10_000):
        value = [value]
    with pytest.raises(InputError, match="nested"):
        await client.run(chain(1), value)
    assert sql.counts("runs") == 0


async def test_an_input_against_its_schema_is_refused(client: AsyncClient, sql: Sql):
    """Checked at start, with the place."""
    definition = chain(
        1, input_schema={"type": "object", "required": ["order"], "properties": {"order": {"type": "string"}}}
    )
    with pytest.raises(InputError, match="order"):
        await client.run(definition, {})
    with pytest.raises(InputError, match="order"):
        await client.run(definition, {"order": 5})
    assert sql.counts("runs") == 0
    assert (await client.run(definition, {"order": "5"})).status == "running"


@pytest.mark.parametrize(
    "how",
    [
        {"idempotency_key": ""},
        {"idempotency_key": "k" * 256},
        {"idempotency_key": "a\0b"},
        {"idempotency_key": "\ud800"},
        {"priority": 40_000},
        {"labels": {"team": "a\0b"}},
        {"labels": {"team": "\ud800"}},
    ],
    ids=str,
)
async def test_a_key_label_or_priority_that_cannot_be_stored_is_a_usage_error(
    client: AsyncClient, sql: Sql, how: dict[str, Any]
):
    """Not an error of the driver, and nothing is accepted."""
    with pytest.raises(UsageError):
        await client.run(chain(1), **how)
    assert sql.counts("runs") == 0


async def test_lanes_separate_queues_and_python_steps(hand: Hand, sql: Sql):
    """A python step needs a child process: its dispatches have a stream of their own."""
    definition = workflow(
        step("a", queue="gpu"),
        step("b"),
        step("c", kind="python", config={"function": "json:dumps", "args": {}}),
    )
    await hand.start(definition)
    lanes = sql.rows("SELECT lane FROM outbox ORDER BY step_no")
    assert list(itertools.chain(*lanes)) == ["gpu", "default", "default.python"]


async def test_two_installations_on_one_redis_have_different_names(
    engine: Engine, session_servers: Servers, stock: Stock, settings: Settings
):
    """Two databases can share a server and never see each other's work."""
    with stock.lend() as url:
        from flowforge.engine.engine import Endpoints

        async with Engine(Endpoints(url, session_servers.redis_url), settings) as other:
            assert other.names.prefix != engine.names.prefix
