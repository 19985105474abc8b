"""Answers of Postgres that were long on their way: a lease counts from the question, and so does the time of day."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from flowforge.client import AsyncClient
from flowforge.engine import clock
from flowforge.engine.ledger import Ledger
from flowforge.model.facts import Granted
from flowforge.store import transitions
from tests.support.definitions import chain
from tests.support.eventually import eventually
from tests.support.executors import Counting, Held, Scripted
from tests.support.hand import Hand
from tests.support.sql import Sql

#: So long that no heartbeat comes between a question and what is made of its answer.
LEASE = timedelta(minutes=10)


class Watches:
    """The clocks of this process, which a test sets forward."""

    def __init__(self) -> None:
        self.forward = 0.0
        self.clock_gettime = lambda which: time.clock_gettime(which) + self.forward
        self.monotonic = lambda: time.monotonic() + self.forward
        self.CLOCK_BOOTTIME = getattr(time, "CLOCK_BOOTTIME", 0)


@pytest.fixture
def watches(monkeypatch: pytest.MonkeyPatch) -> Iterator[Watches]:
    """Both clocks: that of leases, and the one that carries the server's clock forward."""
    one = Watches()
    monkeypatch.setattr("flowforge.engine.clock.time", one)
    monkeypatch.setattr("flowforge.store.clock.time", one)
    yield one
    one.forward = 0.0


def delay_grants(monkeypatch: pytest.MonkeyPatch, watches: Watches, *shares: float) -> None:
    """Let the answers to the first claims take a part of a lease."""
    real, left = Ledger.apply, list(shares)

    async def apply(self: Ledger, entries: Any, **how: Any) -> Any:
        applied, consequences = await real(self, entries, **how)
        if left and any(isinstance(one.answer, Granted) for one in applied):
            watches.forward += left.pop(0) * LEASE.total_seconds()
        return applied, consequences

    monkeypatch.setattr(Ledger, "apply", apply)


async def test_a_lease_counts_from_the_question(
    client: AsyncClient, start_worker, monkeypatch: pytest.MonkeyPatch, watches: Watches
):
    """The row's lease began before the answer was on its way: the fence has to reckon from there."""
    held = Held()
    worker = await start_worker(executors=Scripted(transform=held), lease=LEASE)
    delay_grants(monkeypatch, watches, 0.3)
    await client.run(chain(1))
    await eventually(lambda: held.started)
    (attempt,) = worker.holdings.all()
    age = clock.now() - attempt.renewed
    held.release.set()
    assert age >= 0.3 * LEASE.total_seconds()


async def test_a_grant_that_comes_when_its_lease_is_nearly_over_starts_nothing(
    client: AsyncClient, start_worker, monkeypatch: pytest.MonkeyPatch, watches: Watches, sql: Sql, at_rest
):
    """Somebody else may start the step any moment: it is handed back uncounted, and claimed again."""
    counting = Counting()
    await start_worker(executors=Scripted(transform=counting), lease=LEASE)
    delay_grants(monkeypatch, watches, 0.9)
    run = await client.wait((await client.run(chain(1))).id, timeout=60)
    assert run.status == "completed"
    assert [(step, attempt) for _, step, attempt in counting.executed] == [("s0", 1)]
    assert sql.rows("SELECT attempt, token, crashes FROM steps") == [(1, 2, 0)]
    await at_rest()


async def test_an_answer_that_was_long_on_its_way_does_not_set_the_clock(
    hand: Hand, sql: Sql, monkeypatch: pytest.MonkeyPatch, watches: Watches
):
    """What it says of the time is that old: carried on, it would date what happens next too early."""
    real = transitions.write

    async def write(*arguments: Any) -> transitions.Written:
        written = await real(*arguments)
        watches.forward += 5
        return replace(written, now=written.now - timedelta(seconds=5))

    run_id = await hand.start(chain(2))
    monkeypatch.setattr(transitions, "write", write)
    await hand.claim(run_id, 0)
    monkeypatch.setattr(transitions, "write", real)
    before = sql.value("SELECT clock_timestamp()")
    other = await hand.start(chain(2))
    assert sql.value("SELECT created_at FROM runs WHERE id = %s", other) >= before - timedelta(seconds=1)


def test_the_clock_of_a_suspended_machine_goes_on(watches: Watches):
    """Both clocks of this process are the ones that a test can set; otherwise the tests above test nothing."""
    began = clock.now()
    watches.forward = 60.0
    assert clock.now() - began >= 60
    assert SimpleNamespace(**vars(watches)).monotonic() > time.monotonic() + 59
