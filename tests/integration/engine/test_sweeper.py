"""The sweeper: what has to happen without anybody asking, decided from Postgres alone."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from flowforge.client import AsyncClient
from flowforge.engine.entries import Consequences
from flowforge.engine.names import GROUP
from flowforge.engine.relay import Relay
from flowforge.engine.sweeper import GATES_EVERY, Sweeper
from flowforge.model.outcome import Completed, Failed, Waiting
from tests.support.definitions import chain, diamond, step, workflow
from tests.support.hand import Hand, error
from tests.support.sql import Sql
from tests.support.streams import LANES


class Swept:
    """A sweeper, and what it told the outside."""

    def __init__(self, hand: Hand, lanes: tuple[str, ...] = ("default",)) -> None:
        engine = hand.engine
        self.consequences: list[Consequences] = []
        self.groups = [engine.streams.group(engine.names.lane(lane), GROUP) for lane in lanes]
        self.sweeper = Sweeper(engine.database, engine.ledger, engine.streams, self.groups, self.consequences.append)

    async def look(self, rounds: int = 1) -> float | None:
        """Do some rounds; return the last pause."""
        pause: float | None = None
        for _ in range(rounds):
            pause = await self.sweeper.run_once()
        return pause


@pytest.fixture
def swept(hand: Hand) -> Swept:
    """A sweeper."""
    return Swept(hand)


def overdue(sql: Sql) -> None:
    """Let the time of everything come."""
    sql.do("UPDATE steps SET due_at = clock_timestamp() WHERE due_at IS NOT NULL")
    sql.do("UPDATE runs SET wake_at = clock_timestamp() WHERE wake_at IS NOT NULL")


async def test_a_step_whose_lease_ended_is_queued_again_with_a_crash_on_record(hand: Hand, swept: Swept, sql: Sql):
    """The retry policy is not charged; the message is in the outbox."""
    run_id = await hand.start(chain(1))
    old = await hand.claim(run_id, 0)
    sql.do("DELETE FROM outbox")
    overdue(sql)
    await swept.look()
    assert sql.rows("SELECT status::text, crashes, failures, dispatch_no FROM steps") == [("queued", 1, 0, 2)]
    assert sql.rows("SELECT dispatch_no FROM outbox") == [(2,)]
    assert sql.value("SELECT error ->> 'code' FROM steps") == "WORKER_LOST"
    assert (await hand.settle(old, Completed("late"))).assignment is None
    await hand.finish(run_id, "second")
    assert sql.value("SELECT output FROM runs") == {"s0": "second"}


async def test_a_lease_that_was_renewed_only_moves_the_alarm(hand: Hand, swept: Swept, sql: Sql):
    """Renewals do not touch the run; the sweeper looks, and sees that there is nothing to do."""
    run_id = await hand.start(chain(1))
    await hand.claim(run_id, 0)
    sql.do("UPDATE runs SET wake_at = clock_timestamp()")
    events = sql.events(run_id)
    await swept.look()
    assert sql.steps(run_id) == {"s0": "running"}
    assert sql.events(run_id) == events
    assert sql.value("SELECT wake_at = (SELECT due_at FROM steps) FROM runs") is True


async def test_a_step_that_takes_its_workers_down_is_parked(make_engine, sql: Sql):
    """After max_crashes it fails as poison, whatever its retry policy allows."""
    hand = Hand(await make_engine(max_crashes=1))
    swept = Swept(hand)
    run_id = await hand.start(workflow(step("a", retry={"max_attempts": 10})))
    for _ in range(2):
        await hand.claim(run_id, 0)
        overdue(sql)
        await swept.look()
    assert sql.status(run_id) == "failed"
    assert sql.value("SELECT error ->> 'code' FROM runs") == "POISON"


async def test_a_step_that_nobody_claimed_is_dispatched_again_each_time_later(hand: Hand, swept: Swept, sql: Sql):
    """Its message may be lost; the old one becomes stale."""
    await hand.start(chain(1))
    for expected in (2, 3):
        overdue(sql)
        sql.do("DELETE FROM outbox")
        await swept.look()
        assert sql.rows("SELECT dispatch_no FROM outbox") == [(expected,)]
        assert sql.value("SELECT due_at > clock_timestamp() FROM steps") is True
    assert sql.value("SELECT status::text FROM steps") == "queued"


async def test_a_backlog_in_the_stream_means_late_and_not_lost(hand: Hand, swept: Swept, sql: Sql):
    """While the stream holds work that nobody took, dispatching again would only make it longer."""
    await hand.start(chain(1))
    await Relay(hand.engine.database, hand.engine.streams, hand.engine.names, LANES).run_once()
    overdue(sql)
    await swept.look()
    assert sql.rows("SELECT dispatch_no, due_at > clock_timestamp() FROM steps") == [(1, True)]
    assert sql.counts("outbox") == 0
    await swept.groups[0].ensure()
    assert await swept.groups[0].read("somebody", count=10)
    overdue(sql)
    await swept.look()
    assert sql.rows("SELECT dispatch_no FROM steps") == [(2,)]


async def test_a_retry_that_is_due_is_queued(hand: Hand, swept: Swept, sql: Sql):
    """And not a moment earlier."""
    run_id = await hand.start(workflow(step("a", retry={"max_attempts": 3, "initial_delay": "1h", "jitter": False})))
    await hand.settle(await hand.claim(run_id, 0), Failed(error(retryable=True)))
    sql.do("UPDATE runs SET wake_at = clock_timestamp()")
    await swept.look()
    assert sql.steps(run_id) == {"a": "waiting"}
    overdue(sql)
    await swept.look()
    assert sql.steps(run_id) == {"a": "queued"}


async def test_a_delay_that_is_due_completes_and_lets_its_successors_run(hand: Hand, swept: Swept, sql: Sql):
    """Once, however many sweepers look."""
    run_id = await hand.start(workflow(step("wait", kind="delay", config={"duration": "1h"}), step("b", "wait")))
    await hand.settle(await hand.claim(run_id, 0), Waiting(timedelta(hours=1), {}))
    overdue(sql)
    await asyncio.gather(*(Swept(hand).look() for _ in range(3)))
    assert sql.steps(run_id) == {"wait": "completed", "b": "queued"}
    assert sql.events(run_id).count("step.completed wait") == 1


async def test_a_run_past_its_deadline_fails_and_stops_what_runs(hand: Hand, swept: Swept, sql: Sql):
    """Waiting steps are cancelled, the running one is told, its worker is named."""
    run_id = await hand.start(workflow(step("a"), step("b"), timeout="1h"))
    claimed = await hand.claim(run_id, "a")
    sql.do("UPDATE runs SET deadline_at = clock_timestamp(), wake_at = clock_timestamp()")
    await swept.look()
    assert sql.steps(run_id) == {"a": "running", "b": "cancelled"}
    assert swept.consequences[-1].stops == [("hand", run_id, 0, 1)]
    await hand.settle(claimed, Failed(error()))
    assert sql.status(run_id) == "failed"
    assert sql.value("SELECT error ->> 'code' FROM runs") == "RUN_TIMEOUT"


async def test_a_deadline_runs_from_the_admission_and_not_while_waiting_at_the_gate(hand: Hand, swept: Swept, sql: Sql):
    """A run that has not started cannot be late."""
    definition = chain(1, timeout="1h", concurrency={"limit": 1})
    first, second = await hand.start(definition), await hand.start(definition)
    assert sql.value("SELECT deadline_at FROM runs WHERE id = %s", second) is None
    await hand.finish(first)
    assert sql.value("SELECT deadline_at - started_at FROM runs WHERE id = %s", second) == timedelta(hours=1)


async def test_when_the_streams_are_lost_everything_queued_is_dispatched_again(
    hand: Hand, swept: Swept, sql: Sql, lose_streams
):
    """Running steps are not touched; two sweepers do it once."""
    runs = await hand.start_many(chain(1), 5)
    busy = await hand.start(chain(1))
    await hand.claim(busy, 0)
    await Relay(hand.engine.database, hand.engine.streams, hand.engine.names, LANES).run_once()
    other = Swept(hand)
    for one in (swept, other):
        await one.look()
    assert sql.counts("outbox") == 0
    lose_streams()
    for _ in range(GATES_EVERY):
        await asyncio.gather(swept.look(), other.look())
    assert sorted(sql.rows("SELECT run_id, dispatch_no FROM outbox")) == [(run_id, 2) for run_id in sorted(runs)]
    assert sql.rows("SELECT status::text, dispatch_no FROM steps WHERE run_id = %s", busy) == [("running", 1)]


async def test_streams_that_were_lost_while_no_worker_was_up_are_noticed_by_the_next_one(
    hand: Hand, swept: Swept, sql: Sql, lose_streams
):
    """What was published before is remembered in Postgres, not in a process."""
    await hand.start(chain(1))
    await Relay(hand.engine.database, hand.engine.streams, hand.engine.names, LANES).run_once()
    await swept.look()
    lose_streams()
    await Swept(hand).look()
    assert sql.rows("SELECT dispatch_no FROM outbox") == [(2,)]


async def test_a_sweep_that_fails_after_the_loss_was_noticed_is_made_up_for(
    hand: Hand, swept: Swept, sql: Sql, lose_streams, monkeypatch: pytest.MonkeyPatch
):
    """Noticing and dispatching must not come apart: otherwise the steps wait for the slow safety net."""
    await hand.start(chain(1))
    await Relay(hand.engine.database, hand.engine.streams, hand.engine.names, LANES).run_once()
    await swept.look()
    lose_streams()
    with monkeypatch.context() as patch:

        async def crash(*_: object) -> None:
            raise RuntimeError("crash")

        patch.setattr(swept.sweeper, "_wake", crash)
        with pytest.raises(RuntimeError, match="crash"):
            await swept.look(GATES_EVERY)
    await swept.look(GATES_EVERY)
    assert sql.rows("SELECT dispatch_no FROM outbox") == [(2,)]


async def test_more_alarms_than_a_page_are_looked_at_page_by_page(
    hand: Hand, swept: Swept, sql: Sql, monkeypatch: pytest.MonkeyPatch
):
    """A full page is followed by the next at once."""
    monkeypatch.setattr("flowforge.engine.sweeper.LIMIT", 3)
    await hand.start_many(chain(1), 7)
    overdue(sql)
    assert [await swept.look() == 0 for _ in range(3)] == [True, True, False]
    assert sql.rows("SELECT DISTINCT dispatch_no FROM steps") == [(2,)]


@pytest.mark.parametrize("timeout", [None, "1h"])
async def test_runs_that_are_paused_do_not_keep_the_sweeper_from_others(
    hand: Hand, swept: Swept, sql: Sql, client: AsyncClient, monkeypatch: pytest.MonkeyPatch, timeout: str | None
):
    """Their dispatches are overdue, and their time is over, for as long as they are paused: they ring once."""
    monkeypatch.setattr("flowforge.engine.sweeper.LIMIT", 2)
    more = {} if timeout is None else {"timeout": timeout}
    held = await hand.start_many(chain(1, name="held", **more), 3)
    for run in held:
        await client.pause(run)
    sql.do("UPDATE steps SET due_at = now() - interval '2 h'")
    sql.do("UPDATE runs SET wake_at = now() - interval '2 h', deadline_at = deadline_at - interval '2 h'")
    other = await hand.start(chain(1, name="other"))
    sql.do("UPDATE steps SET due_at = now() - interval '1 h' WHERE run_id = %s", other)
    sql.do("UPDATE runs SET wake_at = now() - interval '1 h' WHERE id = %s", other)
    await swept.look(3)
    assert sql.value("SELECT dispatch_no FROM steps WHERE run_id = %s", other) == 2
    assert sql.value("SELECT count(*) FROM runs WHERE wake_at < now()") == 0
    await client.resume(held[0])
    assert sql.value("SELECT wake_at - now() < interval '1 h' FROM runs WHERE id = %s", held[0])


async def test_the_pause_ends_when_the_next_alarm_goes_off(hand: Hand, swept: Swept, sql: Sql):
    """Timers are punctual without a busy loop."""
    swept.sweeper.pause = 3600.0
    assert (await swept.look() or 0) > 3000
    await hand.start(chain(1))
    sql.do("UPDATE runs SET wake_at = clock_timestamp() + interval '1 minute'")
    assert 0 < (await swept.look() or 0) < 70


async def test_an_ended_run_has_no_alarm(hand: Hand, swept: Swept, sql: Sql):
    """The sweeper never sees it again."""
    run_id = await hand.start(diamond(timeout="1h"))
    await hand.finish(run_id)
    assert sql.rows("SELECT status::text, wake_at FROM runs") == [("completed", None)]


async def test_a_row_that_postgres_refuses_does_not_keep_the_others_from_being_swept(
    hand: Hand, swept: Swept, sql: Sql
):
    """One broken run fails alone; its neighbours' leases and timers go on."""
    bad, good = [await hand.start(chain(1)) for _ in range(2)]
    for run_id in (bad, good):
        await hand.claim(run_id, 0)
    overdue(sql)
    sql.sabotage("steps", "22000", run=bad, times=1000)
    for _ in range(2):
        try:
            await swept.look()
        except Exception as error:  # noqa: BLE001 - the loop logs it and goes on
            print(f"a round ended with {error!r}")
    assert sql.steps(good) == {"s0": "queued"}


