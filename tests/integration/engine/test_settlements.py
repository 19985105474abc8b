"""Settlements: outcomes, joins and continuations, fenced by tokens, decided under the run's lock."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from flowforge.engine.entries import Entry
from flowforge.errors import BackendError
from flowforge.model.facts import Accepted, Refusal, Refused, Woke
from flowforge.model.outcome import Cancelled, Completed, Failed, Outcome, Released, Waiting
from tests.support.definitions import branching, chain, diamond, fan, parallel, step, workflow
from tests.support.hand import Hand, error
from tests.support.sql import Sql


def everything(sql: Sql) -> list[Any]:
    """Return all that a settlement could change."""
    return [
        sql.rows("SELECT * FROM runs ORDER BY id"),
        sql.rows("SELECT * FROM steps ORDER BY run_id, step_no"),
        sql.rows("SELECT * FROM run_events ORDER BY run_id, seq"),
        sql.rows("SELECT * FROM outbox ORDER BY id"),
    ]


@pytest.mark.parametrize(
    "outcome",
    [Completed("late"), Failed(error()), Cancelled(), Released(), Waiting(timedelta(0))],
    ids=lambda o: type(o).__name__,
)
@pytest.mark.parametrize("token", [0, 2, 7])
async def test_a_settlement_with_another_token_changes_nothing(hand: Hand, sql: Sql, outcome: Outcome, token: int):
    """No commit with an old token succeeds: not a row, not an event, not a dispatch."""
    claimed = await hand.claim(await hand.start(chain(2)), 0)
    before = everything(sql)
    applied = await hand.settle(claimed, outcome, token=token)
    assert applied.answer == Refused(Refusal.STALE)
    assert everything(sql) == before


async def test_an_attempt_is_settled_once(hand: Hand, sql: Sql):
    """The second settlement of one attempt is stale, whatever it says."""
    claimed = await hand.claim(await hand.start(chain(2)), 0)
    await hand.settle(claimed, Completed("first"))
    before = everything(sql)
    assert (await hand.settle(claimed, Failed(error()))).answer == Refused(Refusal.STALE)
    assert everything(sql) == before


async def test_a_settlement_dispatches_its_successors_in_its_own_transaction(hand: Hand, sql: Sql):
    """Outcome, counters, events and outbox are one commit."""
    run_id = await hand.start(diamond())
    sql.do("DELETE FROM outbox")
    await hand.complete(run_id, "a", {"n": 1})
    assert sql.steps(run_id) == {"a": "completed", "b": "queued", "c": "queued"}
    assert sql.rows("SELECT step_no, dispatch_no FROM outbox ORDER BY id") == [(1, 1), (2, 1)]
    query = "SELECT xmin::text FROM runs UNION SELECT xmin::text FROM steps UNION SELECT xmin::text FROM outbox"
    assert len(sql.rows(query)) == 1


async def test_a_continuation_claims_one_successor_and_dispatches_the_others(hand: Hand, sql: Sql):
    """One commit and one stream trip less; the step has its own lease and token all the same."""
    run_id = await hand.start(diamond())
    sql.do("DELETE FROM outbox")
    applied = await hand.settle(await hand.claim(run_id, "a"), Completed(1), lanes=["default"])
    assert isinstance(applied.answer, Accepted)
    assert applied.assignment is not None
    assert applied.assignment.step.id == "b"
    assert sql.steps(run_id) == {"a": "completed", "b": "running", "c": "queued"}
    assert sql.rows("SELECT step_no FROM outbox") == [(2,)]
    assert sql.events(run_id)[-3:] == ["step.queued b", "step.queued c", "step.started b"]


async def test_a_successor_in_a_lane_without_room_is_dispatched(hand: Hand, sql: Sql):
    """A worker only goes on with what it said it can take."""
    run_id = await hand.start(workflow(step("a"), step("b", "a", queue="gpu")))
    applied = await hand.settle(await hand.claim(run_id, "a"), Completed(1), lanes=["default"])
    assert applied.assignment is None
    assert sql.steps(run_id)["b"] == "queued"


async def test_two_branches_that_settle_at_the_same_instant_run_the_join_once(make_engine, sql: Sql, at_rest):
    """Two ledgers, many repetitions: neither misses that the other was last, and it is queued exactly once."""
    hands = [Hand(await make_engine(), f"hand-{no}") for no in range(2)]
    for hand in hands:
        await hand.publish(diamond())
    run_ids = await hands[0].start_many(diamond(), 60)
    for run_id in run_ids:
        await hands[0].complete(run_id, "a")
        claims = [await hand.claim(run_id, name) for hand, name in zip(hands, "bc", strict=True)]
        await asyncio.gather(*(hand.settle(claim, Completed(None)) for hand, claim in zip(hands, claims, strict=True)))
    query = "SELECT count(*) FROM events WHERE type = 'step.queued' AND step = 'd' GROUP BY run_id"
    assert sql.rows(query) == [(1,)] * 60
    assert sql.value("SELECT count(*) FROM outbox WHERE step_no = 3") == 60
    for run_id in run_ids:
        await hands[0].complete(run_id, "d")
    sql.do("DELETE FROM outbox")
    assert await at_rest() == 60


async def test_all_branches_of_a_join_may_settle_in_one_batch(hand: Hand, sql: Sql):
    """Facts about one run are applied in order, on one working copy."""
    run_id = await hand.start(fan(20))
    await hand.complete(run_id, "start")
    claims, _ = await hand.engine.ledger.apply([await hand.claiming(run_id, no) for no in range(1, 21)])
    applied, _ = await hand.engine.ledger.apply([hand.settling(one, Completed(no)) for no, one in enumerate(claims)])
    assert all(isinstance(one.answer, Accepted) for one in applied)
    assert sql.steps(run_id)["join"] == "queued"
    await hand.complete(run_id, "join")
    assert sql.status(run_id) == "completed"


async def test_a_batch_may_settle_and_claim_the_same_run(hand: Hand, sql: Sql):
    """One transaction with both; the answers are in order."""
    run_id = await hand.start(workflow(step("a"), step("b"), step("c", "a")))
    claimed = await hand.claim(run_id, "a")
    entries = [hand.settling(claimed, Completed(1)), await hand.claiming(run_id, "b")]
    applied, _ = await hand.engine.ledger.apply(entries)
    assert isinstance(applied[0].answer, Accepted)
    assert applied[1].assignment is not None
    assert sql.steps(run_id) == {"a": "completed", "b": "running", "c": "queued"}


@pytest.mark.parametrize(
    ("amount", "taken", "skipped"), [(50, ["big", "bigger"], ["small"]), (5, ["small"], ["big", "bigger"])]
)
async def test_a_decision_that_reaches_further_than_was_loaded_loads_the_whole_run(
    hand: Hand, sql: Sql, amount: int, taken: list[str], skipped: list[str]
):
    """Skips cascade over steps that no fact named; the branches rejoin by themselves."""
    run_id = await hand.start(branching(), {"amount": amount})
    claimed = await hand.claim(run_id, "choice")
    await hand.settle(claimed, Completed({}, branch="true" if amount > 10 else "false"))
    found = sql.steps(run_id)
    assert [found[name] for name in skipped] == ["skipped"] * len(skipped)
    await hand.finish(run_id)
    found = sql.steps(run_id)
    assert [found[name] for name in (*taken, "end")] == ["completed"] * (len(taken) + 1)
    assert sql.status(run_id) == "completed"


async def test_a_failed_step_fails_the_run_once_what_runs_has_finished(hand: Hand, sql: Sql):
    """Nothing new starts; the sibling's result is still recorded."""
    run_id = await hand.start(workflow(step("a"), step("b"), step("c", "a", "b"), step("d")))
    sibling = await hand.claim(run_id, "b")
    await hand.fail(run_id, "a")
    assert sql.status(run_id) == "running"
    assert sql.steps(run_id) == {"a": "failed", "b": "running", "d": "cancelled"}
    await hand.settle(sibling, Completed("done"), lanes=["default"])
    assert sql.status(run_id) == "failed"
    assert sql.value("SELECT output FROM steps WHERE step_no = 1") == "done"
    assert sql.value("SELECT error ->> 'code' FROM runs") == "TEST"
    assert sql.events(run_id)[-4:] == [
        "workflow.failing",
        "step.completed b",
        "workflow.incident_opened",
        "workflow.failed",
    ]


