"""A batch of two hundred outcomes, a few of them bad: those fail, each in its own way, and nobody else notices."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import psycopg
import pytest
from psycopg import errors as pg

from flowforge.engine.committer import Committer
from flowforge.engine.engine import Engine
from flowforge.engine.entries import Applied, Entry
from flowforge.model.facts import Accepted, Granted, Refusal, Refused, Settled
from flowforge.model.outcome import Completed
from tests.support.definitions import chain
from tests.support.eventually import eventually
from tests.support.hand import Hand
from tests.support.sql import Sql

SIZE = 200
#: Text, but no JSON, as if a check had been forgotten; and NUL, which passes for JSON until Postgres reads it.
REFUSED = ('{"n": ', '"\\u0000 \x00"')


@pytest.fixture
async def engine(make_engine) -> Engine:
    """An engine whose runs may have a hundred kilobytes of outputs."""
    engine: Engine = await make_engine(max_run_bytes=100_000)
    return engine


@pytest.fixture
async def committer(engine: Engine) -> AsyncIterator[Committer]:
    """A running committer."""
    one = Committer(engine.ledger, lambda _: None)
    task = asyncio.create_task(one.run())
    yield one
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def committed(committer: Committer, entries: list[Entry]) -> list[Applied | psycopg.Error]:
    """Hand in entries at once, so that they share a batch; return the answers in order."""
    answers: dict[int, Applied | psycopg.Error] = {}
    for index, entry in enumerate(entries):
        committer.submit(entry, lambda answer, index=index: answers.__setitem__(index, answer))  # type: ignore[misc]
    await eventually(lambda: len(answers) == len(entries), what="an answer for every entry")
    return [answers[index] for index in range(len(entries))]


async def outcomes(hand: Hand, committer: Committer, steps: int) -> list[Entry]:
    """Claim the first steps of two hundred runs, and return what to say of each."""
    runs = await hand.start_many(chain(steps), SIZE)
    claimed = await committed(committer, [await hand.claiming(run_id, 0) for run_id in runs])
    assert all(isinstance(one, Applied) and isinstance(one.answer, Granted) for one in claimed)
    lanes = ["default"] if steps > 1 else []
    return [
        hand.settling(one, Completed(no), lanes=lanes) for no, one in enumerate(claimed) if isinstance(one, Applied)
    ]


def spoil(entry: Entry, output: str) -> None:
    """Let an outcome carry another output."""
    assert isinstance(entry.fact, Settled)
    entry.fact.output = output


@pytest.mark.parametrize("steps", [1, 2])
async def test_the_bad_ones_of_a_batch_fail_alone(hand: Hand, committer: Committer, sql: Sql, steps: int):
    """One too large, one said twice, one whose lease was lost, two that Postgres refuses: 195 neighbours settle.

    Neighbours whose settlement was repeated while the bad ones were looked for are still given their successors.
    """
    entries = await outcomes(hand, committer, steps)
    large, twice, lost, *refused = (entries[no] for no in (20, 70, 110, 150, 199))
    spoil(large, f'"{"x" * 200_000}"')
    for entry, output in zip(refused, REFUSED, strict=True):
        spoil(entry, output)
    sql.do("UPDATE steps SET token = token + 1, worker = 'other' WHERE run_id = %s AND step_no = 0", lost.run_id)
    answers = await committed(committer, [*entries, twice])
    by_run = {entry.run_id: answer for entry, answer in zip(entries, answers[:SIZE], strict=True)}
    for entry in refused:
        assert isinstance(by_run.pop(entry.run_id), pg.DataError)
    applied = {run_id: answer for run_id, answer in by_run.items() if isinstance(answer, Applied)}
    assert len(applied) == SIZE - len(refused)
    assert applied.pop(lost.run_id).answer == Refused(Refusal.STALE)
    assert isinstance(applied.pop(large.run_id).answer, Accepted)
    last = answers[SIZE]
    assert isinstance(last, Applied)
    # It may have found its own first saying, when the batch was looked through in parts.
    assert last.answer == Refused(Refusal.STALE) or isinstance(last.answer, Accepted)
    good = [answer for run_id, answer in applied.items() if run_id != twice.run_id]
    assert all(isinstance(answer.answer, Accepted) for answer in good)
    assert [answer.assignment is not None for answer in good] == [steps > 1] * (SIZE - 5)
    assert sql.value("SELECT error->>'code' FROM runs WHERE id = %s", large.run_id) == "RUN_TOO_LARGE"
    statuses = Counter(status for (status,) in sql.rows("SELECT status::text FROM steps WHERE step_no = 0"))
    assert statuses == {"completed": SIZE - 4, "failed": 1, "running": 3}
    assert sql.events(twice.run_id).count("step.completed s0") == 1
