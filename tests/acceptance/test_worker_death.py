"""Workers that die, freeze or leave in the middle of a step: the work goes on elsewhere, once."""

from __future__ import annotations

from functools import partial

import pytest

from tests.acceptance.conftest import Workers
from tests.acceptance.kit.person import Operator, steps, types
from tests.acceptance.kit.processes import gone
from tests.acceptance.kit.sink import reply
from tests.support.eventually import eventually_sync
from tests.support.family import family

HTTP = """
    queue: @queue
    steps:
      - {id: a, type: http, config: {method: POST, url: "@sink/a"}}
      - {id: b, type: http, depends_on: a, config: {method: POST, url: "@sink/b"}}
      - {id: c, type: http, depends_on: b, config: {method: POST, url: "@sink/c"}}
"""
PYTHON = """
    queue: @queue
    steps:
      - {id: a, type: python, config: {function: "shop:effect", args: {url: "@sink/a"}}}
      - {id: b, type: python, depends_on: a, config: {function: "shop:effect", args: {url: "@sink/b"}}}
      - {id: c, type: python, depends_on: b, config: {function: "shop:effect", args: {url: "@sink/c"}}}
"""


@pytest.mark.parametrize("definition", family([HTTP, PYTHON], quick=[HTTP]), ids=["http", "python"])
def test_another_worker_takes_over_what_a_killed_one_was_doing(operator: Operator, workers: Workers, definition: str):
    """kill -9 mid-step: the step runs again with the same key, what was finished does not, one crash is counted."""
    operator.effects.hold("b", after=(reply(200, {"from": "second"}),))
    victim = workers(lease="30s")
    run = operator.start(operator.flow(definition))
    (first,) = operator.effects.arrived("b")
    other = workers()

    victim.kill()
    operator.end_leases(run)

    (document,) = operator.wait(run)
    assert document["status"] == "completed"
    assert operator.effects.paths() == ["a", "b", "b", "c"]
    assert {call.key for call in operator.effects.calls("b")} == {f"{run}:b"}
    b = steps(document)["b"]
    assert (b["crashes"], b["attempts"]) == (1, 2)
    assert all(step["crashes"] == 0 for name, step in steps(document).items() if name != "b")
    body = b["output"].get("answer") or b["output"]["body"]
    assert body == {"from": "second"}
    history = types(operator.events(run))
    assert history.count("step.started b") == 2
    assert history.count("step.completed b") == history.count("step.completed a") == 1
    if definition is PYTHON:
        gone(first.body["pid"])
    other.stop()
    operator.at_rest()


@pytest.mark.thorough
def test_nobody_takes_over_while_the_lease_lasts(operator: Operator, workers: Workers):
    """The second call comes no earlier than a lease after a renewal that the dead worker has made."""
    operator.effects.hold("b", after=(reply(),))
    victim = workers(lease="2s")
    run = operator.start(operator.flow(HTTP))
    operator.effects.arrived("b")
    workers()
    left = operator.sql.value(
        "SELECT extract(epoch FROM due_at) FROM steps WHERE run_id = %s AND step_no = 1 AND status = 'running'", run
    )
    victim.kill()
    operator.wait(run)
    _, second = operator.effects.calls("b")
    assert second.at >= float(left)


@pytest.mark.thorough
def test_a_worker_that_was_frozen_does_not_have_its_outcome_taken(operator: Operator, workers: Workers):
    """SIGSTOP for three leases, its reply in the meantime, SIGCONT: the other worker's outcome stays, once."""
    held = operator.effects.hold("b", then=reply(200, {"from": "frozen"}), after=(reply(200, {"from": "other"}),))
    last = operator.effects.hold("c")
    frozen = workers(lease="2s")
    run = operator.start(operator.flow(HTTP))
    operator.effects.arrived("b")
    frozen.freeze()
    other = workers(lease="10s")
    stopped_at = operator.sql.value("SELECT clock_timestamp()")
    held.release()
    operator.step_becomes(run, "c", "running")
    over = "SELECT clock_timestamp() > %s::timestamptz + 3 * interval '2 seconds'"
    eventually_sync(lambda: operator.sql.value(over, stopped_at), what="three leases pass")

    frozen.thaw()

    seen = (
        "SELECT seen_at > %s::timestamptz + 3 * interval '2 seconds' FROM workers WHERE pid = %s AND status = 'active'"
    )
    eventually_sync(lambda: operator.sql.value(seen, stopped_at, frozen.pid), what="the frozen worker is back")
    frozen.stop()
    last.release()
    (document,) = operator.wait(run)
    b = steps(document)["b"]
    assert b["output"]["body"] == {"from": "other"}
    assert b["crashes"] == 1
    assert operator.effects.paths() == ["a", "b", "b", "c"]
    history = types(operator.events(run))
    assert history.count("step.completed b") == history.count("workflow.completed") == 1
    other.stop()
    operator.at_rest()


