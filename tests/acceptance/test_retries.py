"""Failures that pass, and failures that do not: every attempt carries the same key, and the policy is kept."""

from __future__ import annotations

from datetime import datetime

import pytest

from tests.acceptance.kit.person import Document, Operator, steps, types
from tests.acceptance.kit.sink import Answer, reply, reset

pytestmark = pytest.mark.usefixtures("worker")

QUICK = "retry: {max_attempts: 4, initial_delay: 50ms, backoff: fixed, jitter: false}"


def waits(history: list[Document], step: str) -> list[float]:
    """Return the seconds between each failure of a step and its next attempt, by the clock of the history."""
    at: dict[str, list[datetime]] = {"step.retrying": [], "step.started": []}
    for event in history:
        if event["step"] == step and event["type"] in at:
            at[event["type"]].append(datetime.fromisoformat(event["at"]))
    pairs = zip(at["step.retrying"], at["step.started"][1:], strict=True)
    return [(started - failed).total_seconds() for failed, started in pairs]


def test_a_step_whose_server_fails_twice_is_tried_again_with_the_same_key(operator: Operator):
    """Criterion 4: the third attempt succeeds, and the server could have recognised all three as one."""
    bad: dict[str, Answer] = {"s500": reply(500), "s503": reply(503), "s429": reply(429), "broken": reset}
    for path, answer in bad.items():
        operator.effects.answer(path, answer, answer, reply(201, {"path": path}))
    charges = "".join(
        f'\n  - {{id: {path}, type: http, config: {{method: POST, url: "@sink/{path}", body: {{}}}}, {QUICK}}}'
        for path in bad
    )

    document = operator.run(operator.flow(f"steps:{charges}\n"))

    events = operator.events(document["id"])
    for path, step in steps(document).items():
        assert (step["output"]["status_code"], step["output"]["body"]) == (201, {"path": path})
        assert step["attempts"] == 3
        calls = operator.effects.calls(path)
        assert len(calls) == 3
        assert {call.key for call in calls} == {f"{document['id']}:{path}"}
        assert len(waits(events, path)) == 2
        assert min(waits(events, path)) >= 0.05


def test_a_run_fails_when_the_attempts_are_used_up(operator: Operator):
    """Criterion 4: after max_attempts the run is failed, exit code 5, and nothing behind the step ran."""
    operator.effects.answer("charge", reply(503))
    flow = operator.flow(f"""
        steps:
          - {{id: charge, type: http, config: {{url: "@sink/charge"}}, {QUICK}}}
          - {{id: ship, type: http, depends_on: charge, config: {{url: "@sink/ship"}}}}
    """)

    document = operator.run(flow, code=5)

    assert document["status"] == "failed"
    error = document["error"]
    assert (error["code"], error["step"], error["attempt"]) == ("HTTP_503", "charge", 4)
    assert operator.effects.paths() == ["charge"] * 4
    assert steps(document)["charge"]["status"] == "failed"
    assert types(operator.events(document["id"]))[-1] == "workflow.failed"


def test_retry_on_decides_which_failures_are_tried_again(operator: Operator):
    """A status outside retry_on is final at once, and so is a client error that cannot pass."""
    operator.effects.answer("listed", reply(404), reply(200))
    operator.effects.answer("unlisted", reply(503))
    operator.effects.answer("client", reply(404))
    flow = operator.flow("""
        error_handling: {on_error: continue}
        steps:
          - id: listed
            type: http
            config: {url: "@sink/listed"}
            retry: {max_attempts: 3, initial_delay: 10ms, retry_on: [http_4xx]}
          - id: unlisted
            type: http
            config: {url: "@sink/unlisted"}
            retry: {max_attempts: 3, initial_delay: 10ms, retry_on: [network, timeout, http_429]}
          - {id: client, type: http, config: {url: "@sink/client"}, retry: {max_attempts: 3, initial_delay: 10ms}}
          - {id: end, type: transform, depends_on: [listed, unlisted, client], config: {expression: "1"}}
    """)
    of = steps(operator.run(flow))
    assert (of["listed"]["status"], of["listed"]["attempts"]) == ("completed", 2)
    assert (of["unlisted"]["status"], of["unlisted"]["attempts"]) == ("failed", 1)
    assert (of["client"]["status"], of["client"]["attempts"]) == ("failed", 1)


