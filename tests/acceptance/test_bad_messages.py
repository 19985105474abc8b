"""Strange things in the dispatch stream: they are put away or ignored, and the work goes on."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
import redis

from tests.acceptance.conftest import Workers
from tests.acceptance.kit.person import Operator, steps
from tests.acceptance.kit.workers import WorkerProcess
from tests.support.eventually import eventually_sync

STRANGE: dict[str, dict[str, str | bytes | int]] = {
    "nothing of ours": {"hello": "world"},
    "an unknown version": {"v": 0, "run": "0" * 32, "step": 0, "dispatch_no": 1},
    "no version": {"run": "0" * 32, "step": 0, "dispatch_no": 1},
    "a run that is no id": {"v": 1, "run": "not-an-id", "step": 0, "dispatch_no": 1},
    "a step that is no number": {"v": 1, "run": "0" * 32, "step": "first", "dispatch_no": 1},
    "numbers beyond all columns": {"v": 1, "run": "0" * 32, "step": 2**70, "dispatch_no": 2**70},
    "bytes": {b"\xff\xfe".decode("latin-1"): b"\x00\xff", "v": b"\x01"},
    "a run that never was": {"v": 1, "run": "0199" + "0" * 28, "step": 0, "dispatch_no": 1},
}


def stream_of(operator: Operator, lane: str = "default") -> str:
    """Return the name of a dispatch stream."""
    installation = operator.sql.value("SELECT left(id::text, 8) FROM installation")
    return f"ff:{installation}:q:{lane}"


@pytest.mark.parametrize("fields", STRANGE.values(), ids=STRANGE.keys())
def test_a_message_that_nobody_can_use_is_buried(
    operator: Operator, worker: WorkerProcess, fields: dict[str, str | bytes | int]
):
    """It ends among the dead letters with a reason, is pending nowhere, and the worker goes on."""
    stream = stream_of(operator)
    with redis.Redis.from_url(operator.installation.redis_url) as client:
        entry: Any = client.xadd(stream, fields)

        def letter() -> dict[bytes, bytes] | None:
            found: Any = client.xrevrange(f"{stream}:dead", count=50)
            return next((fields for _, fields in found if fields[b"entry_id"] == entry), None)

        assert eventually_sync(letter, what="the message is buried")[b"reason"]
        eventually_sync(lambda: not client.xrange(stream, entry, entry), what="it leaves the stream")
    flow = operator.flow('steps: [{id: a, type: transform, config: {expression: "1"}}]\n')
    (run,) = operator.start_many(flow, [{}])
    assert operator.ended([run]) == {"completed": 1}
    assert worker.process.poll() is None


def test_an_ancient_or_repeated_message_does_not_run_a_step_again(operator: Operator, workers: Workers):
    """Dispatches of steps that are done, under way or not yet due change nothing, and none stays pending."""
    flow = operator.flow("""
        queue: @queue
        steps:
          - {id: a, type: http, config: {url: "@sink/a"}}
          - {id: b, type: http, depends_on: a, config: {url: "@sink/b"}}
    """)
    hold = operator.effects.hold("b")
    workers()
    run = operator.start(flow)
    operator.effects.arrived("b")
    with redis.Redis.from_url(operator.installation.redis_url) as client:
        stream = stream_of(operator, operator.queue)
        for step in (0, 1, 2, 3):
            for dispatch_no in (0, 1, 2, 1000):
                client.xadd(stream, {"v": 1, "run": run.hex, "step": step, "dispatch_no": dispatch_no})
        eventually_sync(lambda: client.xinfo_groups(stream)[0]["lag"] == 0, what="all are read")
        hold.release()
        (document,) = operator.wait(run)
        eventually_sync(lambda: not client.xlen(stream), what="all are put away")
        eventually_sync(lambda: not client.xpending(stream, "workers")["pending"], what="nothing is pending")
    assert operator.effects.paths() == ["a", "b"]
    assert all(step["attempts"] == 1 for step in steps(document).values())


def test_a_dispatch_that_comes_together_with_an_older_one_is_not_overlooked(operator: Operator, workers: Workers):
    """Both lie in the stream, the older one first, and are read at once: the step runs now, not a lease later."""
    flow = operator.flow("""
        queue: @queue
        steps: [{id: a, type: http, config: {url: "@sink/a"}}]
    """)
    workers().stop()
    workers(queues="another")
    run = operator.start(flow, redispatch_after="300s")
    with redis.Redis.from_url(operator.installation.redis_url) as client:
        stream = stream_of(operator, operator.queue)
        for dispatch_no in (0, 1):
            client.xadd(stream, {"v": 1, "run": run.hex, "step": 0, "dispatch_no": dispatch_no})
        with psycopg.connect(operator.installation.database_url, autocommit=True) as connection:
            connection.execute("DELETE FROM flowforge.outbox WHERE run_id = %s", (run,))
        workers(lease="300s", redispatch_after="300s")
    # Without a second look it takes a lease, or the next dispatch: five minutes either way.
    assert operator.ended([run]) == {"completed": 1}


@pytest.mark.usefixtures("worker")
def test_a_stream_that_is_something_else_does_not_stop_the_other_lanes(operator: Operator):
    """Somebody writes a string over the lane of python steps: transforms go on; python steps do when it is gone."""
    simple = operator.flow('steps: [{id: a, type: transform, config: {expression: "1"}}]\n')
    python = operator.flow('steps: [{id: a, type: python, config: {function: "os:getpid"}}]\n')
    stream = stream_of(operator, "default.python")
    with redis.Redis.from_url(operator.installation.redis_url) as client:
        client.set(stream, "not a stream")
        (first,) = operator.start_many(simple, [{}])
        assert operator.ended([first]) == {"completed": 1}
        (second,) = operator.start_many(python, [{}])
        client.delete(stream)
        assert operator.ended([second]) == {"completed": 1}
