"""The heartbeat: keeps leases, notices lost ones, and stops everything before somebody else may start it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from flowforge.engine import clock
from flowforge.engine.fence import Fence
from flowforge.engine.heartbeat import Heartbeat
from flowforge.engine.holdings import Held, Holdings, Stop
from flowforge.model.outcome import Completed
from tests.chaos.kit.proxy import Proxy
from tests.support.definitions import chain
from tests.support.eventually import eventually
from tests.support.hand import Hand
from tests.support.sql import Sql

LEASE = timedelta(seconds=30)


class Pulse:
    """A heartbeat that is driven by hand, and what it holds."""

    def __init__(self, url: str, hand: Hand | None = None) -> None:
        self.holdings = Holdings()
        self.hand = hand
        self.renewed: list[Held] = []
        self.drained = 0
        self.heartbeat = Heartbeat(url, "hand", self.holdings, LEASE, lambda call: call())
        self.fence = Fence(self.holdings, LEASE, lambda call: call())
        self.heartbeat.on_renewed = self.renewed.extend
        self.heartbeat.on_drain = self._drain

    def _drain(self) -> None:
        self.drained += 1

    async def hold(self) -> Held:
        """Claim a step, and let the time of its renewal come."""
        assert self.hand is not None
        applied = await self.hand.claim(await self.hand.start(chain(1)), 0)
        assert applied.assignment is not None
        assert applied.plan is not None
        held = Held(
            (applied.assignment.run_id.int, applied.assignment.step.no),
            applied.assignment,
            applied.plan,
            applied.dispatch_no,
        )
        held.task = asyncio.create_task(asyncio.Event().wait())  # type: ignore[arg-type]
        held.renewed -= LEASE.total_seconds() / 3
        self.holdings.add(held)
        return held


@pytest.fixture
async def pulse(hand: Hand, sql: Sql) -> AsyncIterator[Pulse]:
    """A heartbeat on the installation."""
    one = Pulse(sql.url, hand)
    yield one
    one.heartbeat._drop_connection()
    tasks = [held.task for held in one.holdings.all() if held.task is not None]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_beat_renews_what_was_not_renewed_lately(pulse: Pulse, sql: Sql):
    """The row has a new end, and the attempt goes on."""
    held = await pulse.hold()
    sql.do("UPDATE steps SET due_at = clock_timestamp()")
    pulse.heartbeat.beat()
    assert sql.value("SELECT due_at > clock_timestamp() + interval '20 seconds' FROM steps") is True
    assert pulse.renewed == [held]
    assert held.stop is None
    due = sql.value("SELECT due_at FROM steps")
    pulse.heartbeat.beat()
    assert sql.value("SELECT due_at FROM steps") == due, "it was renewed a moment ago"


async def test_what_was_claimed_soon_after_a_beat_is_renewed_by_the_next(pulse: Pulse, sql: Sql):
    """Waiting for another one would leave no time to ask again over another connection before the fence strikes."""
    held = await pulse.hold()
    held.renewed = clock.now() - 0.24 * LEASE.total_seconds()
    pulse.heartbeat.beat()
    assert pulse.renewed == [held]


async def test_an_attempt_whose_lease_is_gone_is_stopped(pulse: Pulse, sql: Sql):
    """It is somebody else's by now: its task is cancelled and it settles nothing."""
    lost, kept = await pulse.hold(), await pulse.hold()
    sql.do("UPDATE steps SET token = token + 1, worker = 'other' WHERE run_id = %s", lost.assignment.run_id)
    pulse.heartbeat.beat()
    assert (lost.stop, kept.stop) == (Stop.LOST, None)
    assert lost.task is not None
    with pytest.raises(asyncio.CancelledError):
        await lost.task
    assert pulse.renewed == [kept]


async def test_an_attempt_that_is_being_settled_is_left_alone(pulse: Pulse, sql: Sql):
    """Its row may be final already, because its own commit was quicker than the beat."""
    held = await pulse.hold()
    held.settling = True
    sql.do("UPDATE steps SET token = token + 1")
    pulse.heartbeat.beat()
    assert held.stop is None


async def test_a_cancellation_is_seen_at_the_next_renewal(pulse: Pulse):
    """Also when the message on the control channel was lost."""
    held = await pulse.hold()
    await pulse.hand.cancel(held.assignment.run_id)  # type: ignore[union-attr]
    pulse.heartbeat.beat()
    assert held.stop is Stop.CANCEL


async def test_the_first_reason_to_stop_stays(pulse: Pulse, sql: Sql):
    """A drain that is followed by a cancellation is still handed back as what it was."""
    held = await pulse.hold()
    held.interrupt(Stop.DRAIN)
    await pulse.hand.cancel(held.assignment.run_id)  # type: ignore[union-attr]
    pulse.heartbeat.beat()
    assert held.stop is Stop.DRAIN


async def test_a_lease_that_the_fence_gives_up_is_not_prolonged(pulse: Pulse, sql: Sql):
    """A process that was frozen may beat before its fence looks: the sweeper may be about to end that lease.

    What is being settled keeps it: nobody is at work on that any more, and whether it counts is for Postgres to say.
    """
    given_up, settling = await pulse.hold(), await pulse.hold()
    settling.settling = True
    for held in (given_up, settling):
        held.renewed -= LEASE.total_seconds() * 0.4
    before = dict(sql.rows("SELECT run_id, due_at FROM steps"))
    pulse.heartbeat.beat()
    after = dict(sql.rows("SELECT run_id, due_at FROM steps"))
    assert after[given_up.assignment.run_id] == before[given_up.assignment.run_id]
    assert after[settling.assignment.run_id] > before[settling.assignment.run_id]
    pulse.fence.check()
    assert (given_up.stop, settling.stop) == (Stop.LOST, None)


