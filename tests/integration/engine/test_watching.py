"""The doctor beside work under way: what is between two commits, or two servers, is no finding; what stays there is.

What happens between two looks happens in `pause`, so every interleaving here is exact, and nothing waits for a clock.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID, uuid4

import pytest
import redis

from flowforge.client import AsyncClient
from flowforge.client.doctoring import Patient, examine
from flowforge.engine import repairing
from flowforge.engine.engine import Endpoints, Engine
from flowforge.engine.names import GROUP
from flowforge.engine.receipting import Receipting
from flowforge.model.audit import Violation
from flowforge.model.health import Diagnosis, findings
from flowforge.settings import Settings
from flowforge_streams.errors import StreamUnavailable
from flowforge_streams.redis_log import RedisLog
from tests.support.definitions import chain, step, workflow
from tests.support.hand import Hand
from tests.support.sql import Sql

HOUR = "interval '1 hour'"
#: Milliseconds that a delivery has lain still which a worker has handed back.
HANDED_BACK = 86_400_000

Pause = Callable[[float], Awaitable[None]]


@pytest.fixture
def who(endpoints: Endpoints, settings: Settings) -> Patient:
    """The installation of the test."""
    return Patient(endpoints, settings)


def broken(found: Diagnosis) -> dict[str, list[UUID]]:
    """Return the findings that say that an invariant is broken, by kind, with their runs."""
    return {one.kind: one.runs for one in found.findings if one.about.invariant is not None}


async def at_once(_seconds: float) -> None:
    """Look again without a pause."""


def between(*acts: Callable[[], object]) -> Pause:
    """Do something in each pause, one after the other; nothing once they are done."""
    left = list(acts)

    async def pause(_seconds: float) -> None:
        if left:
            left.pop(0)()

    return pause


def seen(sql: Sql, *, status: str = "active", queue: str = "default", since: str = HOUR) -> None:
    """Register a worker that was seen just now."""
    sql.do(
        f"""INSERT INTO workers (id, host, pid, version, queues, step_types, concurrency, lease, status, started_at)
            VALUES ('w', 'here', 1, '0', ARRAY[%s], '{{transform}}', 1, '30 s', %s, now() - {since})""",
        queue,
        status,
    )


# -- the outbox --------------------------------------------------------------------------------------------------


async def test_a_run_that_was_cancelled_while_nobody_served_its_queue_leaves_nothing_wrong(hand: Hand, who: Patient):
    """Its dispatch waits in the outbox for the next worker, as every other does."""
    await hand.cancel(await hand.start(chain(1)))
    assert broken(await examine(who, pause=at_once)) == {}


async def test_a_step_that_was_dispatched_anew_while_nobody_served_its_queue_leaves_nothing_wrong(
    hand: Hand, who: Patient, client: AsyncClient, sql: Sql
):
    """Pausing and resuming a run does that; so does a retry."""
    run = await hand.start(chain(1))
    await client.pause(run)
    await client.resume(run)
    assert sql.counts("outbox") == 2
    assert broken(await examine(who, pause=at_once)) == {}
    await hand.cancel(run)
    await hand.retry(run)
    assert broken(await examine(who, pause=at_once)) == {}


async def test_a_dispatch_that_is_published_a_moment_later_is_none_that_is_left(hand: Hand, who: Patient, sql: Sql):
    """Whoever executed the step had taken it over; its worker's relay comes to it after the second look."""
    run = await hand.start(chain(1))
    await hand.finish(run)
    seen(sql)
    pause = between(lambda: None, lambda: sql.do("DELETE FROM outbox"))
    assert broken(await examine(who, pause=pause)) == {}


async def test_a_dispatch_that_nobody_publishes_although_its_queue_is_served_is_found(
    hand: Hand, who: Patient, sql: Sql
):
    """Once whoever serves it had the time."""
    run = await hand.start(chain(1))
    await hand.cancel(run)
    seen(sql)
    assert broken(await examine(who, pause=at_once)) == {"outbox.stale": [run]}