async def test_a_retryable_failure_waits_for_its_time_and_runs_again(hand: Hand, sql: Sql):
    """The attempt after the time is a new one, under a new token."""
    retry = {"max_attempts": 3, "initial_delay": "10s", "jitter": False}
    run_id = await hand.start(workflow(step("a", retry=retry)))
    await hand.fail(run_id, "a", retryable=True)
    row = "SELECT status::text, attempt, failures, due_at > clock_timestamp() FROM steps"
    assert sql.rows(row) == [("waiting", 1, 1, True)]
    await hand.wake(run_id)
    assert sql.steps(run_id) == {"a": "waiting"}, "the time has not come"
    sql.do("UPDATE steps SET due_at = clock_timestamp()")
    await hand.wake(run_id)
    claimed = await hand.claim(run_id, "a")
    assert claimed.assignment is not None
    assert (claimed.assignment.attempt, claimed.assignment.token) == (2, 2)


async def test_the_last_attempt_that_fails_fails_the_step(hand: Hand, sql: Sql):
    """After max_attempts there is no further one."""
    retry = {"max_attempts": 2, "initial_delay": "1ms", "jitter": False}
    run_id = await hand.start(workflow(step("a", retry=retry)))
    await hand.fail(run_id, "a", retryable=True)
    sql.do("UPDATE steps SET due_at = clock_timestamp()")
    await hand.wake(run_id)
    await hand.fail(run_id, "a", retryable=True)
    assert (sql.status(run_id), sql.steps(run_id)) == ("failed", {"a": "failed"})