async def test_without_postgres_everything_is_stopped_before_the_lease_ends(pulse: Pulse):
    """Two thirds of a lease without a confirmed renewal: nobody else may have started it yet."""
    nowhere = Heartbeat("postgresql://nobody@127.0.0.1:1/none", "hand", pulse.holdings, LEASE, lambda call: call())
    old, young = await pulse.hold(), await pulse.hold()
    old.renewed -= LEASE.total_seconds() * 0.4
    with pytest.raises(psycopg.OperationalError):
        nowhere.beat()
    pulse.fence.check()
    assert (old.stop, young.stop) == (Stop.LOST, None)


async def test_a_renewal_counts_from_when_it_was_asked_for(pulse: Pulse, sql: Sql):
    """An answer that took long must not make the lease look fresher than the row is."""
    held = await pulse.hold()
    before = held.renewed
    pulse.heartbeat.beat()
    assert held.renewed > before
    pulse.fence.check()
    assert held.stop is None


async def test_the_thread_outlives_a_lost_connection(pulse: Pulse, sql: Sql):
    """A killed backend costs one beat."""
    held = await pulse.hold()
    pulse.heartbeat.beat()
    assert pulse.heartbeat._connection is not None
    sql.do("SELECT pg_terminate_backend(%s)", pulse.heartbeat._connection.info.backend_pid)
    with pytest.raises(psycopg.OperationalError):
        pulse.heartbeat.beat()
    pulse.heartbeat._drop_connection()
    held.renewed -= LEASE.total_seconds() / 3
    pulse.heartbeat.beat()
    assert pulse.renewed == [held, held]


async def test_silence_is_told_once_and_so_is_its_end(pulse: Pulse, sql: Sql, monkeypatch: pytest.MonkeyPatch):
    """Whoever hears takes nothing new meanwhile."""
    told: list[bool] = []
    monkeypatch.setattr(pulse.heartbeat, "_lease", timedelta(milliseconds=50))
    pulse.heartbeat.on_answer = told.append
    pulse.heartbeat._url = "postgresql://127.0.0.1:1/nowhere"
    pulse.heartbeat.start()
    await eventually(lambda: told == [False])
    pulse.heartbeat._url = sql.url
    await eventually(lambda: told == [False, True])
    pulse.heartbeat.stop()


async def test_a_worker_that_is_asked_to_drain_is_told_once(pulse: Pulse, sql: Sql):
    """A second word means hurry: repeating it at every beat would cut the grace period short."""
    sql.do(
        """INSERT INTO workers (id, host, pid, version, queues, step_types, concurrency, lease, status)
           VALUES ('hand', 'h', 1, '0', '{default}', '{}', 1, '30 seconds', 'active')"""
    )
    pulse.heartbeat.beat()
    assert pulse.drained == 0
    sql.do("UPDATE workers SET status = 'draining'")
    for _ in range(3):
        pulse.heartbeat.beat()
    assert pulse.drained == 1


async def test_progress_travels_with_the_beat(pulse: Pulse, sql: Sql):
    """The last value wins; what is not JSON is dropped and said, not raised."""
    held = await pulse.hold()
    held.progress = {"done": 1}
    held.progress = {"done": 2}
    pulse.heartbeat.beat()
    assert sql.value("SELECT progress FROM steps") == {"done": 2}
    held.progress = {"bad": object()}
    pulse.heartbeat.beat()
    held.progress = "\0"
    pulse.heartbeat.beat()
    assert sql.value("SELECT progress FROM steps") == {"done": 2}


async def test_a_settled_attempt_does_not_upset_a_beat(pulse: Pulse, sql: Sql):
    """It was settled between the snapshot and the statement."""
    held = await pulse.hold()
    assert pulse.hand is not None
    from flowforge.engine.entries import Applied
    from flowforge.model.facts import Accepted

    await pulse.hand.settle(Applied(Accepted(), held.assignment, held.plan), Completed(1))
    held.settling = True
    pulse.heartbeat.beat()
    assert held.stop is None
    assert sql.value("SELECT status::text FROM steps") == "completed"


async def test_a_silent_server_costs_one_beat_and_the_fence_does_not_wait_for_it(pulse: Pulse, sql: Sql):
    """The connection works and then says nothing, without an error: the next beat uses another one."""
    held = await pulse.hold()
    folder = Path(urlsplit(sql.url).query.removeprefix("host="))
    proxy = Proxy(folder / ".s.PGSQL.5432")
    through = f"postgresql://flowforge@127.0.0.1:{proxy.port}{urlsplit(sql.url).path}?sslmode=disable"
    heartbeat = Heartbeat(through, "hand", pulse.holdings, LEASE, lambda call: call())
    try:
        held.renewed = clock.now() - 4
        heartbeat.beat()
        held.renewed -= 4
        assert heartbeat._connection is not None
        heartbeat._connection.patience = 1
        proxy.half_open()
        with pytest.raises(psycopg.OperationalError):
            await asyncio.to_thread(heartbeat.beat)
        heartbeat._drop_connection()
        heartbeat.beat()
        pulse.fence.check()
        assert held.stop is None
        held.renewed -= LEASE.total_seconds() * 0.67
        pulse.fence.check()
        assert held.stop is Stop.LOST
    finally:
        heartbeat._drop_connection()
        proxy.close()