async def test_workers_that_were_not_seen_for_days_are_forgotten(hand: Hand, swept: Swept, sql: Sql):
    """The register does not grow for ever."""
    sql.do(
        """INSERT INTO workers (id, host, pid, version, queues, step_types, concurrency, lease, status, seen_at)
           SELECT 'w' || n, 'h', 1, '0', '{default}', '{}', 1, '30 seconds', 'active', now() - n * interval '20 hours'
           FROM generate_series(0, 3) AS n"""
    )
    swept.sweeper._round = 599
    await swept.look()
    assert sql.rows("SELECT id FROM workers ORDER BY id") == [("w0",), ("w1",)]


async def test_a_lost_stream_has_its_queued_steps_dispatched_again_at_once(hand: Hand, swept: Swept, sql: Sql):
    """Nobody waits for the next dispatch, which is half a minute away; what is running is left alone."""
    queued, running = await hand.start(chain(1)), await hand.start(chain(1))
    await hand.claim(running, 0)
    sql.do("DELETE FROM outbox")
    await swept.look()
    assert sql.counts("outbox") == 0
    swept.sweeper.dispatches_lost()
    await swept.look()
    assert sql.rows("SELECT run_id, step_no, dispatch_no FROM outbox") == [(queued, 0, 2)]
    await swept.look()
    assert sql.counts("outbox") == 1