@pytest.mark.parametrize(("on_error", "status"), [("continue", "failed"), ("skip", "skipped")])
async def test_error_handling_lets_the_run_go_on(hand: Hand, sql: Sql, on_error: str, status: str):
    """The step's error stays on its row; the successors run."""
    run_id = await hand.start(workflow(step("a", on_error=on_error), step("b", "a")))
    await hand.fail(run_id, "a")
    assert sql.steps(run_id) == {"a": status, "b": "queued"}
    await hand.finish(run_id)
    assert sql.status(run_id) == "completed"


async def test_a_parallel_step_that_fails_fast_stops_its_other_children(hand: Hand, sql: Sql):
    """Queued ones are cancelled at once, running ones are told."""
    run_id = await hand.start(
        workflow(parallel("fan", step("x"), step("y"), step("z"), wait_for_all=False), step("end", "fan"))
    )
    running = await hand.claim(run_id, "fan.y")
    claimed = await hand.claim(run_id, "fan.x")
    _, consequences = await hand.engine.ledger.apply([hand.settling(claimed, Failed(error()))])
    assert running.assignment is not None
    assert [(worker, step) for worker, _, step, _ in consequences.stops] == [("hand", running.assignment.step.no)]
    found = sql.steps(run_id)
    assert (found["fan"], found["fan.x"], found["fan.y"], found["fan.z"]) == (
        "failed",
        "failed",
        "running",
        "cancelled",
    )
    await hand.settle(running, Cancelled())
    assert sql.status(run_id) == "failed"


async def test_a_commit_that_was_not_confirmed_is_repeated_harmlessly(hand: Hand, sql: Sql):
    """The backend dies after the commit and before the answer: what is repeated is stale, and counted once."""
    run_id = await hand.start(chain(2))
    claimed = await hand.claim(run_id, 0)
    _lose_the_answer(hand, sql)
    with pytest.raises(BackendError):
        await hand.settle(claimed, Completed("once"))
    assert sql.steps(run_id) == {"s0": "completed", "s1": "queued"}
    before = everything(sql)
    assert (await hand.settle(claimed, Completed("once"))).answer == Refused(Refusal.STALE)
    assert everything(sql) == before


async def test_a_repetition_that_says_so_is_accepted_without_effect(hand: Hand, sql: Sql):
    """Its worker did nothing wrong: the outcome is stored, and not late."""
    run_id = await hand.start(chain(2))
    claimed = await hand.claim(run_id, 0)
    await hand.settle(claimed, Completed("once"))
    before = everything(sql)
    assert (await hand.settle(claimed, Completed("once"), repeated=True)).answer == Accepted()
    assert everything(sql) == before
    assert (await hand.settle(claimed, Completed("x"), repeated=True, token=7)).answer == Refused(Refusal.STALE)


async def test_a_claim_that_was_not_confirmed_is_granted_to_the_worker_that_asks_again(hand: Hand, sql: Sql):
    """No attempt is lost, and none is charged."""
    run_id = await hand.start(chain(1))
    _lose_the_answer(hand, sql)
    with pytest.raises(BackendError):
        await hand.claim(run_id, 0)
    again = await hand.claim(run_id, 0, repeated=True)
    assert again.assignment is not None
    assert (again.assignment.attempt, again.assignment.token) == (1, 1)
    await hand.settle(again, Completed(1))
    assert sql.events(run_id).count("step.started s0") == 1


