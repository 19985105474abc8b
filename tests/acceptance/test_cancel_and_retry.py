"""What an operator may ask of a run, and what the run makes of it."""

from __future__ import annotations

import subprocess

import pytest

from tests.acceptance.kit.person import Operator, statuses, steps, types
from tests.acceptance.kit.processes import gone
from tests.acceptance.kit.sink import reply

pytestmark = pytest.mark.usefixtures("worker")


@pytest.mark.parametrize("function", ["loop", "deaf"])
def test_cancelling_kills_the_python_step_that_is_running(operator: Operator, function: str):
    """The function's process is gone, deaf or not; nothing behind it runs; `wait` ends with exit code 6."""
    flow = operator.flow(f"""
        steps:
          - {{id: long, type: python, config: {{function: "shop:{function}", args: {{url: "@sink/long"}}}}}}
          - {{id: after, type: http, depends_on: long, config: {{url: "@sink/after"}}}}
    """)
    run = operator.start(flow)
    (call,) = operator.effects.arrived("long")

    operator.shell.type("cancel", str(run), "--reason", "wrong customer")

    (document,) = operator.wait(run, code=6)
    assert document["status"] == "cancelled"
    assert statuses(document) == {"long": "cancelled", "after": "cancelled"}
    gone(call.body["pid"])
    if function == "deaf":
        gone(call.body["child"])
    assert not operator.effects.calls("after")
    (asked,) = [event for event in operator.events(run) if event["type"] == "workflow.cancelling"]
    assert asked["data"]["reason"] == "wrong customer"
    assert asked["data"]["actor"]


def test_a_function_that_looks_whether_it_is_cancelled_can_clean_up(operator: Operator):
    """`context.cancelled` becomes true, and there is time to say goodbye."""
    flow = operator.flow("""
        steps: [{id: polite, type: python, config: {function: "shop:polite", args: {url: "@sink"}}}]
    """)
    run = operator.start(flow)
    operator.effects.arrived("started")
    operator.shell.type("cancel", str(run))
    operator.wait(run, code=6)
    operator.effects.arrived("stopped")


def test_cancelling_drops_the_request_that_is_under_way(operator: Operator):
    """The run ends although the server never answers."""
    operator.effects.hold("held")
    flow = operator.flow('steps: [{id: held, type: http, config: {url: "@sink/held"}}]\n')
    run = operator.start(flow)
    operator.effects.arrived("held")
    operator.shell.type("cancel", str(run))
    operator.wait(run, code=6)
    assert len(operator.effects.calls("held")) == 1


def test_a_run_that_waits_for_its_gate_is_cancelled_without_ever_starting(operator: Operator):
    """A pending run ends at once; the one that holds the gate does not notice."""
    hold = operator.effects.hold("held")
    flow = operator.flow("""
        concurrency: 1
        steps: [{id: held, type: http, config: {url: "@sink/held"}}]
    """)
    active, pending = operator.start_each(flow, [{}, {}])
    operator.effects.arrived("held")
    operator.shell.type("cancel", str(pending))
    (document,) = operator.wait(pending, code=6)
    assert document["started_at"] is None
    assert operator.sql.status(active) == "running"
    hold.release()
    operator.wait(active)
    assert len(operator.effects.calls("held")) == 1


def test_a_run_that_has_ended_cannot_be_cancelled_and_one_that_completed_cannot_be_retried(operator: Operator):
    """Exit code 7, and the reason; nothing is added to the history."""
    run = operator.run(operator.flow('steps: [{id: a, type: transform, config: {expression: "1"}}]\n'))["id"]
    history = types(operator.events(run))
    operator.shell.type("cancel", run, code=7).refused("already completed", run)
    operator.shell.type("retry", run, code=7).refused("completed", run)
    assert types(operator.events(run)) == history


def test_when_cancel_and_completion_meet_one_of_them_wins(operator: Operator):
    """Five races: exit code 0 and a cancelled run, or exit code 7 and a completed one, never anything between."""
    flow = operator.flow('steps: [{id: held, type: http, config: {url: "@sink/{{ input.n }}"}}]\n')
    for number in range(5):
        hold = operator.effects.hold(str(number))
        (run,) = operator.start_many(flow, [{"n": number}])
        operator.effects.arrived(str(number))
        cancelling = operator.shell.begin("cancel", str(run), log=operator.folder / "race")
        try:
            cancelling.wait(timeout=0.1 * number)
        except subprocess.TimeoutExpired:
            hold.release()
        code = cancelling.wait(timeout=60)
        hold.release()
        status = operator.ended([run])
        assert (code, status) in [(0, {"cancelled": 1}), (7, {"completed": 1})]
    operator.at_rest()


