"""Rows that Postgres refuses, and transactions that were only unlucky: who fails, and who does not notice."""

from __future__ import annotations

import asyncio
from uuid import UUID

import psycopg
import pytest
from psycopg import errors as pg

from flowforge.engine.committer import Committer
from flowforge.engine.engine import Engine
from flowforge.engine.entries import Applied, Entry
from flowforge.engine.ledger import Ledger
from flowforge.errors import BackendError
from flowforge.model.facts import Accepted, Claimed, Granted
from flowforge.model.outcome import Completed
from tests.support.definitions import chain, step, workflow
from tests.support.eventually import eventually
from tests.support.hand import Hand
from tests.support.sql import Sql

#: Text, but no JSON; as if a check had been forgotten.
BROKEN = '{"n": '


@pytest.fixture
async def committer(engine: Engine):
    """A running committer."""
    one = Committer(engine.ledger, lambda _: None)
    task = asyncio.create_task(one.run())
    yield one
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def commit(committer: Committer, entries: list[Entry]) -> list[Applied | psycopg.Error]:
    """Hand in entries at once, so that they share a transaction; return the answers in order."""
    answers: dict[int, Applied | psycopg.Error] = {}
    for index, entry in enumerate(entries):
        committer.submit(entry, lambda answer, index=index: answers.__setitem__(index, answer))  # type: ignore[misc]
    await eventually(lambda: len(answers) == len(entries), what="an answer for every entry")
    return [answers[index] for index in range(len(entries))]


async def poisoned(hand: Hand, definition: object) -> Entry:
    """Make a settlement that Postgres refuses."""
    run_id = await hand.start(definition)
    entry = hand.settling(await hand.claim(run_id, 0), Completed("x"))
    object.__setattr__(entry.fact, "output", BROKEN)
    return entry


async def test_a_poison_row_fails_alone_and_its_batch_is_settled(hand: Hand, committer: Committer, sql: Sql):
    """One output that Postgres refuses must not keep the outcomes of others."""
    good = [hand.settling(await hand.claim(await hand.start(chain(1)), 0), Completed(no)) for no in range(4)]
    poison = await poisoned(hand, chain(1))
    answers = await commit(committer, [*good[:2], poison, *good[2:]])
    assert isinstance(answers[2], pg.DataError)
    assert [type(answer) for no, answer in enumerate(answers) if no != 2] == [Applied] * 4
    assert sql.value("SELECT count(*) FROM runs WHERE status = 'completed'") == 4
    assert sql.status(poison.run_id) == "running"


async def test_the_batch_of_a_poison_row_keeps_its_answers(hand: Hand, committer: Committer):
    """A settlement that was repeated must still hand out the successor it claimed, or nobody executes it."""
    good = [
        hand.settling(await hand.claim(await hand.start(chain(2)), 0), Completed(no), lanes=["default"])
        for no in range(3)
    ]
    answers = await commit(committer, [*good, await poisoned(hand, chain(1))])
    for answer in answers[:3]:
        assert isinstance(answer, Applied)
        assert isinstance(answer.answer, Accepted), answer
        assert answer.assignment is not None, "the successor is claimed, and nobody was told"


async def test_a_row_beyond_a_limit_of_postgres_fails_alone_too(hand: Hand, committer: Committer, sql: Sql):
    """54000 is a class of its own, and not an outage: waiting for it to pass would block the worker for ever."""
    good = hand.settling(await hand.claim(await hand.start(chain(1)), 0), Completed(1))
    bad = hand.settling(await hand.claim(await hand.start(chain(1)), 0), Completed(2))
    sql.sabotage("run_events", "54000", run=bad.run_id, times=1000)
    answers = await commit(committer, [good, bad])
    assert isinstance(answers[0], Applied)
    assert isinstance(answers[1], pg.ProgramLimitExceeded)


@pytest.mark.parametrize("at_commit", [False, True])
@pytest.mark.parametrize("code", ["40P01", "40001", "55P03"])
async def test_a_transaction_that_was_only_unlucky_is_repeated_as_a_whole(
    hand: Hand, sql: Sql, code: str, at_commit: bool
):
    """Deadlocks, serialization failures and lock time-outs never reach the caller when the next try works."""
    run_id = await hand.start(chain(1))
    claimed = await hand.claim(run_id, 0)
    tries = sql.sabotage("run_events", code, times=3, at_commit=at_commit)
    applied = await hand.settle(claimed, Completed(1))
    assert isinstance(applied.answer, Accepted)
    assert tries() == 4
    assert sql.events(run_id).count("step.completed s0") == 1


@pytest.mark.parametrize("code", ["40P01", "40001"])
async def test_a_start_that_was_only_unlucky_is_repeated_as_a_whole(hand: Hand, sql: Sql, code: str):
    """The caller hears of the run, and not of the deadlock."""
    sql.sabotage("run_events", code, times=2)
    run_id = await hand.start(chain(1))
    assert sql.counts("runs") == 1
    assert sql.status(run_id) == "running"


