"""Steps that only compute are executed in the transaction that grants them: fewer commits, the same history."""

from __future__ import annotations

from uuid import UUID

from flowforge.client import AsyncClient
from flowforge.errors import DatabaseUnavailable
from flowforge.model.outcome import Completed
from tests.support.definitions import step, workflow
from tests.support.documents import steps_of
from tests.support.executors import Counting, Scripted
from tests.support.sql import Sql

THREE = workflow(
    step("a", expression="input.n + 1"),
    step("b", "a", expression="steps.a.output.result * 2"),
    step("c", "b", expression="steps.b.output.result - 1"),
)
HISTORY = [
    "workflow.created",
    "workflow.started",
    *("step.queued", "step.started", "step.completed") * 3,
    "workflow.completed",
]


def commits(sql: Sql, run_id: UUID) -> int:
    """Return how many transactions have written a run's history."""
    return int(sql.value("SELECT count(DISTINCT xid) FROM run_events WHERE run_id = %s", run_id))


async def test_a_run_that_only_computes_takes_two_commits(client: AsyncClient, start_worker, sql: Sql, at_rest):
    """Its start, and everything else; the history says the same as if each step had been committed apart."""
    await start_worker()
    run = await client.run(THREE, {"n": 3}, wait=True)
    assert (run.status, run.output) == ("completed", {"c": {"result": 7}})
    assert [event.type for event in await client.events(run.id)] == HISTORY
    assert [(one.attempts, one.worker is not None) for one in steps_of(run)] == [(1, True)] * 3
    assert commits(sql, run.id) == 2
    await at_rest()


async def test_a_step_with_an_effect_is_claimed_before_it_is_executed(client, start_worker, sql: Sql, at_rest):
    """Between two that compute: what comes behind it goes with its settlement."""
    seen: list[tuple[int, str]] = []

    def effect(assignment):
        (status,) = [row[0] for row in sql.rows("SELECT status::text FROM steps WHERE step_no = 1")]
        seen.append((commits(sql, assignment.run_id), status))
        return Completed(5)

    counting = Counting(effect)
    await start_worker(executors=Scripted(http=counting))
    call = step("call", "a", kind="http", config={"url": "http://x"})
    run = await client.run(
        workflow(step("a", expression="1"), call, step("b", "call", expression="steps.call.output")), wait=True
    )
    assert run.output == {"b": {"result": 5}}
    assert seen == [(2, "running")]
    assert commits(sql, run.id) == 3
    assert len(counting.executed) == 1
    await at_rest()


async def test_who_waited_at_a_gate_is_executed_in_the_transaction_that_lets_it_in(client, start_worker, sql, at_rest):
    """Its start is one commit, its admission and everything behind it the other; nobody else was in meanwhile."""
    limited = THREE | {"concurrency": {"limit": 1}}
    runs = [await client.run(limited, {"n": no}) for no in range(3)]
    await start_worker()
    ended = [await client.wait(run.id) for run in runs]
    assert [run.output for run in ended] == [{"c": {"result": 2 * (no + 1) - 1}} for no in range(3)]
    assert [[event.type for event in await client.events(run.id)] for run in ended] == [HISTORY] * 3
    assert [commits(sql, run.id) for run in ended[1:]] == [2, 2]
    await at_rest()


async def test_what_does_not_complete_is_settled_for_itself(client: AsyncClient, start_worker, sql: Sql, at_rest):
    """An expression that fails ends the run as it always did."""
    await start_worker()
    run = await client.run(workflow(step("a", expression="1"), step("b", "a", expression="1 / 0")), wait=True)
    assert (run.status, [one.status for one in steps_of(run)]) == ("failed", ["completed", "failed"])
    await at_rest()


async def test_what_was_committed_without_an_answer_is_not_executed_again(client, start_worker, sql: Sql, at_rest):
    """The claim finds that its step, and those behind it, are settled, and goes on with the one that has an effect."""
    counting = Counting()
    worker = await start_worker(executors=Scripted(http=counting))
    apply = worker.committer._ledger.apply
    lost: list[int] = []

    async def losing(entries, **how):
        answer = await apply(entries, **how)
        if not lost:
            lost.append(len(entries))
            raise DatabaseUnavailable("the answer is lost")
        return answer

    worker.committer._ledger.apply = losing
    call = step("call", "b", kind="http", config={"url": "http://x"})
    run = await client.run(workflow(step("a", expression="1"), step("b", "a", expression="2"), call))
    run = await client.wait(run.id, timeout=60)
    assert (run.status, len(counting.executed), lost) == ("completed", 1, [1])
    assert [one.attempts for one in steps_of(run)] == [1, 1, 1]
    await at_rest()