def test_a_retry_goes_on_from_what_failed_and_keeps_what_completed(operator: Operator):
    """A stays as it is, B starts over with fresh attempts, C follows; the key of B is still the same."""
    operator.effects.answer("b", reply(500), reply(500), reply(200, {"n": 3}))
    flow = operator.flow("""
        steps:
          - {id: a, type: http, config: {method: POST, url: "@sink/a"}}
          - id: b
            type: http
            depends_on: a
            retry: {max_attempts: 2, initial_delay: 10ms}
            config: {method: POST, url: "@sink/b"}
          - {id: c, type: http, depends_on: b, config: {method: POST, url: "@sink/c"}}
    """)
    run = operator.run(flow, code=5)["id"]
    before = steps(operator.show(run))["a"]

    operator.shell.type("retry", run, "--reason", "the provider is back")

    (document,) = operator.wait(run)
    assert document["status"] == "completed"
    assert document["error"] is None
    assert operator.effects.paths() == ["a", "b", "b", "b", "c"]
    assert steps(document)["a"] == before
    assert len({call.key for call in operator.effects.calls("b")}) == 1
    (retried,) = [event for event in operator.events(run) if event["type"] == "workflow.retried"]
    assert retried["data"]["reason"] == "the provider is back"
    assert retried["data"]["steps"] == ["b", "c"]
    operator.at_rest()


def test_a_retry_from_a_step_repeats_it_and_all_behind_it(operator: Operator):
    """`--from B` runs B again although it completed; A and what does not depend on B are kept."""
    operator.effects.answer("d", reply(400), reply(200))
    flow = operator.flow("""
        steps:
          - {id: a, type: http, config: {url: "@sink/a"}}
          - {id: b, type: http, depends_on: a, config: {url: "@sink/b"}}
          - {id: c, type: http, depends_on: a, config: {url: "@sink/c"}}
          - {id: d, type: http, depends_on: [b, c], config: {url: "@sink/d"}}
    """)
    run = operator.run(flow, code=5)["id"]
    operator.shell.type("retry", run, "--from", "nowhere", code=3).refused("nowhere")
    operator.shell.type("retry", run, "--from", "b")
    assert operator.wait(run)[0]["status"] == "completed"
    paths = operator.effects.paths()
    assert {path: paths.count(path) for path in "abcd"} == {"a": 1, "b": 2, "c": 1, "d": 2}


def test_a_cancelled_run_can_be_retried(operator: Operator):
    """It goes on from the step that was cancelled."""
    operator.effects.hold("b", after=(reply(),))
    flow = operator.flow("""
        steps:
          - {id: a, type: http, config: {url: "@sink/a"}}
          - {id: b, type: http, depends_on: a, config: {url: "@sink/b"}}
    """)
    run = operator.start(flow)
    operator.effects.arrived("b")
    operator.shell.type("cancel", str(run))
    operator.wait(run, code=6)
    operator.shell.type("retry", str(run))
    assert operator.wait(run)[0]["status"] == "completed"
    assert operator.effects.paths() == ["a", "b", "b"]
    assert types(operator.events(run)).count("step.completed a") == 1


def test_a_new_version_does_not_touch_runs_of_the_old_one(operator: Operator):
    """A run pins its version: a retry after publishing another one still runs the old definition."""
    operator.effects.answer("one", reply(400), reply(200))
    name = f"pinned-{operator.queue}"
    old = operator.flow('steps: [{id: one, type: http, config: {url: "@sink/one"}}]\n', name)
    run = operator.run(old, code=5)["id"]
    new = operator.flow('steps: [{id: two, type: http, config: {url: "@sink/two"}}]\n', name)
    assert operator.run(new)["version"] == 2
    operator.shell.type("retry", run)
    (document,) = operator.wait(run)
    assert (document["version"], list(steps(document))) == (1, ["one"])
    assert operator.effects.paths() == ["one", "two", "one"]
