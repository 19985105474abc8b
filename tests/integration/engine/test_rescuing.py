"""Attempts that others have lost, begun by the worker whose sweeper finds them."""

from __future__ import annotations

from typing import Any

import pytest

from flowforge.client import AsyncClient
from flowforge.engine.entries import Applied, Consequences, Entry
from flowforge.engine.ledger import Ledger
from flowforge.errors import DatabaseUnavailable
from flowforge.model.facts import Woke
from tests.support.definitions import chain, step, workflow
from tests.support.eventually import eventually
from tests.support.executors import Held, Scripted
from tests.support.hand import Hand
from tests.support.sql import Sql

#: How often an attempt was found lost and begun again in one and the same decision.
AT_ONCE = """
SELECT count(*)::int FROM run_events WHERE events::text LIKE '%WORKER_LOST%' AND events::text LIKE '%step.started%'
"""


def expire(sql: Sql) -> None:
    """Let every lease end now."""
    sql.do("UPDATE steps SET due_at = clock_timestamp() WHERE status = 'running'")
    sql.do("UPDATE runs SET wake_at = clock_timestamp() WHERE wake_at IS NOT NULL")


async def lose(hand: Hand, sql: Sql, definition: dict[str, Any], number: int = 0) -> Any:
    """Let somebody claim a step and never be heard of again."""
    run_id = await hand.start(definition)
    await hand.claim(run_id, number)
    sql.do("DELETE FROM outbox")
    expire(sql)
    return run_id


async def test_a_lost_attempt_goes_on_with_the_worker_that_finds_it(hand: Hand, start_worker, sql: Sql, at_rest):
    """In one commit, and without a dispatch."""
    run_id = await lose(hand, sql, chain(1))
    await start_worker()
    await eventually(lambda: sql.status(run_id) == "completed")
    assert sql.value(AT_ONCE) == 1
    assert sql.rows("SELECT attempt, token, crashes FROM steps") == [(2, 2, 1)]
    await at_rest()


async def test_what_a_worker_does_not_serve_is_dispatched(hand: Hand, start_worker, sql: Sql):
    """Whoever serves its queue has it from the stream."""
    run_id = await lose(hand, sql, workflow(step("a", queue="gpu")))
    await start_worker()
    await eventually(lambda: sql.steps(run_id)["a"] == "queued")
    assert sql.value(AT_ONCE) == 0
    await start_worker(queues=("gpu",))
    await eventually(lambda: sql.status(run_id) == "completed")


async def test_a_python_step_is_begun_only_with_a_child_process_to_spare(hand: Hand, start_worker, sql: Sql):
    """Two are lost, there is one child: one is begun at once, the other comes through the stream."""
    held = Held()
    definition = workflow(step("p", kind="python", config={"function": "shop:effect"}))
    runs = [await lose(hand, sql, definition) for _ in range(2)]
    expire(sql)
    await start_worker(executors=Scripted(python=held), python_processes=1)
    await eventually(lambda: sql.value("SELECT sum(crashes)::int FROM steps") == 2)
    held.release.set()
    await eventually(lambda: [sql.status(run_id) for run_id in runs] == ["completed", "completed"])
    assert sql.value(AT_ONCE) == 1


async def test_a_worker_without_room_leaves_a_lost_attempt_to_others(
    client: AsyncClient, hand: Hand, start_worker, sql: Sql
):
    """It has one place, and that is taken."""
    held = Held()
    await start_worker(executors=Scripted(http=held), concurrency=1)
    await client.run(workflow(step("busy", kind="http", config={"url": "http://nowhere.example"})))
    await eventually(lambda: held.started)
    run_id = await lose(hand, sql, chain(1))
    await eventually(lambda: sql.steps(run_id)["s0"] == "queued")
    assert sql.value(AT_ONCE) == 0
    held.release.set()
    await eventually(lambda: sql.status(run_id) == "completed")


async def test_what_was_given_in_a_commit_without_an_answer_is_asked_for(
    hand: Hand, start_worker, sql: Sql, monkeypatch: pytest.MonkeyPatch
):
    """The connection ends after the commit: the attempt is begun all the same, and not lost a second time."""
    real, lost = Ledger.apply, list[int]()

    async def apply(ledger: Ledger, entries: list[Entry], **how: Any) -> tuple[list[Applied], Consequences]:
        answer = await real(ledger, entries, **how)
        woke = [entry.fact for entry in entries if isinstance(entry.fact, Woke)]
        if any(fact.taker is not None for fact in woke) and not lost:
            lost.append(1)
            raise DatabaseUnavailable
        return answer

    monkeypatch.setattr(Ledger, "apply", apply)
    run_id = await lose(hand, sql, chain(1))
    await start_worker()
    await eventually(lambda: sql.status(run_id) == "completed")
    assert sql.rows("SELECT attempt, token, crashes FROM steps") == [(2, 2, 1)]
    assert lost
