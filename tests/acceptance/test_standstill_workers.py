"""Runs that wait for workers and for their dispatch: who is missing, who is busy, what is down, and what helps."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

import pytest

from tests.acceptance.conftest import Workers
from tests.acceptance.kit.asking import ask, becomes
from tests.acceptance.kit.person import Operator, steps
from tests.acceptance.kit.workers import WorkerProcess
from tests.chaos.kit.plugins import step_type
from tests.support.eventually import eventually_sync
from tests.support.servers import forget

pytestmark = pytest.mark.thorough

ONE = 'queue: "@queue"\nsteps: [{id: a, type: http, config: {url: "@sink/a"}}]\n'
GREETER = """
    from flowforge.model.outcome import Completed


    class Greeter:
        def __init__(self, settings):
            pass

        def execute(self, assignment):
            return Completed("hello")
"""


@contextmanager
def frozen(*workers: WorkerProcess) -> Iterator[None]:
    """Let workers stand still for a while: shorter than their leases, so that nobody knows."""
    for one in workers:
        one.freeze()
    try:
        yield
    finally:
        for one in workers:
            one.thaw()


def name(operator: Operator, worker: WorkerProcess) -> str:
    """Return what a worker is called."""
    return str(operator.sql.value("SELECT id FROM workers WHERE pid = %s ORDER BY started_at DESC", worker.pid))


# -- nobody who could ------------------------------------------------------------------------------------------


def test_a_queue_without_a_worker(operator: Operator, worker: WorkerProcess, workers: Workers):
    """Workers of other queues do not help; the one that is offered does."""
    run = operator.start(operator.flow(ONE))
    answer = becomes(operator, run, ["no_worker"])
    assert answer.offered == ["worker", "start", "--queue", operator.queue]
    answer.says(f"step 'a' waits for a worker: none serves queue '{operator.queue}'")
    workers(*answer.offered)
    operator.wait(run)


def test_timers_without_anybody_who_looks(operator: Operator, standing: list[WorkerProcess], workers: Workers):
    """The last worker has left: a delay is overdue, and is over when there is a worker again."""
    last = workers()
    run = operator.start(operator.flow('queue: "@queue"\nsteps: [{id: cool, type: delay, config: {duration: 2s}}]\n'))
    operator.step_becomes(run, "cool", "waiting")
    for one in (last, *standing):
        if one.process.poll() is None:
            one.stop()
    answer = becomes(operator, run, ["overdue", "no_worker"])
    answer.says("no worker is there, and timers are looked after by workers")
    assert answer.offered == ["worker", "start"]
    workers(*answer.offered, queues=f"default,{operator.queue}")
    operator.wait(run)


def test_a_step_type_that_no_worker_has(operator: Operator, workers: Workers):
    """The queue is served, but not by a worker that has the package."""
    site = step_type(operator.folder, "greet", GREETER, "Greeter")
    flow = operator.flow('queue: "@queue"\nsteps: [{id: hello, type: greet, config: {}}]\n')
    log = operator.folder / "publish.log"
    assert operator.shell.begin("workflow", "publish", str(flow), log=log, PYTHONPATH=site).wait() == 0, log.read_text()
    without = workers()
    run = UUID(operator.shell.type("run", flow.stem, "--json").document["id"])
    answer = becomes(operator, run, ["type_not_installed"])
    assert (answer.first["data"]["type"], answer.holders) == ("greet", [name(operator, without)])
    answer.says(f"is of type 'greet', which no worker of queue '{operator.queue}' has", "install the package")
    workers(*answer.offered, PYTHONPATH=site)
    assert operator.wait(run)[0]["output"] == {"hello": "hello"}


def test_a_worker_that_is_busy(operator: Operator, workers: Workers):
    """What takes its slots is named, with its run."""
    hold = operator.effects.hold("a")
    busy = workers(concurrency="1")
    flow = operator.flow(ONE)
    first = operator.start(flow)
    operator.effects.arrived("a")
    run = operator.start(operator.flow(ONE.replace("sink/a", "sink/b")))
    answer = becomes(operator, run, ["workers_busy"])
    assert answer.first["data"] == {"slots": 1, "taken": 1}
    answer.says(
        f"1 of 1 slots taken, all by {flow.stem}/a",
        f"{name(operator, busy)} 1 of 1 slots: {flow.stem}/a of run {first}",
    )
    assert answer.offered == ["worker", "start", "--queue", operator.queue]
    hold.release()
    operator.wait(run)


# -- workers that go away --------------------------------------------------------------------------------------


def test_a_worker_that_was_killed_and_was_the_only_one(operator: Operator, worker: WorkerProcess, workers: Workers):
    """Its lease is over, and nobody is there to take over: who it was, and what to start."""
    operator.effects.hold("a", after=(lambda handler: handler.reply(200, {}, {}),))
    victim = workers()
    run = operator.start(operator.flow(ONE))
    operator.effects.arrived("a")
    answer = ask(operator.shell, run)
    assert (answer.kinds, answer.document["stuck"]) == (["running"], False)
    answer.says(f"step 'a' is running on {name(operator, victim)}, attempt 1 of 3, and is stopped after 5m")
    with frozen(worker):
        victim.kill()
        answer = becomes(operator, run, ["worker_lost", "no_worker"])
    assert answer.holders == [name(operator, victim)]
    answer.says(f"was running on {name(operator, victim)}, which is lost", "last seen", "none serves queue")
    workers(*answer.offered)
    assert steps(operator.wait(run)[0])["a"]["crashes"] == 1


def test_a_worker_that_is_frozen(operator: Operator, worker: WorkerProcess, workers: Workers):
    """Its step was taken from it, and waits for a worker of its queue: it is said which one is gone, and since when."""
    operator.effects.hold("a", after=(lambda handler: handler.reply(200, {}, {}),))
    victim = workers()
    run = operator.start(operator.flow(ONE))
    operator.effects.arrived("a")
    with frozen(victim):
        answer = becomes(operator, run, ["no_worker"])
        assert answer.holders == [name(operator, victim)]
        answer.says(f"none serves queue '{operator.queue}'; worker {name(operator, victim)} was last seen")
    document = operator.wait(run)[0]
    assert steps(document)["a"]["attempts"] == 2


def test_a_worker_that_is_leaving(operator: Operator, worker: WorkerProcess, workers: Workers):
    """It finishes what it has, and takes nothing new."""
    hold = operator.effects.hold("a")
    leaving = workers(grace="60s")
    first = operator.start(operator.flow(ONE))
    operator.effects.arrived("a")
    operator.shell.type("worker", "drain", name(operator, leaving))
    eventually_sync(lambda: "stopping" in leaving.said, what="the worker has heard of it")
    run = operator.start(operator.flow(ONE.replace("sink/a", "sink/b")))
    answer = becomes(operator, run, ["no_worker"])
    answer.says(f"none serves queue '{operator.queue}'; worker {name(operator, leaving)} is leaving")
    workers(*answer.offered)
    operator.wait(run)
    hold.release()
    operator.wait(first)


# -- the dispatch ----------------------------------------------------------------------------------------------


def test_a_dispatch_that_nobody_publishes(operator: Operator, worker: WorkerProcess, workers: Workers):
    """Every worker that could relay it stands still, and is not missed yet."""
    one = workers(lease="60s")
    with frozen(worker, one):
        run = operator.start(operator.flow(ONE))
        answer = becomes(operator, run, ["outbox_lag"])
        answer.says("step 'a' is not dispatched: it lies in the outbox and no worker publishes it")
    operator.wait(run)


def test_a_dispatch_that_was_lost_with_its_stream(operator: Operator, workers: Workers):
    """It is said when it is sent again."""
    run = operator.start(operator.flow(ONE), redispatch_after="10s")
    operator.shell.type("queue", "pause", operator.queue)
    one = workers(lease="60s")
    unpublished = "SELECT count(*) FROM outbox WHERE run_id = %s"
    eventually_sync(lambda: operator.sql.value(unpublished, run) == 0, what="it is dispatched")
    with frozen(one):
        installation = operator.sql.value("SELECT left(id::text, 8) FROM installation")
        forget(operator.installation.redis_url, f"ff:{installation}:q:{operator.queue}*")
        operator.shell.type("queue", "resume", operator.queue)
        answer = becomes(operator, run, ["dispatch_lost"])
        answer.says("its message is not in the stream at /", "it is dispatched again")
        assert answer.ends == operator.sql.value("SELECT due_at FROM steps WHERE run_id = %s", run)
    operator.wait(run)


def test_a_stream_server_that_is_down(operator: Operator, workers: Workers):
    """The answer comes from Postgres, and so does the work."""
    one = workers(lease="60s")
    where = operator.installation
    shell = operator.shell.in_(database_url=where.database_url, redis_url=where.redis_url)
    with frozen(one):
        os.kill(where.pid("valkey"), signal.SIGKILL)
        run = operator.start(operator.flow(ONE))
        answer = becomes(operator, run, ["streams_down"], shell)
        answer.says("Redis is down", "workers take dispatches straight from Postgres, slowly")
        assert answer.first["subject"]["name"].endswith("valkey.sock")
        status = answer.follow(code=None)
        assert (status.code, "Redis cannot be reached" in status.err) == (4, True)
    assert shell.type("wait", str(run), "--json").document["status"] == "completed"
