"""Workers that die, freeze, or are starved: scenarios 1 to 4, 28 and 39."""

from __future__ import annotations

import threading
import time
from functools import partial
from typing import Any
from uuid import UUID

import pytest

from tests.acceptance.kit.person import RECEIPT, steps, types
from tests.acceptance.kit.processes import gone, lives
from tests.acceptance.kit.sink import reply
from tests.acceptance.kit.workers import WorkerProcess
from tests.chaos.kit import plugins
from tests.chaos.kit.load import LINEAR
from tests.chaos.kit.world import LEASE, World
from tests.support.eventually import eventually_sync

#: Between the end of a lease and the next attempt: sweep, dispatch, read, claim, on a busy machine.
HELD = LINEAR.replace("@sink/b/{{ run.id }}", "@sink/held")
HELD_PYTHON = """
    queue: @queue
    concurrency: unlimited
    steps:
      - {id: a, type: http, config: {method: POST, url: "@sink/a/{{ run.id }}"}}
      - {id: b, type: python, depends_on: a, config: {function: "shop:effect", args: {url: "@sink/held"}}}
      - {id: c, type: http, depends_on: b, config: {method: POST, url: "@sink/c/{{ run.id }}"}}
"""


@pytest.mark.quick
def test_01_a_worker_killed_in_the_middle_of_an_http_step_is_taken_over(world: World):
    """SIGKILL while the sink holds the reply: two calls, one key, one result, the second attempt under token 2."""
    step = world.random.choice("abc")
    hold = world.effects.hold("held", after=(reply(200, {"from": "second"}),))
    flow = world.flow(LINEAR.replace(f"@sink/{step}/{{{{ run.id }}}}", "@sink/held"))
    world.some_workers(2)
    run = world.start(flow)
    world.effects.arrived("held")
    world.holder(run, step).kill()
    died_at = time.time()
    (document,) = world.wait(run)
    hold.release()
    one = steps(document)[step]
    assert (one["attempts"], one["crashes"], one["output"]["body"]) == (2, 1, {"from": "second"})
    first, second = world.effects.calls("held")
    assert first.key == second.key == f"{run}:{step}"
    assert (first.token, second.token) == (1, 2)
    history = types(world.events(run))
    assert history.count(f"step.started {step}") == 2
    assert history.count(f"step.completed {step}") == 1
    world.verify(crashes=1, repeated=1)
    print(f"taken over {second.at - died_at:.2f} s after the death; the lease is {LEASE:g} s")


def test_02_a_worker_killed_between_its_effect_and_the_commit_is_taken_over(world: World):
    """The outcome is known and not committed: the effect is asked for again with the same key, and counted once."""
    number = world.random.randint(1, 3)
    first = world.worker(crash_at=f"worker.before_settle:{number}")
    run = world.start(world.flow(LINEAR))
    assert first.process.wait(timeout=60) == -9
    assert len(world.effects.calls()) == number
    world.worker()
    (document,) = world.wait(run)
    step = "abc"[number - 1]
    assert [call.token for call in world.effects.calls(f"{step}/{run}")] == [1, 2]
    assert steps(document)[step]["crashes"] == 1
    world.verify(crashes=1, repeated=1)


def test_02_a_step_that_must_not_be_repeated_is_parked_when_its_worker_dies(world: World):
    """`max_crashes: 0`: nobody knows whether the effect happened, so nobody repeats it: a person is asked."""
    once = LINEAR.replace("{id: b,", "{id: b, retry: {max_crashes: 0},")
    first = world.worker(crash_at="worker.before_settle:2")
    run = world.start(world.flow(once))
    assert first.process.wait(timeout=60) == -9
    world.worker()
    (document,) = world.wait(run, code=5)
    assert document["error"]["code"] == "POISON"
    assert steps(document)["b"]["status"] == "failed"
    assert [call.token for call in world.effects.calls(f"b/{run}")] == [1]
    assert world.sql.rows("SELECT kind, step FROM incidents") == [("poison_step", "b")]
    world.verify(enough=0, crashes=1, repeated=0)


def frozen_in(world: World, definition: str) -> tuple[UUID, WorkerProcess]:
    """Start a run, and freeze its worker while the sink holds the call of its second step."""
    run = world.start(world.flow(definition))
    world.effects.arrived("held")
    worker = world.holder(run, "b")
    worker.freeze()
    return run, worker


@pytest.mark.parametrize("definition", [HELD, HELD_PYTHON], ids=["http", "python"])
def test_03_a_frozen_worker_comes_back_after_its_successor_has_committed(world: World, definition: str):
    """SIGSTOP beyond the lease, its reply meanwhile, SIGCONT: its outcome changes nothing, its child is killed."""
    hold = world.effects.hold("held", then=reply(200, {"from": "zombie"}), after=(reply(200, {"from": "second"}),))
    world.some_workers(2)
    run, zombie = frozen_in(world, definition)
    child = world.effects.calls("held")[0].body
    (document,) = world.wait(run)
    assert steps(document)["b"]["crashes"] == 1
    told = f"SELECT count(*) FROM events e WHERE e.run_id = r.id AND e.type <> '{RECEIPT}'"
    ended = f"SELECT status, output, ({told}) FROM runs r"
    before = world.sql.rows(ended)
    if world.random.random() < 0.5:
        hold.release()
    zombie.thaw()
    noticed = ("is gone; stopping the attempt", "its lease was lost")
    eventually_sync(lambda: any(text in zombie.said for text in noticed), what="the zombie notices")
    if definition is HELD_PYTHON:
        gone(child["pid"])
    hold.release()
    zombie.stop()
    assert world.sql.rows(ended) == before
    world.verify(crashes=1, repeated=1)


