"""Postgres that loses its sessions, dies, answers into nothing, falls silent: scenarios 11 to 14, 16 and 38."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any
from uuid import UUID

import psycopg
import pytest

from tests.acceptance.kit.processes import lives
from tests.acceptance.kit.sink import Call, reply
from tests.acceptance.kit.workers import WorkerProcess
from tests.chaos.kit.proxy import COMMITTED
from tests.chaos.kit.world import World
from tests.chaos.soak.load import Load
from tests.support.checker import check_feed
from tests.support.eventually import eventually_sync

#: Connections of one worker: its pool and its heartbeat.
POOL = 10
#: A lease outlives every fault here: no attempt may be lost.
PATIENT: dict[str, Any] = {"lease": "30s", "redispatch_after": "600s"}


def test_11_sessions_that_are_terminated_cost_nothing_but_their_transaction(world: World):
    """Random backends of the workers, again and again: whole transactions are repeated, no connection leaks."""
    world.some_workers(2, **PATIENT)
    runs = world.load(84, longest=0.3)
    victims = "SELECT pid FROM pg_stat_activity WHERE application_name = 'flowforge' AND datname = current_database()"
    terminated = 0
    while any(world.sql.status(run) not in ("completed", "failed") for run in runs):
        found = [pid for (pid,) in world.sql.rows(victims)]
        if found:
            world.sql.do("SELECT pg_terminate_backend(%s)", world.random.choice(found))
            terminated += 1
        threading.Event().wait(0.1)
    world.verify(crashes=0, repeated=0)
    left = world.sql.rows("SELECT state FROM pg_stat_activity WHERE application_name = 'flowforge'")
    assert len(left) <= 2 * POOL
    print(f"{terminated} sessions were terminated")


def test_12_postgres_crashes_again_and_again(world: World):
    """Stopped without a checkpoint every few seconds, down for a while: nothing fails, no attempt is charged."""
    world.some_workers(2, **PATIENT)
    for _ in range(5):
        world.load(28, longest=0.5)
        world.happened(len(world.effects.calls()) + world.random.randint(1, 20))
        (world.machine.crash_postgres if world.random.random() < 0.5 else kill_postgres(world))()
        threading.Event().wait(world.random.uniform(0, 3))
        world.machine.start()
    assert set(world.ended(world.runs)) == {"completed"}, world.why()
    world.verify(crashes=0, repeated=0)


def test_12_postgres_is_restarted_every_5_to_20_seconds_while_runs_go_on_starting(world: World):
    """Down for up to five seconds each time: every run ends well, no attempt is charged, no effect is repeated."""
    world.some_workers(2, **PATIENT)
    load = Load(world, 220, 60, world.random.randrange(2**32))
    load.begin()
    end = time.monotonic() + 60
    restarts = 0
    while time.monotonic() < end:
        threading.Event().wait(world.random.uniform(5, 20))
        (world.machine.crash_postgres if world.random.random() < 0.5 else kill_postgres(world))()
        threading.Event().wait(world.random.uniform(0, 5))
        world.machine.start()
        restarts += 1
    load.end()
    world.runs = [run for (run,) in world.sql.rows("SELECT id FROM runs")]
    # Twenty of each shape, and those that one shape starts.
    assert len(world.runs) >= 220
    world.ended(world.runs)
    world.runs = [run for (run,) in world.sql.rows("SELECT id FROM runs")]
    assert len(world.runs) == 240
    world.verify(crashes=0, repeated=0, enough=1)
    print(f"{restarts} restarts, {load.refused} starts were refused and repeated")


def kill_postgres(world: World):
    """Return what kills Postgres as a power failure would."""
    return lambda: world.machine.kill("postgres")


@pytest.mark.quick
def test_13_a_commit_whose_answer_is_lost_is_found_out(world: World):
    """The connection ends when the answer to COMMIT is on its way: one result, one execution, nothing lost.

    The lease outlives all cuts together: until one commit is answered nobody knows what was given to whom.
    """
    proxy = world.proxy("postgres")
    world.some_workers(2, **world.through(postgres=proxy), **PATIENT)
    cuts = world.random.randint(20, 40)
    cut = proxy.cut_before(COMMITTED, times=cuts)
    world.load(70, longest=0.1)
    world.ended(world.runs)
    assert cut.times <= 0, f"{cut.times} of {cuts} commits were not cut"
    world.verify(crashes=0, repeated=0)


STEPS = """
    queue: @queue
    concurrency: unlimited
    steps:
      - {id: py, type: python, config: {function: "shop:deaf", args: {url: "@sink/py"}}}
      - {id: web, type: http, config: {method: POST, url: "@sink/web"}}