async def test_a_continuation_that_was_not_confirmed_is_handed_out_when_asked_again(hand: Hand, sql: Sql):
    """The successor was claimed in the commit whose answer was lost: nobody else will execute it for a lease."""
    run_id = await hand.start(chain(2))
    claimed = await hand.claim(run_id, 0)
    _lose_the_answer(hand, sql)
    with pytest.raises(BackendError):
        await hand.settle(claimed, Completed("once"), lanes=["default"])
    assert sql.steps(run_id) == {"s0": "completed", "s1": "running"}
    again = await hand.settle(claimed, Completed("once"), lanes=["default"], repeated=True)
    assert again.assignment is not None, "s1 is leased to this worker, which does not know it"
    assert again.assignment.step.id == "s1"
    assert sql.events(run_id).count("step.started s1") == 1


@pytest.mark.parametrize("outcome", [Completed("x"), Failed(error())], ids=lambda one: type(one).__name__)
async def test_a_crash_in_the_middle_of_a_settlement_leaves_the_attempt_as_it_was(
    hand: Hand, sql: Sql, outcome: Outcome
):
    """Everything is written, and then the server's process dies before the commit; decided under a lock or without."""
    claimed = await hand.claim(await hand.start(chain(2)), 0)
    before = everything(sql)
    sql.sabotage("run_events", "kill", at_commit=True)
    with pytest.raises(BackendError):
        await hand.settle(claimed, outcome)
    assert everything(sql) == before
    assert isinstance((await hand.settle(claimed, outcome)).answer, Accepted)


async def test_outputs_of_a_run_have_a_limit_together(make_engine, sql: Sql):
    """The step that crosses it fails with the reason."""
    hand = Hand(await make_engine(max_run_bytes=2048))
    run_id = await hand.start(chain(3))
    await hand.complete(run_id, 0, "x" * 1500)
    await hand.complete(run_id, 1, "x" * 1500)
    assert sql.status(run_id) == "failed"
    assert sql.value("SELECT error ->> 'code' FROM runs") == "RUN_TOO_LARGE"
    assert sql.value("SELECT output FROM steps WHERE step_no = 1") is None


async def test_a_released_attempt_is_not_counted(hand: Hand, sql: Sql):
    """It goes back to the queue, for anybody, under a new dispatch."""
    run_id = await hand.start(chain(1))
    await hand.settle(await hand.claim(run_id, 0), Released())
    assert sql.rows("SELECT status::text, attempt, failures, crashes, dispatch_no, worker FROM steps") == [
        ("queued", 0, 0, 0, 2, None)
    ]
    again = await hand.claim(run_id, 0)
    assert again.assignment is not None
    assert (again.assignment.attempt, again.assignment.token) == (1, 2)


async def test_facts_about_one_run_in_concurrent_batches_keep_its_history_without_gaps(make_engine, sql: Sql, at_rest):
    """Fifty branches settled one by one over three ledgers at once."""
    hands = [Hand(await make_engine(), f"hand-{no}") for no in range(3)]
    run_id = await hands[0].start(fan(50))
    await hands[0].complete(run_id, "start")
    await asyncio.gather(*(hands[no % 3].complete(run_id, no) for no in range(1, 51)))
    await hands[0].complete(run_id, "join")
    await hands[0].engine.ledger.apply([Entry(run_id, Woke())])
    sql.do("DELETE FROM outbox")
    assert await at_rest() == 1
    assert sql.status(run_id) == "completed"


def _lose_the_answer(hand: Hand, sql: Sql) -> None:
    """Let the next transaction of a ledger commit, and kill its backend before anybody hears of it."""
    ledger = hand.engine.ledger
    database = ledger._database
    real = database.connection

    from contextlib import asynccontextmanager

    @asynccontextmanager
    async def connection(timeout: float = 10):
        async with real(timeout) as one:
            yield one
            # The block is over, so the transaction is committed: only the answer is missing.
            del database.connection
            sql.do("SELECT pg_terminate_backend(%s)", one.info.backend_pid)
            await one.execute("SELECT 1")

    database.connection = connection  # type: ignore[method-assign]
