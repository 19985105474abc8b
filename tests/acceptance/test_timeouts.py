"""Time limits that end what they limit: functions that never return, servers that never finish."""

from __future__ import annotations

from typing import Any

import pytest

from tests.acceptance.kit.person import Operator, statuses, steps
from tests.acceptance.kit.processes import gone
from tests.acceptance.kit.sink import drip

pytestmark = pytest.mark.usefixtures("worker")


def test_a_python_step_that_loops_for_ever_is_killed_when_its_time_is_over(operator: Operator):
    """Criterion 5: the step fails with TIMEOUT, and its process is gone, not just forgotten."""
    flow = operator.flow("""
        steps:
          - {id: warm, type: python, config: {function: "shop:nap", args: [0]}}
          - id: loop
            type: python
            depends_on: warm
            timeout: 2s
            retry: {max_attempts: 1}
            config: {function: "shop:loop", args: {url: "@sink/loop"}}
    """)
    document = operator.run(flow, code=5)
    assert document["error"]["code"] == "TIMEOUT"
    (call,) = operator.effects.calls("loop")
    gone(call.body["pid"])


def test_a_python_step_that_ignores_sigterm_is_killed_with_everything_it_started(operator: Operator):
    """Criterion 5: neither the function nor its child, which ignore SIGTERM both, outlive the limit."""
    flow = operator.flow("""
        steps:
          - {id: warm, type: python, config: {function: "shop:nap", args: [0]}}
          - id: deaf
            type: python
            depends_on: warm
            timeout: 2s
            retry: {max_attempts: 1}
            config: {function: "shop:deaf", args: {url: "@sink/deaf"}}
    """)
    document = operator.run(flow, code=5)
    assert document["error"]["code"] == "TIMEOUT"
    (call,) = operator.effects.calls("deaf")
    gone(call.body["pid"])
    gone(call.body["child"])


def test_a_server_that_drips_is_cut_off_by_the_total_deadline(operator: Operator):
    """A byte every 50 ms keeps no request alive: the limit is on the whole, and each attempt has its own."""
    operator.effects.answer("drip", drip)
    flow = operator.flow("""
        steps:
          - id: drip
            type: http
            timeout: 1s
            retry: {max_attempts: 2, initial_delay: 10ms}
            config: {url: "@sink/drip"}
    """)
    document = operator.run(flow, code=5)
    assert document["error"]["code"] == "TIMEOUT"
    assert steps(document)["drip"]["attempts"] == 2
    assert len({call.key for call in operator.effects.calls("drip")}) == 1


def test_a_server_that_never_answers_is_given_up_and_tried_again(operator: Operator):
    """The first attempt times out, the second is answered; `retry_on: [timeout]` is enough for that."""
    operator.effects.hold("slow", after=(lambda handler: handler.reply(200, {"n": 2}, {}),))
    flow = operator.flow("""
        steps:
          - id: slow
            type: http
            timeout: 2s
            retry: {max_attempts: 3, initial_delay: 10ms, retry_on: [timeout]}
            config: {url: "@sink/slow"}
    """)
    document = operator.run(flow)
    assert document["output"]["slow"]["body"] == {"n": 2}
    assert steps(document)["slow"]["attempts"] == 2


def test_a_run_that_takes_too_long_fails_and_what_ran_is_stopped(operator: Operator):
    """The run's own limit ends a step whose limit is far away, and its process with it."""
    flow = operator.flow("""
        timeout: 2s
        steps:
          - {id: loop, type: python, config: {function: "shop:loop", args: {url: "@sink/loop"}}}
          - {id: wait, type: delay, config: {duration: 1h}}
          - {id: end, type: transform, depends_on: [loop, wait], config: {expression: "1"}}
    """)
    document = operator.run(flow, code=5)
    assert document["error"]["code"] == "RUN_TIMEOUT"
    assert "within 2s" in document["error"]["message"]
    assert statuses(document) == {"loop": "cancelled", "wait": "cancelled", "end": "cancelled"}
    for call in operator.effects.calls("loop"):
        gone(call.body["pid"])


def test_waiting_with_a_time_limit_ends_the_waiting_and_not_the_run(operator: Operator):
    """`--timeout` leaves with exit code 8 and says how to come back; the run completes later."""
    hold = operator.effects.hold("held")
    flow = operator.flow('steps: [{id: held, type: http, config: {url: "@sink/held"}}]\n')
    result = operator.shell.type("run", str(flow), "--wait", "--timeout", "300ms", code=8)
    run: Any = result.out.strip()
    assert "goes on" in result.err
    assert "flowforge" in result.err
    hold.release()
    assert operator.wait(run)[0]["status"] == "completed"


def test_the_waiting_of_a_step_for_its_turn_does_not_count_against_its_limit(operator: Operator):
    """Forty python steps of 200 ms each share a few processes: none of them times out while it waits."""
    children = "".join(
        f"\n  - {{id: s{no}, type: python, timeout: 4s, retry: {{max_attempts: 1}},"
        f' config: {{function: "shop:nap", args: [0.2]}}}}'
        for no in range(40)
    )
    document = operator.run(operator.flow(f"steps:{children}\n"))
    assert set(statuses(document).values()) == {"completed"}