@pytest.mark.parametrize("status", ["active", "draining", "stopped"])
async def test_who_was_seen_lately_is_given_time(hand: Hand, who: Patient, sql: Sql, status: str):
    """A worker that leaves is followed by another one, which finds what it left."""
    run = await hand.start(chain(2))
    await hand.complete(run, "s0")
    sql.do("UPDATE workers SET status = %s", status)
    seen(sql, status=status)
    acts = [*[lambda: None] * 5, lambda: sql.do("DELETE FROM outbox WHERE step_no = 0")]
    assert broken(await examine(who, pause=between(*acts))) == {}


# -- queues without a worker -------------------------------------------------------------------------------------


@pytest.mark.parametrize("published", [False, True], ids=["in the outbox", "in the stream"])
async def test_work_of_a_queue_without_a_worker_is_no_broken_invariant(
    hand: Hand, who: Patient, sql: Sql, valkey_client: redis.Redis, *, published: bool
):
    """However long it has waited: the finding is that the queue has no worker."""
    run = await hand.start(chain(1))
    sql.do(f"UPDATE steps SET due_at = due_at - {HOUR}, queued_at = queued_at - {HOUR}")
    if published:
        sql.do("DELETE FROM outbox")
        lane = hand.engine.names.lane("default")
        valkey_client.xgroup_create(lane, GROUP, id="0", mkstream=True)
        valkey_client.xadd(lane, {"v": "1", "run": run.hex, "step": "0", "dispatch_no": "1"})
    found = await examine(who, pause=at_once)
    assert {one.kind for one in found.findings if one.runs} >= {"queue.unserved"}
    assert broken(found).keys() <= {"rows.differ", "run.asleep"}


# -- gates -------------------------------------------------------------------------------------------------------


async def test_a_line_that_moves_is_no_room_that_nobody_was_let_into(hand: Hand, who: Patient, sql: Sql):
    """Room is given right after the commit that made it: both looks find some, and another run that is next."""
    first, *line = [await hand.start(chain(1, name="narrow", limit=1)) for _ in range(3)]
    seen(sql)
    sql.do("DELETE FROM outbox")
    sql.do("UPDATE gates SET max_active = 2")

    def one_in() -> None:
        sql.do("UPDATE runs SET priority = 5 WHERE id = %s", line[1])

    def all_in() -> None:
        sql.do("UPDATE gates SET max_active = 1")

    assert first not in line
    assert "gate.idle" not in broken(await examine(who, pause=between(one_in, one_in, all_in)))


async def test_room_that_stays_although_a_worker_is_there_is_found(hand: Hand, who: Patient, sql: Sql):
    """The run that is next stays next: about that one."""
    first, waiting, _ = [await hand.start(chain(1, name="narrow", limit=1)) for _ in range(3)]
    seen(sql)
    await hand.cancel(first)
    sql.do("DELETE FROM outbox")
    admitted = sql.value("SELECT id FROM runs WHERE status = 'running'")
    assert admitted == waiting
    sql.do("UPDATE gates SET max_active = 2")
    (found,) = broken(await examine(who, pause=at_once))["gate.idle"]
    assert sql.status(found) == "pending"


async def test_a_limit_that_was_lowered_breaks_nothing(hand: Hand, who: Patient):
    """Three were let in when three might be; the version that was started last lets in one."""
    runs = [await hand.start(chain(1, name="narrow", limit=3)) for _ in range(3)]
    await hand.start(chain(1, name="narrow", limit=1))
    found = await examine(who, ended=None, pause=at_once)
    assert broken(found) == {}
    for run in runs:
        await hand.finish(run)
    assert "gate.was_over" not in broken(await examine(who, ended=None, pause=at_once))


async def test_more_runs_than_any_version_allows_are_found(hand: Hand, who: Patient, sql: Sql):
    """Now, and when it is over, by the history: with the runs that were in."""
    runs = [await hand.start(chain(1, name="narrow", limit=2)) for _ in range(2)]
    sql.do("UPDATE gates SET max_active = 1")
    assert broken(await examine(who, ended=None, pause=at_once)) == {}
    changed = """UPDATE workflow_versions SET definition = jsonb_set(definition, '{concurrency,limit}', '1')"""
    assert sql.do(changed)
    found = broken(await examine(who, ended=None, pause=at_once))
    assert (sorted(found["gate.over"]), sorted(found["gate.was_over"])) == (sorted(runs), sorted(runs))
    for run in runs:
        await hand.finish(run)
    found = broken(await examine(who, ended=None, pause=at_once))
    assert (found.get("gate.over"), sorted(found["gate.was_over"])) == (None, sorted(runs))


