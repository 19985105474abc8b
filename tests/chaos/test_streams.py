"""What happens to the streams: duplicates, strangers, losses, and a relay that dies. Scenarios 5, 6, 10, 24, 25."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import redis

from tests.acceptance.kit.sink import reply
from tests.acceptance.kit.workers import WorkerProcess
from tests.chaos.kit.load import LINEAR
from tests.chaos.kit.proxy import COMMITTED, DELETED
from tests.chaos.kit.world import World
from tests.support.eventually import eventually_sync

#: One attempt at a time: a worker that is held up by it relays, and reads nothing.
BUSY: dict[str, Any] = {"concurrency": "1"}


def held_up(world: World, **how: Any) -> WorkerProcess:
    """Start a worker that does nothing but relay: a relay serves the lanes of its own worker alone."""
    world.effects.hold("held", after=(reply(),))
    relay = world.worker(**BUSY, **how)
    world.start(world.flow(LINEAR.replace("@sink/a/{{ run.id }}", "@sink/held")))
    world.effects.arrived("held")
    return relay


@pytest.mark.quick
def test_05_a_relay_killed_between_publishing_and_committing_publishes_again(world: World):
    """The rows stay in the outbox, their messages are in the streams twice: every step is executed once.

    Beside them is the one attempt that the worker of this relay was held up by, which is lost with it.
    """
    relay = held_up(world, crash_at="relay.after_xadd:2")
    world.load(world.random.randint(7, 40))
    assert relay.process.wait(timeout=60) == -9
    left = world.sql.counts("outbox")
    published = world.valkey.xlen(world.stream()) - 1
    assert left >= published > 0
    world.worker()
    world.verify(crashes=1, repeated=1)


def test_06_a_relay_killed_after_its_commit_has_lost_nothing(world: World):
    """It dies when the commit of the deletion is on its way back: the messages are out, once."""
    proxy = world.proxy("postgres")
    relay = held_up(world, **world.through(postgres=proxy))
    cut = proxy.cut_before(COMMITTED, after=DELETED, then=relay.process.kill)
    world.load(world.random.randint(7, 40))
    assert cut.done.wait(60)
    relay.process.wait(timeout=60)
    left, published = world.sql.counts("outbox"), world.valkey.xlen(world.stream()) - 1
    assert published > 0
    world.worker()
    world.verify(crashes=1, repeated=1)
    print(f"{published} messages were out, {left} rows had not been taken yet")


LOSSES = {
    "the stream is deleted": lambda client, stream: client.delete(stream),
    "the group is destroyed": lambda client, stream: client.exists(stream) and client.xgroup_destroy(stream, "workers"),
    "the stream is another thing": lambda client, stream: (client.set(stream, "x"), client.delete(stream)),
}


@pytest.mark.parametrize("loss", LOSSES, ids=[name.replace(" ", "-") for name in LOSSES])
def test_10_a_lost_stream_or_group_is_made_again_and_its_dispatches_come_again(world: World, loss: str):
    """Again and again under load: no message stays lost, and no worker says more than two lines a second about it.

    An evicted stream is a deleted one. Waiting for the next dispatch would take five minutes here: the loss itself
    has to be noticed.
    """
    workers = world.some_workers(2, lease="20s", redispatch_after="300s")
    began = time.monotonic()
    runs = world.load(105, longest=0.2)
    for part in range(1, 9):
        world.happened(part * len(runs) // 4)
        for lane in (world.queue, f"{world.queue}.python"):
            LOSSES[loss](world.valkey, world.stream(lane))
    world.verify(crashes=0, repeated=0)
    seconds = time.monotonic() - began
    for one in workers:
        said = sum("lost its group" in line for line in one.said.splitlines())
        assert said <= 2 * (seconds + 1), f"{said} lines in {seconds:.0f} s"


def garbage(chance: random.Random, run: str) -> dict[Any, Any]:
    """Make an entry that is none of ours, or nearly one."""
    name = bytes(chance.randrange(256) for _ in range(chance.randint(1, 20)))
    entry: dict[Any, Any] = {"v": "1", "run": run, "step": "0", "dispatch_no": "1"}
    broken = [
        {name: bytes(chance.randrange(256) for _ in range(chance.randint(0, 200)))},
        {**entry, "run": f"{chance.getrandbits(128):032x}"},
        {**entry, chance.choice(list(entry)): name},
        {field: entry[field] for field in chance.sample(list(entry), 3)},
        {**entry, "step": str(chance.randint(-(2**70), 2**70))},
        {**entry, "dispatch_no": str(chance.choice([-1, 2**31, 2**63, 10**30]))},
        {**entry, "v": chance.choice(["0", "-1", "1.0", "one", "", " 1", "9" * 400])},
    ]
    return chance.choice(broken)


@pytest.mark.quick
def test_24_strange_entries_are_put_away_while_the_work_goes_on(world: World):
    """300 of them between the messages of a load, one of five megabytes: buried or ignored, nothing stays pending."""
    worker = world.worker(lease="20s")
    world.load(42)
    client, stream = world.valkey, world.stream()
    run = world.runs[0].hex
    for _ in range(300):
        client.xadd(stream, garbage(world.random, run))
    client.xadd(stream, {"v": b"\xff" * 5_000_000})
    world.load(42)
    world.verify(crashes=0, repeated=0)
    letters: Any = client.xlen(f"{stream}:dead")
    assert 100 < letters <= 301
    size: Any = client.memory_usage(f"{stream}:dead")
    assert size < 4_000_000
    lines = [line for line in worker.said.splitlines() if "buried" in line]
    assert 0 < len(lines) < letters / 2, f"{len(lines)} lines about {letters} messages"
    assert "Traceback" not in worker.said


@contextmanager
def stammering(client: redis.Redis, streams: list[str], chance: random.Random) -> Iterator[list[int]]:
    """Deliver every message four more times, in another order, up to three seconds later; yields the count."""
    done = threading.Event()
    copies = [0]

    def stammer() -> None:
        last = dict.fromkeys(streams, "0-0")
        waiting: list[tuple[float, str, Any]] = []
        ours: set[Any] = set()
        while not (done.is_set() and not waiting):
            found: Any = client.xread({one: last[one] for one in streams}, count=1000) or []
            for name, entries in found:
                stream = name.decode()
                for entry, fields in entries:
                    last[stream] = entry
                    if entry not in ours:
                        waiting += [(time.monotonic() + chance.uniform(0, 3), stream, fields) for _ in range(4)]
            chance.shuffle(waiting)
            for one in [one for one in waiting if one[0] <= time.monotonic()]:
                waiting.remove(one)
                ours.add(client.xadd(one[1], one[2]))
                copies[0] += 1
            done.wait(0.01)

    thread = threading.Thread(target=stammer)
    thread.start()
    try:
        yield copies
    finally:
        done.set()
        thread.join()


def test_25_every_message_five_times_in_disorder_is_one_execution(world: World):
    """A relay that repeats everything, shuffled and late: one execution for every attempt."""
    world.some_workers(2, lease="20s")
    streams = [world.stream(), world.stream(f"{world.queue}.python")]
    with stammering(world.valkey, streams, world.random) as copies:
        world.load(70, longest=0.3)
        world.ended(world.runs)
    eventually_sync(lambda: not world.valkey.xlen(streams[0]), what="all copies are put away")
    world.verify(crashes=0, repeated=0)
    assert copies[0] > len(world.runs)
    print(f"{copies[0]} copies were delivered")