def renewed_twice(world: World, run: UUID) -> None:
    """Wait until the second step's lease was renewed by whoever has it."""
    due = "SELECT due_at FROM steps WHERE run_id = %s AND step_no = 1 AND status = 'running'"
    later = "SELECT due_at > %s FROM steps WHERE run_id = %s AND step_no = 1 AND status = 'running'"
    for _ in range(2):
        before = world.sql.value(due, run)
        eventually_sync(partial(world.sql.value, later, before, run), what="the lease is renewed")


@pytest.mark.parametrize("definition", [HELD, HELD_PYTHON], ids=["http", "python"])
def test_04_a_frozen_worker_comes_back_while_its_successor_is_at_work(world: World, definition: str):
    """SIGCONT in the middle of the second attempt: that goes on undisturbed, and keeps its delivery."""
    first = world.effects.hold("held", then=reply(200, {"from": "zombie"}))
    world.some_workers(2)
    run, zombie = frozen_in(world, definition)
    second = world.effects.hold("held", then=reply(200, {"from": "second"}))
    world.effects.arrived("held", 2)
    successor = world.holder(run, "b")
    assert successor.pid != zombie.pid
    first.release()
    zombie.thaw()
    noticed = ("is gone; stopping the attempt", "its lease was lost")
    eventually_sync(lambda: any(text in zombie.said for text in noticed), what="the zombie notices")
    # Renewed twice more by its own worker: nobody has taken its lease, or its entry in the stream.
    renewed_twice(world, run)
    lane = world.stream(world.queue if definition is HELD else f"{world.queue}.python")
    pending: Any = world.valkey.xpending_range(lane, "workers", "-", "+", 10)
    owners = {entry["consumer"].decode() for entry in pending}
    assert owners <= set(world.sql.value("SELECT array_agg(id) FROM workers WHERE pid = %s", successor.pid))
    second.release()
    (document,) = world.wait(run)
    b = steps(document)["b"]
    assert (b["attempts"], b["crashes"]) == (2, 1)
    assert (b["output"].get("answer") or b["output"]["body"]) == {"from": "second"}
    zombie.stop()
    world.verify(crashes=1, repeated=1)


@pytest.mark.quick
def test_28_a_killed_worker_takes_its_child_with_it(world: World):
    """PR_SET_PDEATHSIG: the function ends with its worker, long before its successor starts after the lease."""
    world.effects.hold("held", after=(reply(),))
    world.some_workers(2)
    run = world.start(world.flow(HELD_PYTHON))
    (call,) = world.effects.arrived("held")
    world.holder(run, "b").kill()
    died_at = time.monotonic()
    gone(call.body["pid"])
    took = time.monotonic() - died_at
    assert len(world.effects.calls("held")) == 1, "its successor had started while the child was still alive"
    _, second = world.effects.arrived("held", 2)
    assert not lives(call.body["pid"])
    assert second.token == 2
    print(f"the child died {took * 1000:.0f} ms after its worker")
    world.verify(crashes=1, repeated=1)


def test_39_starved_workers_repeat_nothing_that_was_not_lost(world: World):
    """Stopped nine tenths of the time: leases are renewed, or the attempt is given up; no claim runs twice."""
    workers = world.some_workers(2, lease="6s")
    runs = world.load(70, longest=0.5)
    done = threading.Event()

    def starve() -> None:
        while not done.wait(0.05):
            for one in workers:
                one.freeze()
            done.wait(0.45)
            for one in workers:
                one.thaw()

    starving = threading.Thread(target=starve)
    starving.start()
    try:
        world.happened(2 * len(runs))
    finally:
        done.set()
        starving.join()
    world.verify()
    lost = world.sql.value("SELECT sum(crashes)::int FROM steps")
    world.verify(repeated=lost)
    print(f"{lost} leases were lost")


def test_39_a_blocked_event_loop_keeps_its_leases(world: World):
    """Ten seconds in which the loop does nothing, with leases of four: the heartbeat's thread renews them all."""
    plugin = plugins.step_type(world.folder, "blocker", plugins.BLOCKER, "Blocker")
    hold = world.effects.hold("held", after=(reply(),))
    blocked = world.worker(PYTHONPATH=plugin)
    run = world.start(world.flow(HELD))
    world.effects.arrived("held")
    blocker = world.start(
        world.flow("""
        queue: @queue
        steps: [{id: block, type: blocker, config: {}}]
        """)
    )
    world.step_becomes(blocker, "block", "running")
    world.worker(PYTHONPATH=plugin)
    hold.release()
    world.verify(crashes=0, repeated=0)
    assert world.sql.value("SELECT worker FROM steps WHERE run_id = %s AND step_no = 1", run).split("-")[-2] == str(
        blocked.pid
    )
