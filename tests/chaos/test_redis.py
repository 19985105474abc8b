"""The stream server emptied, killed, full, set back in time, frozen, cut off: scenarios 7 to 10, 15 and 21."""

from __future__ import annotations

import shutil
import time
from typing import Any
from uuid import UUID

import pytest

from tests.acceptance.kit.sink import reply
from tests.chaos.kit.load import LINEAR
from tests.chaos.kit.world import World
from tests.support.eventually import eventually_sync

#: Only the loss of the streams brings a dispatch again: waiting for the next one would take longer than the scenario.
PATIENT: dict[str, Any] = {"lease": "20s", "redispatch_after": "600s"}
#: A lost reply, or a lost acknowledgement, is found again when its entry was idle for a lease.
SHORT: dict[str, Any] = {"lease": "6s", "redispatch_after": "600s"}


@pytest.mark.quick
def test_07_flushall_during_500_active_runs_costs_a_moment(world: World):
    """Everything is dispatched again, no effect is repeated, what runs goes on."""
    # So few attempts at a time that most of the work lies in the streams.
    world.some_workers(2, **SHORT, concurrency="16")
    world.load(500, ["linear", "fan", "branch", "delay"])
    world.happened(world.random.randint(10, 100))
    queued = "SELECT s.run_id, s.step_no, s.dispatch_no FROM steps s WHERE s.status = 'queued'"
    again = """
    SELECT count(*) FROM unnest(%s::uuid[], %s::int[], %s::int[]) AS k (run_id, step_no, dispatch_no)
    JOIN steps s USING (run_id, step_no, dispatch_no) WHERE s.status = 'queued'
    """
    world.valkey.flushall()
    began = time.monotonic()
    lost = world.sql.rows(queued)
    columns = [list(column) for column in zip(*lost, strict=True)] or [[], [], []]
    eventually_sync(
        lambda: world.sql.value(again, *columns) == 0, what="what was queued is claimed or dispatched again"
    )
    print(f"{len(lost)} queued steps were dispatched again {time.monotonic() - began:.2f} s after FLUSHALL")
    world.verify(crashes=0, repeated=0)


def test_08_runs_start_and_complete_while_the_stream_server_is_down(world: World):
    """SIGKILL, no append-only file, empty restart: starting goes on, workers claim straight from Postgres."""
    workers = world.some_workers(2, lease="20s", redispatch_after="5s")
    world.load(70, longest=0.2)
    world.happened(world.random.randint(20, 80))
    world.machine.kill("valkey")
    shutil.rmtree(world.machine.data("valkey") / "appendonlydir")
    without = world.load(70, longest=0.2)
    result = world.shell.type("run", str(world.flow(LINEAR, name="linear")), "--json")
    world.runs.append(UUID(result.document["id"]))
    assert world.ended(without) == {"completed": 70}
    assert world.ended(world.runs) == {"completed": 141}
    assert not world.machine.runs("valkey")
    began = world.load(20)
    world.machine.start()
    assert world.ended(began) == {"completed": 20}
    world.verify(crashes=0, repeated=0)
    assert world.lines("claiming straight from Postgres")
    eventually_sync(lambda: world.lines("the streams take dispatches again"), what="the degraded mode ends")
    lines = sum(len(one.said.splitlines()) for one in workers)
    assert lines < 400, f"{lines} lines"


def test_08_a_stream_server_without_memory_is_worked_around(world: World):
    """Every write is refused, reads are answered: what is queued is claimed straight from Postgres meanwhile."""
    client = world.valkey
    world.some_workers(2, lease="20s", redispatch_after="5s")
    client.config_set("maxmemory", "1")
    try:
        assert world.ended(world.load(56, longest=0.1)) == {"completed": 56}
    finally:
        client.config_set("maxmemory", "0")
    assert world.ended(world.load(20)) == {"completed": 20}
    world.verify(crashes=0, repeated=0)


@pytest.mark.parametrize(("policy", "warned"), [("allkeys-lru", True), ("volatile-ttl", False), ("noeviction", False)])
def test_10_a_stream_server_that_evicts_is_told_of_at_the_start(world: World, policy: str, warned: bool):
    """Streams have no time to live: only a server that evicts any key can lose them."""
    client = world.valkey
    client.config_set("maxmemory-policy", policy)
    try:
        worker = world.worker()
        world.load(7)
        world.verify(crashes=0, repeated=0)
        worker.stop()
        assert (f"maxmemory-policy {policy}" in worker.said) is warned
    finally:
        client.config_set("maxmemory-policy", "noeviction")


def test_09_a_stream_server_that_was_set_back_in_time_brings_back_nothing(world: World):
    """Killed and restarted with an older append-only file: old messages come again and are dropped by the claim."""
    world.some_workers(2, **PATIENT)
    world.load(70, longest=0.2)
    world.happened(world.random.randint(10, 60))
    files = world.machine.data("valkey") / "appendonlydir"
    copy = world.folder / "old-appendonlydir"
    shutil.copytree(files, copy)
    world.load(35, longest=0.2)
    world.happened(world.random.randint(120, 200))
    owner = files.stat()
    world.machine.kill("valkey")
    shutil.rmtree(files)
    shutil.copytree(copy, files)
    for path in (files, *files.iterdir()):
        shutil.chown(path, owner.st_uid, owner.st_gid)
    world.machine.start()
    world.verify(crashes=0, repeated=0)


@pytest.mark.parametrize("how", ["freeze", "drop", "half_open"])
def test_15_a_stream_server_that_falls_silent_during_a_blocking_read(world: World, how: str):
    """Nothing arrives any more and nothing says so: the reader gives up, connects again, and reads its own first."""
    proxy = world.proxy("valkey")
    worker = world.worker(**world.through(valkey=proxy), **SHORT)
    world.load(20)
    world.ended(world.runs)
    began = time.monotonic()
    getattr(proxy, how)()
    world.load(20)
    # Its wake-up is silent too: the relay, or degraded claiming, has to find the outbox by itself.
    if how == "half_open":
        world.ended(world.runs)
    else:
        eventually_sync(lambda: "reader of" in worker.said, what="the reader notices")
        print(f"the reader noticed after {time.monotonic() - began:.1f} s")
        world.ended(world.runs)
        proxy.restore()
    world.load(20)
    world.verify(crashes=0, repeated=0)


def test_21_a_worker_that_is_cut_off_from_the_stream_server_alone_settles_what_it_runs(world: World):
    """Its running steps are committed as ever, new work goes to the others, and it joins in again afterwards."""
    proxy = world.proxy("valkey")
    hold = world.effects.hold("held", after=(reply(),))
    flow = world.flow(LINEAR.replace("@sink/a/{{ run.id }}", "@sink/held"))
    cut = world.worker(**world.through(valkey=proxy), **SHORT)
    run = world.start(flow)
    world.effects.arrived("held")
    proxy.drop()
    other = world.worker(**SHORT)
    began = time.monotonic()
    busy = world.load(140)
    assert world.ended(busy) == {"completed": 140}
    print(f"140 runs took {time.monotonic() - began:.1f} s beside a worker that cannot publish")
    owner = "SELECT DISTINCT w.pid FROM steps s JOIN workers w ON w.id = s.worker WHERE s.run_id = ANY(%s)"
    hold.release()
    assert world.ended([run]) == {"completed": 1}
    assert cut.pid in [pid for (pid,) in world.sql.rows(owner, [run])]
    proxy.restore()
    other.stop()
    assert world.ended(world.load(20)) == {"completed": 20}
    world.verify(crashes=0, repeated=0)