"""


def silenced(world: World, how: str) -> tuple[WorkerProcess, UUID, Call]:
    """Let a worker that runs a function and a request hear nothing from Postgres any more."""
    proxy = world.proxy("postgres")
    cut = world.worker(**world.through(postgres=proxy), lease="6s")
    run = world.start(world.flow(STEPS))
    (call,) = world.effects.arrived("py")
    world.effects.arrived("web")
    # Its heartbeat has a connection by now: the silence meets it in the middle of things.
    beaten = "SELECT seen_at > started_at + interval '1 second' FROM workers WHERE pid = %s"
    eventually_sync(lambda: world.sql.value(beaten, cut.pid), what="a heartbeat")
    assert lives(call.body["pid"])
    getattr(proxy, how)()
    return cut, run, call


@pytest.mark.parametrize("how", ["freeze", "drop"])
def test_14_a_worker_that_hears_nothing_from_postgres_fences_itself(world: World, how: str):
    """No reset, no error, just silence: its function is dead and its request given up before anybody takes over."""
    hold = world.effects.hold("web", after=(reply(200),))
    cut, run, first = silenced(world, how)
    other = world.worker(lease="6s")
    _, second = world.effects.arrived("py", 2)
    assert not lives(first.body["pid"]), "two functions were at work at the same time"
    assert not lives(first.body["child"])
    assert second.token == 2
    assert "is gone; stopping the attempt" in cut.said
    hold.release()
    world.step_becomes(run, "web", "completed")
    world.shell.type("cancel", str(run))
    world.becomes(run, "cancelled")
    world.runs.remove(run)
    world.proxies[-1].restore()
    # It recovers by itself: alone, it does new work.
    other.stop()
    assert world.ended(world.load(20)) == {"completed": 20}
    world.verify()


def test_14_connections_that_are_half_open_are_replaced(world: World):
    """The server has forgotten them and new ones work: leases are renewed over another one in time, so that nothing
    is lost; what waits for an answer asks again when none has come for longer than a statement may take."""
    hold = world.effects.hold("web", after=(reply(200),))
    cut, run, _ = silenced(world, "half_open")
    hold.release()
    world.load(20)
    assert world.ended(world.runs[1:], 200) == {"completed": 20}
    world.step_becomes(run, "web", "completed")
    world.lost_at_most(0)
    assert "is gone; stopping the attempt" not in cut.said
    world.shell.type("cancel", str(run))
    world.becomes(run, "cancelled")
    world.runs.remove(run)
    world.verify(crashes=0)


@contextmanager
def crossing(world: World) -> Iterator[list[int]]:
    """Lock runs in the order nobody else does, over and over; yields how often this side lost."""
    done, lost = threading.Event(), [0]

    def cross() -> None:
        with world.sql.session() as session:
            while not done.is_set():
                with suppress(psycopg.errors.DeadlockDetected):
                    query = "SELECT id FROM runs WHERE status = 'running' ORDER BY random() LIMIT 12"
                    ids = sorted((row[0] for row in session.execute(query)), reverse=True)
                    for run in ids:
                        session.execute("SELECT FROM runs WHERE id = %s FOR UPDATE", (run,))
                    session.rollback()
                    continue
                lost[0] += 1
                session.rollback()

    thread = threading.Thread(target=cross)
    thread.start()
    try:
        yield lost
    finally:
        done.set()
        thread.join()


def test_16_deadlocks_and_serialization_failures_are_tried_again(world: World):
    """Injected at writes and at commits, and provoked for real: whole transactions are repeated, nobody notices."""
    world.load(140, longest=0.2)
    tried = [
        world.sql.sabotage(table, code, times=world.random.randint(3, 6), at_commit=at_commit)
        for table, code, at_commit in (
            ("steps", "40P01", False),
            ("run_events", "40001", True),
            ("runs", "25P02", False),
            ("steps", "40001", True),
        )
    ]
    # Whoever waits for 50 ms looks for a deadlock: with the default of a second few would come to pass.
    world.sql.do(f"ALTER DATABASE {world.database} SET deadlock_timeout = '50ms'")
    with crossing(world) as lost:
        world.some_workers(2, **PATIENT)
        world.ended(world.runs)
    world.verify(crashes=0, repeated=0)
    assert all(one() > 0 for one in tried), [one() for one in tried]
    query = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    print(f"{world.sql.value(query)} deadlocks happened, this side lost {lost[0]} of them")
    assert all(one.process.poll() is None for one in world.workers)


def seconds_of(world: World, count: int) -> float:
    """Return how long a load takes."""
    began = time.monotonic()
    world.ended(world.load(count))
    return time.monotonic() - began


def test_38_a_long_transaction_of_somebody_else_delays_the_feed_and_nothing_else(world: World):
    """A reader with a snapshot and an xid of its own: runs complete, the outbox flows, the feed follows later."""
    world.some_workers(2, lease="20s")
    before = seconds_of(world, 70)
    with world.sql.session() as reader:
        reader.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        reader.execute("SELECT count(*), pg_current_xact_id() FROM steps")
        during = [seconds_of(world, 70) for _ in range(3)]
        dead = world.sql.value("SELECT n_dead_tup FROM pg_stat_user_tables WHERE relname = 'outbox'")
        assert world.sql.counts("outbox") == 0
        published = world.valkey.xlen(f"{world.prefix}:events")
        reader.rollback()
    world.verify(crashes=0, repeated=0)
    where = world.installation.database_url, world.machine.redis_url

    def complete() -> bool:
        with suppress(AssertionError):
            check_feed(*where)
            return True
        return False

    eventually_sync(complete, what="the feed catches up")
    assert world.valkey.xlen(f"{world.prefix}:events") > published
    print(f"70 runs took {before:.1f} s before, {max(during):.1f} s at most during; {dead} dead rows in the outbox")