def test_a_worker_that_is_asked_to_leave_lets_its_steps_finish(operator: Operator, workers: Workers):
    """SIGTERM: nothing new is taken, what ends within the grace time is settled, exit code 0."""
    held = operator.effects.hold("b")
    leaving = workers(grace="60s")
    run = operator.start(operator.flow(HTTP))
    operator.effects.arrived("b")
    leaving.process.terminate()
    eventually_sync(lambda: "stopping" in leaving.said, what="the worker stops")
    later = operator.start(operator.flow(HTTP.replace("@sink/", "@sink/later-"), name=f"later-{operator.queue}"))
    held.release()
    assert leaving.process.wait(timeout=60) == 0, leaving.said[-2000:]
    assert operator.sql.steps(run)["b"] == "completed"
    assert operator.sql.steps(run)["c"] == operator.sql.steps(later)["a"] == "queued"

    workers()

    for document in operator.wait(run, later):
        assert all((step["attempts"], step["crashes"]) == (1, 0) for step in document["steps"])
    assert len(operator.effects.calls("b")) == 1


@pytest.mark.parametrize("definition", family([HTTP, PYTHON], quick=[HTTP]), ids=["http", "python"])
def test_a_worker_that_leaves_hands_back_what_does_not_finish(operator: Operator, workers: Workers, definition: str):
    """After the grace time the step is queued again, uncounted, its process ended; the next worker does it."""
    operator.effects.hold("b", after=(reply(),))
    leaving = workers(lease="60s", grace="300ms")
    run = operator.start(operator.flow(definition))
    (first,) = operator.effects.arrived("b")

    leaving.stop()

    status, attempt, crashes = operator.sql.rows(
        "SELECT status::text, attempt, crashes FROM steps WHERE run_id = %s AND step_no = 1", run
    )[0]
    assert (status, attempt, crashes) == ("queued", 0, 0)
    if definition is PYTHON:
        gone(first.body["pid"])
    workers()
    (document,) = operator.wait(run)
    assert all((step["attempts"], step["crashes"]) == (1, 0) for step in document["steps"])
    assert {call.key for call in operator.effects.calls("b")} == {f"{run}:b"}
    operator.at_rest()


def test_a_killed_worker_takes_its_python_steps_with_it(operator: Operator, workers: Workers):
    """A function that ignores SIGTERM dies at once, and what it has started when the next worker runs a function."""
    victim = workers(lease="30s")
    run = operator.start(
        operator.flow("""
        queue: @queue
        steps: [{id: deaf, type: python, config: {function: "shop:deaf", args: {url: "@sink/deaf"}}}]
    """)
    )
    (call,) = operator.effects.arrived("deaf")
    victim.kill()
    gone(call.body["pid"])
    operator.end_leases(run)
    workers()
    operator.effects.arrived("deaf", 2)
    gone(call.body["child"])
    operator.shell.type("cancel", str(run))
    operator.wait(run, code=6)


@pytest.mark.thorough
def test_a_step_that_takes_every_worker_down_is_parked(operator: Operator, workers: Workers):
    """A step whose workers keep dying ends as POISON after its fourth, instead of taking the fleet with it."""
    hold = operator.effects.hold("b")
    run = operator.start(operator.flow(HTTP))
    fleet = [workers(lease="60s") for _ in range(5)]
    holder = """
    SELECT w.pid FROM steps s JOIN workers w ON w.id = s.worker WHERE s.run_id = %s AND s.step_no = 1 AND s.attempt = %s
    """
    for attempt in range(1, 5):
        ((pid,),) = eventually_sync(partial(operator.sql.rows, holder, run, attempt), what="it is taken")
        operator.effects.arrived("b", attempt)
        next(one for one in fleet if one.pid == pid).kill()
        operator.end_leases(run)
    operator.becomes(run, "failed")
    hold.release()
    document = operator.show(run)
    assert document["error"]["code"] == "POISON"
    assert steps(document)["b"]["crashes"] == 4
    assert "flowforge retry" in document["error"]["hint"]


def test_draining_a_worker_from_elsewhere_is_the_same_as_asking_it_to_leave(operator: Operator, workers: Workers):
    """`flowforge worker drain` reaches a worker through Postgres: it leaves with exit code 0."""
    one = workers()
    listed = operator.shell.type("worker", "ls", "--json").document["workers"]
    (worker_id,) = [worker["id"] for worker in listed if worker["pid"] == one.pid]
    operator.shell.type("worker", "drain", worker_id)
    assert one.process.wait(timeout=60) == 0, one.said[-2000:]