# -- streams -----------------------------------------------------------------------------------------------------


async def test_what_a_worker_hands_back_as_it_leaves_is_work_that_waits(
    hand: Hand, who: Patient, sql: Sql, valkey_client: redis.Redis
):
    """It is marked as if it had lain still for a day, so that whoever looks next takes it over."""
    run = await hand.start(chain(1))
    delivered(hand, valkey_client, {"v": "1", "run": run.hex, "step": "0", "dispatch_no": "1"})
    sql.do("DELETE FROM outbox")
    assert broken(await examine(who, pause=at_once)) == {}


async def test_a_message_of_a_newer_release_is_left_to_its_workers(
    hand: Hand, who: Patient, valkey_client: redis.Redis
):
    """What this release cannot read is not therefore past."""
    delivered(hand, valkey_client, {"v": "99", "run": uuid4().hex, "what": "else"})
    assert broken(await examine(who, pause=at_once)) == {}


async def test_a_delivery_that_is_acknowledged_a_moment_later_is_none_that_is_left(
    hand: Hand, who: Patient, sql: Sql, valkey_client: redis.Redis
):
    """Its step is past it already: the settlement commits first."""
    run = await hand.start(chain(1))
    await hand.finish(run)
    sql.do("DELETE FROM outbox")
    entry = delivered(hand, valkey_client, {"v": "1", "run": run.hex, "step": "0", "dispatch_no": "1"})
    lane = hand.engine.names.lane("default")
    assert broken(await examine(who, pause=at_once)) == {"stream.pending": [run]}
    assert broken(await examine(who, pause=between(lambda: valkey_client.xack(lane, GROUP, entry)))) == {}


async def test_a_group_that_is_made_anew_a_moment_later_is_not_missing(
    hand: Hand, who: Patient, valkey_client: redis.Redis
):
    """A flush takes it, a relay publishes, and the next read makes it."""
    lane = hand.engine.names.lane("default")
    valkey_client.xadd(lane, {"v": "1", "run": uuid4().hex, "step": "0", "dispatch_no": "1"})
    assert "stream.group" in broken(await examine(who, pause=at_once))
    pause = between(lambda: valkey_client.xgroup_create(lane, GROUP, id="0"))
    assert broken(await examine(who, pause=pause)) == {}


def delivered(hand: Hand, client: redis.Redis, fields: dict[Any, Any]) -> str:
    """Put a message into the stream, and let a consumer hand it back."""
    lane = hand.engine.names.lane("default")
    client.xgroup_create(lane, GROUP, id="0", mkstream=True)
    added: Any = client.xadd(lane, fields)
    entry = str(added.decode())
    client.xreadgroup(GROUP, "leaving", {lane: ">"})
    client.xclaim(lane, GROUP, "leaving", 0, [entry], idle=HANDED_BACK, justid=True)
    return entry


# -- timers ------------------------------------------------------------------------------------------------------


async def test_timers_stand_still_while_a_run_waits_to_be_let_in_again(hand: Hand, who: Patient, sql: Sql):
    """A retried run goes on with its waiting steps when its gate has room."""
    await hand.start(chain(1, name="narrow", limit=1))
    run = await hand.start(chain(1, name="narrow", limit=1))
    waiting = """INSERT INTO steps (run_id, step_no, status, open_dependencies, skipped_dependencies, attempt, failures,
                                    crashes, token, dispatch_no, due_at, cancel_requested)
                 VALUES (%s, 0, 'waiting', 0, 0, 0, 0, 0, 0, 0, now() - interval '1 hour', false)"""
    sql.do(waiting, run)
    assert "timer.late" not in broken(await examine(who, pause=at_once))


# -- receipts ----------------------------------------------------------------------------------------------------