@pytest.mark.parametrize("code", ["40P01", "55P03"])
async def test_bad_luck_that_lasts_is_never_charged_to_the_step(
    hand: Hand, committer: Committer, monkeypatch: pytest.MonkeyPatch, sql: Sql, code: str
):
    """After the last repetition the fact waits for better times; it is not refused as if its row were bad."""
    monkeypatch.setattr("flowforge.engine.ledger.TRIES", 2)
    claimed = await hand.claim(await hand.start(chain(1)), 0)
    sql.sabotage("run_events", code, times=5)
    (answer,) = await commit(committer, [hand.settling(claimed, Completed(1))])
    assert isinstance(answer, Applied), answer
    assert sql.value("SELECT status::text FROM runs") == "completed"


async def test_a_transaction_that_the_server_ended_for_its_client_is_repeated(
    hand: Hand, committer: Committer, sql: Sql
):
    """A worker that was stopped by a signal in mid-transaction finds it ended (25P03): an outage, not a bad row."""
    claimed = await hand.claim(await hand.start(chain(1)), 0)
    sql.sabotage("run_events", "25P03")
    (answer,) = await commit(committer, [hand.settling(claimed, Completed(1))])
    assert isinstance(answer, Applied), answer
    assert sql.value("SELECT status::text FROM runs") == "completed"


@pytest.mark.parametrize("code", ["25006", "42501", "42P01", "57014", "53100"])
async def test_what_postgres_says_of_itself_is_not_a_row_s_fault(hand: Hand, committer: Committer, sql: Sql, code: str):
    """A read-only standby, a lost privilege, a table that is being moved, no time, no room: facts wait for that.

    Taken for bad rows, they would cost every step of the batch an attempt, or its delivery.
    """
    claimed = await hand.claim(await hand.start(chain(1)), 0)
    tried = sql.sabotage("run_events", code, times=3)
    (answer,) = await commit(committer, [hand.settling(claimed, Completed(1))])
    assert isinstance(answer, Applied), answer
    assert isinstance(answer.answer, Accepted)
    assert tried() == 4


async def test_two_transactions_over_the_same_runs_in_opposite_orders_do_not_deadlock(make_engine, sql: Sql):
    """Locks are taken in one order whatever the order of the facts; Postgres counts no deadlock."""
    hands = [Hand(await make_engine(), f"hand-{no}") for no in range(2)]
    definition = workflow(*(step(f"p{no}") for no in range(12)))
    run_ids = await hands[0].start_many(definition, 4)

    async def settle(hand: Hand, run_order: list[UUID], half: range) -> None:
        for no in half:
            claims = [await hand.claiming(run_id, no) for run_id in run_order]
            applied, _ = await hand.engine.ledger.apply(claims)
            await hand.engine.ledger.apply([hand.settling(one, Completed(None)) for one in applied])

    await asyncio.gather(settle(hands[0], run_ids, range(6)), settle(hands[1], list(reversed(run_ids)), range(6, 12)))
    assert {sql.status(run_id) for run_id in run_ids} == {"completed"}
    assert sql.value("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()") == 0


async def test_an_outage_makes_facts_wait_and_not_fail(hand: Hand, monkeypatch: pytest.MonkeyPatch, sql: Sql):
    """The committer offers a batch until Postgres takes it."""
    claimed = await hand.claim(await hand.start(chain(1)), 0)
    real = Ledger.apply
    failures: list[int] = []

    async def apply(self, entries, **how):
        if len(failures) < 3:
            failures.append(len(entries))
            raise BackendError
        return await real(self, entries, **how)

    monkeypatch.setattr(Ledger, "apply", apply)
    one = Committer(hand.engine.ledger, lambda _: None)
    task = asyncio.create_task(one.run())
    (answer,) = await commit(one, [hand.settling(claimed, Completed(1))])
    task.cancel()
    assert isinstance(answer, Applied)
    assert len(failures) == 3


async def test_a_version_that_this_release_cannot_compile_keeps_nobody_else_from_working(
    hand: Hand, make_engine, sql: Sql
):
    """A definition written by a newer release is one run's problem: the service that commits for all lives on."""
    odd = await hand.start(chain(1, name="from-the-future"))
    fine = await hand.start(chain(1, name="of-today"))
    sql.do(
        """UPDATE workflow_versions SET definition = '{"name": "from-the-future", "steps": [], "mood": "new"}'
           WHERE id = (SELECT version_id FROM runs WHERE id = %s)""",
        odd,
    )
    # Another process, with nothing in its cache.
    other = Hand(await make_engine(), "other")
    committer = Committer(other.engine.ledger, lambda _: None)
    task = asyncio.create_task(committer.run())
    answers: list[Applied | psycopg.Error] = []
    try:
        for run_id in (odd, fine):
            fact = Claimed(0, 1, "other", other.lease)
            committer.submit(Entry(run_id, fact), answers.append)

        def granted() -> bool:
            return any(isinstance(answer, Applied) and isinstance(answer.answer, Granted) for answer in answers)

        await eventually(lambda: task.done() or granted())
        assert not task.done(), f"the committer died: {task.exception()!r}"
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