def test_the_wait_that_a_server_asks_for_is_kept(operator: Operator):
    """Retry-After is a floor: the policy alone would have come back after 10 ms."""
    operator.effects.answer("busy", reply(429, retry_after="1"), reply(200))
    flow = operator.flow("""
        steps:
          - {id: busy, type: http, config: {url: "@sink/busy"}, retry: {max_attempts: 2, initial_delay: 10ms}}
    """)
    document = operator.run(flow)
    assert len(operator.effects.calls("busy")) == 2
    (waited,) = waits(operator.events(document["id"]), "busy")
    assert waited >= 1


def test_exponential_waits_grow_with_every_failure(operator: Operator):
    """100 ms, 200 ms, 400 ms: each pause is at least what the policy says."""
    operator.effects.answer("down", reply(500), reply(500), reply(500), reply(200))
    flow = operator.flow("""
        steps:
          - id: down
            type: http
            config: {url: "@sink/down"}
            retry: {max_attempts: 4, initial_delay: 100ms, backoff: exponential, factor: 2, jitter: false}
    """)
    document = operator.run(flow)
    assert len(operator.effects.calls("down")) == 4
    waited = waits(operator.events(document["id"]), "down")
    assert all(took >= least for took, least in zip(waited, (0.1, 0.2, 0.4), strict=True))


def test_a_python_step_that_raises_is_tried_again_by_the_name_of_its_exception(operator: Operator):
    """LookupError passes on the third attempt; an exception that retry_on does not name is final."""
    flow = operator.flow("""
        error_handling: {on_error: continue}
        steps:
          - id: named
            type: python
            config: {function: "shop:flaky", args: {url: "@sink/named", failures: 2}}
            retry: {max_attempts: 3, initial_delay: 10ms, retry_on: [LookupError]}
          - id: unnamed
            type: python
            config: {function: "shop:flaky", args: {url: "@sink/unnamed", failures: 2}}
            retry: {max_attempts: 3, initial_delay: 10ms, retry_on: [KeyError]}
          - {id: end, type: transform, depends_on: [named, unnamed], config: {expression: "1"}}
    """)
    document = operator.run(flow)
    of = steps(document)
    assert (of["named"]["status"], of["named"]["output"]) == ("completed", 3)
    assert len({call.key for call in operator.effects.calls("named")}) == 1
    assert (of["unnamed"]["status"], of["unnamed"]["attempts"]) == ("failed", 1)
    assert "attempt 1 does not work" in of["unnamed"]["error"]["message"]


def test_a_failure_that_the_function_calls_final_is_not_tried_again(operator: Operator):
    """StepFailure(retryable=False) ends the run with the function's own code, message and hint."""
    flow = operator.flow("""
        steps:
          - {id: charge, type: python, config: {function: "shop:refuse", args: {message: "no money"}}}
    """)
    document = operator.run(flow, code=5)
    assert steps(document)["charge"]["attempts"] == 1
    error = document["error"]
    assert (error["code"], error["message"], error["hint"]) == ("CARD_DECLINED", "no money", "ask for another card")


@pytest.mark.parametrize(("on_error", "status"), [("continue", "failed"), ("skip", "skipped")])
def test_a_step_may_fail_without_failing_the_run(operator: Operator, on_error: str, status: str):
    """With `continue` the failure is an input of what follows; with `skip` the step counts as skipped."""
    flow = operator.flow(f"""
        steps:
          - {{id: a, type: python, on_error: {on_error}, config: {{function: "shop:refuse", args: ["no"]}}}}
          - {{id: b, type: transform, config: {{expression: "2"}}}}
          - {{id: c, type: transform, depends_on: [a, b], config: {{expression: "get(steps.a.error.code, 'none')"}}}}
    """)
    of = steps(operator.run(flow))
    assert of["a"]["status"] == status
    assert of["c"]["output"] == {"result": "CARD_DECLINED"}
