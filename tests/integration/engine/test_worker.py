"""A worker process: taking work, giving it back, and outliving whatever it reads."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from uuid import uuid4

import pytest

from flowforge.client import AsyncClient
from flowforge.engine import acker
from flowforge.engine.names import GROUP
from flowforge.engine.reader import Reader
from flowforge.engine.relay import Relay
from flowforge.engine.worker import Worker
from flowforge_streams.delivery import Entry
from flowforge_streams.errors import StreamUnavailable
from flowforge_streams.throttle import ThrottledLog
from tests.support.definitions import chain, step, workflow
from tests.support.documents import steps_of
from tests.support.eventually import eventually
from tests.support.executors import Counting, Held, Scripted
from tests.support.hand import Hand
from tests.support.sql import Sql
from tests.support.streams import LANES


def task_of(worker: Worker) -> asyncio.Task[Any] | None:
    """Return the task in which a worker runs, None once it has left."""
    return next((task for task in asyncio.all_tasks() if task.get_name() == worker.id), None)


async def stopped(worker: Worker) -> None:
    """Wait until a worker that was told to stop has left."""
    await eventually(lambda: task_of(worker) is None)


async def test_a_worker_registers_and_leaves(client: AsyncClient, start_worker):
    """What it serves, and since when."""
    worker = await start_worker(concurrency=7)
    (row,) = await client.workers()
    assert (row.id, row.status, row.concurrency, row.queues) == (worker.id, "active", 7, ("default",))
    assert "transform" in row.step_types
    assert await client.worker_alive()
    assert not await client.worker_alive(["gpu"])
    worker.stop()
    await stopped(worker)
    (row,) = await client.workers()
    assert row.status == "stopped"


async def test_a_worker_serves_only_its_queues(client: AsyncClient, start_worker, sql: Sql, at_rest):
    """A step of another queue waits for its own workers."""
    await start_worker()
    run = await client.run(workflow(step("a"), step("b", "a", queue="gpu")))
    await eventually(lambda: sql.steps(run.id).get("a") == "completed")
    assert sql.steps(run.id)["b"] == "queued"
    await start_worker(queues=("gpu",))
    assert (await client.wait(run.id)).status == "completed"
    await at_rest()


async def test_a_worker_takes_no_more_than_it_has_room_for(client: AsyncClient, start_worker, sql: Sql, at_rest):
    """The rest stays in the stream, for others."""
    held = Held()
    await start_worker(executors=Scripted(transform=held), concurrency=3)
    version = await client.planned(chain(1))
    await client.start_many([client.prepare(version) for _ in range(10)])
    await eventually(lambda: len(held.started) == 3)
    other = Held()
    await start_worker(executors=Scripted(transform=other), concurrency=5)
    await eventually(lambda: len(other.started) == 5)
    assert len(held.started) == 3
    held.release.set()
    other.release.set()
    await eventually(lambda: sql.value("SELECT count(*) FROM runs WHERE status <> 'completed'") == 0)
    await at_rest()


async def test_a_worker_that_postgres_does_not_answer_takes_nothing(
    client: AsyncClient, start_worker, sql: Sql, at_rest
):
    """It could claim nothing, and would keep from others what it reads."""
    deaf = await start_worker(lease=timedelta(seconds=6))
    deaf.hear(answers=False)
    run = await client.run(chain(1))
    await start_worker(lease=timedelta(seconds=6))
    await client.wait(run.id, timeout=60)
    assert sql.value("SELECT data->>'worker' FROM events WHERE type = 'step.started'") != deaf.id
    deaf.hear(answers=True)
    assert deaf.room() > 0


async def test_a_stopping_worker_finishes_what_runs(client: AsyncClient, start_worker, sql: Sql, at_rest):
    """Within the grace period nothing is interrupted, and the continuation is left to others."""
    held = Held()
    worker = await start_worker(executors=Scripted(transform=held), grace=timedelta(seconds=60))
    run = await client.run(chain(2))
    await eventually(lambda: held.started)
    worker.stop()
    await eventually(lambda: worker.stopping)
    held.release.set()
    await stopped(worker)
    assert held.cancelled == []
    assert held.closed
    assert sql.steps(run.id) == {"s0": "completed", "s1": "queued"}
    assert len(held.started) == 1
    await start_worker()
    assert (await client.wait(run.id)).status == "completed"
    await at_rest()


async def test_what_does_not_finish_in_time_is_handed_back_uncounted(
    client: AsyncClient, start_worker, sql: Sql, at_rest
):
    """The next worker starts it at once, as the same attempt; no lease is left behind."""
    held = Held()
    worker = await start_worker(executors=Scripted(transform=held), grace=timedelta(milliseconds=50))
    run = await client.run(workflow(step("a", retry={"max_attempts": 1})))
    await eventually(lambda: held.started)
    worker.stop()
    await stopped(worker)
    assert len(held.cancelled) == 1
    assert sql.rows("SELECT status::text, attempt, failures, crashes FROM steps") == [("queued", 0, 0, 0)]
    assert sql.value("SELECT count(*) FROM steps WHERE status = 'running'") == 0
    await start_worker()
    run = await client.wait(run.id)
    assert (run.status, steps_of(run)[0].attempts) == ("completed", 1)
    await at_rest()


async def test_a_second_word_to_stop_stops_what_runs_as_well(client: AsyncClient, start_worker, sql: Sql):
    """Without waiting for the grace period."""
    held = Held()
    worker = await start_worker(executors=Scripted(transform=held), grace=timedelta(hours=1))
    await client.run(chain(1))
    await eventually(lambda: held.started)
    worker.stop()
    await asyncio.sleep(0)
    worker.stop()
    await stopped(worker)
    assert len(held.cancelled) == 1
    assert sql.value("SELECT status::text FROM steps") == "queued"


async def test_two_words_to_stop_at_the_same_instant_are_two(client: AsyncClient, start_worker, sql: Sql):
    """A second Ctrl-C that comes before the first was looked at is not forgotten."""
    held = Held()
    worker = await start_worker(executors=Scripted(transform=held), grace=timedelta(hours=1))
    await client.run(chain(1))
    await eventually(lambda: held.started)
    worker.stop()
    worker.stop()
    await eventually(lambda: held.cancelled)


async def test_a_worker_that_is_asked_to_drain_lets_its_attempts_finish(
    client: AsyncClient, start_worker, sql: Sql, at_rest, restless: None
):
    """The request lies in its row and is seen at every beat: it must not count as impatience."""
    held = Held()
    worker = await start_worker(executors=Scripted(transform=held), grace=timedelta(seconds=60))
    run = await client.run(chain(1))
    await eventually(lambda: held.started)
    assert await client.drain([worker.id]) == [worker.id]
    await eventually(lambda: worker.stopping)

    def seen_again(before: datetime) -> bool:
        return bool(held.cancelled) or sql.value("SELECT seen_at FROM workers") > before

    for _ in range(3):
        before = sql.value("SELECT seen_at FROM workers")
        await eventually(partial(seen_again, before))
    assert held.cancelled == []
    held.release.set()
    await stopped(worker)
    assert sql.status(run.id) == "completed"
    await at_rest()


async def test_a_worker_leaves_without_an_error_while_redis_is_away(
    client: AsyncClient, start_worker, sql: Sql, monkeypatch: pytest.MonkeyPatch
):
    """What it could not publish stays in the outbox, for the next one."""
    held = Held()
    worker = await start_worker(executors=Scripted(transform=held), grace=timedelta(milliseconds=50))
    await client.run(chain(1))
    await eventually(lambda: held.started)

    async def away(*_: object, **__: object):
        raise StreamUnavailable

    monkeypatch.setattr(worker.engine.streams, "publish", away)
    run = task_of(worker)
    assert run is not None
    worker.stop()
    await asyncio.wait([run], timeout=60)
    assert run.done()
    assert run.exception() is None
    assert sql.value("SELECT status::text FROM workers") == "stopped"
    assert sql.counts("outbox") == 1


async def test_a_cancelled_run_stops_its_attempt_wherever_it_runs(client: AsyncClient, start_worker, sql: Sql, at_rest):
    """Told over the control channel; the run is cancelled when the attempt has stopped."""
    held = Held()
    await start_worker(executors=Scripted(transform=held))
    run = await client.run(chain(2))
    await eventually(lambda: held.started)
    await client.cancel(run.id, reason="changed my mind")
    assert (await client.wait(run.id)).status == "cancelled"
    assert len(held.cancelled) == 1
    await at_rest()


async def test_a_cancellation_arrives_without_the_control_channel(
    client: AsyncClient, start_worker, sql: Sql, hand: Hand, at_rest, restless: None
):
    """The next renewal of the lease tells the worker."""
    held = Held()
    await start_worker(executors=Scripted(transform=held))
    run = await client.run(chain(1))
    await eventually(lambda: held.started)
    await hand.cancel(run.id)
    await eventually(lambda: sql.status(run.id) == "cancelled")
    assert len(held.cancelled) == 1
    await at_rest()


async def test_a_long_step_keeps_its_lease(client: AsyncClient, start_worker, sql: Sql, at_rest, restless: None):
    """Renewed several times over; nobody takes it, nothing is counted."""
    held = Held()
    for _ in range(2):
        await start_worker(executors=Scripted(transform=held))
    run = await client.run(chain(1))
    await eventually(lambda: held.started)
    first = sql.value("SELECT due_at FROM steps")
    await eventually(lambda: (sql.value("SELECT due_at FROM steps") - first) > timedelta(milliseconds=300))
    assert len(held.started) == 1
    held.release.set()
    assert steps_of(await client.wait(run.id))[0].crashes == 0
    await at_rest()


async def test_what_a_dead_worker_left_is_taken_over(client: AsyncClient, start_worker, hand: Hand, sql: Sql, at_rest):
    """It read a delivery, claimed the step, and died: the lease ends, another worker goes on."""
    run_id = await hand.start(chain(1))
    await Relay(hand.engine.database, hand.engine.streams, hand.engine.names, LANES).run_once()
    group = hand.engine.streams.group(hand.engine.names.lane("default"), GROUP)
    await group.ensure()
    assert len(await group.read("dead", count=10)) == 1
    dead = Hand(hand.engine, "dead", timedelta(milliseconds=500))
    await dead.claim(run_id, 0)
    await start_worker(lease=timedelta(milliseconds=500))
    run = await client.wait(run_id)
    assert run.status == "completed"
    assert (steps_of(run)[0].attempts, steps_of(run)[0].crashes) == (2, 1)
    await at_rest()


async def test_a_delivery_that_was_read_and_never_claimed_is_reclaimed(
    client: AsyncClient, start_worker, hand: Hand, sql: Sql, at_rest
):
    """Its reader died before it said anything to Postgres; nothing is charged."""
    run_id = await hand.start(chain(1))
    await Relay(hand.engine.database, hand.engine.streams, hand.engine.names, LANES).run_once()
    group = hand.engine.streams.group(hand.engine.names.lane("default"), GROUP)
    await group.ensure()
    assert len(await group.read("dead", count=10)) == 1
    await start_worker(lease=timedelta(milliseconds=500))
    run = await client.wait(run_id)
    assert (steps_of(run)[0].attempts, steps_of(run)[0].crashes) == (1, 0)
    await at_rest()


async def test_five_copies_of_every_message_shuffled_execute_everything_once(
    client: AsyncClient, start_worker, hand: Hand, sql: Sql, at_rest
):
    """Duplicates are absorbed by the claim, whichever worker they reach."""
    import random

    runs = [await hand.start(chain(2)) for _ in range(20)]
    sql.do("DELETE FROM outbox")
    stream = hand.engine.names.lane("default")
    messages = [
        Entry(stream, {"v": "1", "run": run_id.hex, "step": 0, "dispatch_no": 1}) for run_id in runs for _ in range(5)
    ]
    random.shuffle(messages)
    await hand.engine.streams.publish(messages)
    counting = Counting()
    for _ in range(2):
        await start_worker(executors=Scripted(transform=counting), lease=timedelta(seconds=1))
    await eventually(lambda: sql.value("SELECT count(*) FROM runs WHERE status <> 'completed'") == 0)
    await at_rest()
    assert len(counting.executed) == len(set(counting.executed)) == 40


def _garbage() -> dict[str, dict[Any, Any]]:
    known: dict[Any, Any] = {"v": "1", "run": uuid4().hex, "step": "0", "dispatch_no": "1"}
    return {
        "empty value": {"x": ""},
        "other version": known | {"v": "0"},
        "no version": {name: value for name, value in known.items() if name != "v"},
        "no run": {name: value for name, value in known.items() if name != "run"},
        "foreign run": known,
        "not a uuid": known | {"run": "zzz"},
        "binary": known | {"run": b"\xff\xfe\x00\x01"},
        "binary name": {b"\xff\xfe": b"\x00"},
        "negative": known | {"step": "-1"},
        "huge number": known | {"dispatch_no": "9" * 30},
        "endless number": known | {"dispatch_no": "9" * 10_000},
        "not a number": known | {"step": "one"},
        "5 MB": known | {"run": "x" * 5_000_000},
        "5 MB extra": {"v": "1", "payload": b"\x00" * 5_000_000},
        "trace": known | {"traceparent": b"\xff" * 100},
    }


async def test_garbage_in_the_stream_is_buried_and_the_worker_goes_on(
    client: AsyncClient, start_worker, hand: Hand, valkey_client, at_rest, caplog: pytest.LogCaptureFixture, monkeypatch
):
    """Each piece is put away with its reason and acknowledged; the log has a short line for all of one moment."""
    stream = hand.engine.names.lane("default")
    for fields in _garbage().values():
        valkey_client.xadd(stream, fields)
    monkeypatch.setattr(acker, "_buried", ThrottledLog(acker.log, clock=lambda: 1.0))
    await start_worker()
    run = await client.run(chain(2), wait=True)
    assert run.status == "completed"
    group = hand.engine.streams.group(stream, GROUP)

    async def buried() -> bool:
        return len(await group.dead()) == len(_garbage())

    await eventually(buried)
    await at_rest()
    letters = await group.dead()
    assert all(letter.reason for letter in letters)
    assert any("version" in letter.reason for letter in letters)
    lines = [record.getMessage() for record in caplog.records if "buried" in record.getMessage()]
    assert len(lines) == 1
    assert len(lines[0]) < 500


async def test_a_message_of_an_older_dispatch_is_dropped_quietly(
    client: AsyncClient, start_worker, hand: Hand, sql: Sql, at_rest
):
    """Streams that were restored from an old copy bring back what is long done."""
    run_id = await hand.start(chain(1))
    await hand.finish(run_id)
    sql.do("DELETE FROM outbox")
    stream = hand.engine.names.lane("default")
    await hand.engine.streams.publish(
        [Entry(stream, {"v": "1", "run": run_id.hex, "step": 0, "dispatch_no": no}) for no in range(3)]
    )
    counting = Counting()
    # Copies that arrive while the first is being claimed are left to be reclaimed, after a lease.
    await start_worker(executors=Scripted(transform=counting), lease=timedelta(seconds=1))
    await at_rest()
    assert counting.executed == []
    group = hand.engine.streams.group(stream, GROUP)
    assert await group.dead() == []


async def test_a_group_that_is_destroyed_is_made_again(
    client: AsyncClient, start_worker, hand: Hand, valkey_client, at_rest
):
    """XGROUP DESTROY and DEL while a worker reads."""
    await start_worker()
    await client.run(chain(1), wait=True)
    stream = hand.engine.names.lane("default")
    valkey_client.xgroup_destroy(stream, GROUP)
    assert (await client.run(chain(1), wait=True)).status == "completed"
    valkey_client.delete(stream)
    assert (await client.run(chain(1), wait=True)).status == "completed"
    await at_rest()


async def test_a_reader_without_room_reads_nothing(hand: Hand):
    """It waits to be told that there is room again."""
    group = hand.engine.streams.group(hand.engine.names.lane("default"), GROUP)
    await group.ensure()
    await hand.start(chain(1))
    await Relay(hand.engine.database, hand.engine.streams, hand.engine.names, LANES).run_once()
    taken: list[Any] = []
    room = 0
    reader = Reader(group, "me", lambda: room, taken.extend)
    assert await reader.run_once()
    assert taken == []
    room = 1
    assert await reader.run_once() == 0
    await reader.run_once()
    assert len(taken) == 1


async def test_a_reader_looks_at_its_own_entries_first_after_an_error(hand: Hand, monkeypatch: pytest.MonkeyPatch):
    """The reply that was lost with the connection may have had deliveries in it."""
    group = hand.engine.streams.group(hand.engine.names.lane("default"), GROUP)
    await group.ensure()
    taken: list[Any] = []
    reader = Reader(group, "me", lambda: 10, taken.extend)
    await reader.run_once()
    run_id = await hand.start(chain(1))
    await Relay(hand.engine.database, hand.engine.streams, hand.engine.names, LANES).run_once()
    real = group.read

    async def lost(*arguments, **options):
        await real(*arguments, **options)
        raise StreamUnavailable

    monkeypatch.setattr(group, "read", lost)
    with pytest.raises(StreamUnavailable):
        await reader.run_once()
    assert taken == []
    monkeypatch.undo()
    await reader.run_once()
    assert [one.fields["run"].decode() for one in taken] == [run_id.hex]


async def test_logs_of_attempts_are_kept(client: AsyncClient, start_worker, at_rest):
    """By step and attempt; NUL and surrogates are replaced."""

    class Chatty(Held):
        async def run(self, assignment, report):
            report.log("hello \0 \ud800")
            self.release.set()
            return await super().run(assignment, report)

    await start_worker(executors=Scripted(transform=Chatty()))
    run = await client.run(chain(1), wait=True)
    ((name, attempt, text),) = await client.logs(run.id)
    assert (name, attempt) == ("s0", 1)
    assert text.startswith("hello ")
    await at_rest()