async def test_receipts_that_let_work_go_first_are_not_missing(hand: Hand, endpoints: Endpoints, settings, sql: Sql):
    """Minutes behind under a rush that goes on, and in line; they are missing where the line stands."""
    who = Patient(endpoints, settings.model_copy(update={"receipts": True}))
    runs = [await hand.start(chain(1)) for _ in range(2)]
    for run in runs:
        await hand.finish(run)
    sql.do("DELETE FROM outbox")
    sql.do("DELETE FROM receipts_due WHERE run_id = %s", runs[0])
    await Receipting(hand.engine.database, hand.engine.plans, hand.engine.settings).run_once()
    sql.do(f"UPDATE runs SET finished_at = finished_at - {HOUR} WHERE id = %s", runs[0])
    sql.do("INSERT INTO receipts_due (finished_at, run_id) SELECT finished_at, id FROM runs WHERE id = %s", runs[0])
    assert "receipt.due" not in broken(await examine(who, pause=at_once)), "nobody is there who makes receipts"
    seen(sql)
    assert "receipt.due" not in broken(await examine(who, pause=at_once)), "one was made just now"
    sql.do(f"UPDATE receipt_batches SET created_at = created_at - {HOUR}")
    assert broken(await examine(who, pause=at_once))["receipt.due"] == [runs[0]]


# -- servers that go away meanwhile ------------------------------------------------------------------------------


async def test_redis_may_go_away_between_two_looks(hand: Hand, who: Patient, sql: Sql, monkeypatch: pytest.MonkeyPatch):
    """That is a finding of its own, and what Postgres says is found all the same."""
    run = await hand.start(chain(1))
    await hand.finish(run)

    async def gone(*_: object) -> list[str]:
        raise StreamUnavailable("connection refused")

    pause = between(lambda: monkeypatch.setattr(RedisLog, "streams", gone))
    found = await examine(who, pause=pause)
    assert broken(found) == {"outbox.stale": [run]}
    assert "server.redis" in {one.kind for one in found.findings}


async def test_postgres_may_go_away_between_two_looks(hand: Hand, who: Patient, sql: Sql):
    """Then no invariant is judged."""
    await hand.finish(await hand.start(chain(1)))
    end = """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE pid <> pg_backend_pid() AND datname = current_database()"""
    found = await examine(who, pause=between(lambda: sql.rows(end)))
    assert broken(found) == {}
    assert "server.postgres" in {one.kind for one in found.findings}
    assert {one["holds"] for one in found.document()["invariants"]} == {None}


# -- repairs look again ------------------------------------------------------------------------------------------


async def test_a_receipt_that_was_made_meanwhile_is_not_made_twice(hand: Hand, engine: Engine, sql: Sql):
    """The doctor found none; a worker made it before the repair."""
    run = await hand.start(chain(1))
    await hand.finish(run)
    (found,) = findings([Violation("receipt.due", "it has none", run)])
    await Receipting(engine.database, engine.plans, engine.settings).run_once()
    await repairing.repair(engine, found)
    assert (sql.counts("receipts"), sql.counts("receipts_due")) == (1, 0)


async def test_a_head_that_is_right_by_now_is_left_alone(hand: Hand, engine: Engine, sql: Sql, who: Patient):
    """Setting it to what was last when the doctor looked would break the chain."""
    receipting = Receipting(engine.database, engine.plans, engine.settings)
    await hand.finish(await hand.start(chain(1)))
    await receipting.run_once()
    digest = sql.value("SELECT encode(hash, 'hex') FROM receipt_chains")
    (found,) = findings([Violation("receipt.head", "it was behind", None, ("default", 1, digest))])
    await hand.finish(await hand.start(chain(1)))
    await receipting.run_once()
    await repairing.repair(engine, found)
    assert sql.value("SELECT no FROM receipt_chains") == 2
    sql.do("DELETE FROM outbox")
    assert broken(await examine(who, pause=at_once)) == {}


async def test_a_gate_that_is_full_by_now_lets_nobody_in(hand: Hand, engine: Engine, sql: Sql):
    """Room is counted anew, under the gate's lock."""
    await hand.start(workflow(step("a"), name="narrow", limit=1))
    waiting = await hand.start(workflow(step("a"), name="narrow", limit=1))
    gate = sql.value("SELECT id FROM gates")
    (found,) = findings([Violation("gate.idle", "there was room", waiting, gate)])
    await repairing.repair(engine, found)
    assert sql.status(waiting) == "pending"
