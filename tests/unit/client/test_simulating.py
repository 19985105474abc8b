"""Simulations: the engine's decisions on a virtual clock, with nothing executed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from flowforge.client.script import Failure, Script
from flowforge.client.simulating import simulate
from flowforge.errors import InputError, UsageError
from flowforge.model.simulation import Simulation
from tests.factories import foreach, parallel, step, undo, waiting

START = datetime(2026, 1, 1, tzinfo=UTC)


def http(step_id: str, *after: str, **settings: Any) -> dict[str, Any]:
    """Return a step with an effect."""
    config = settings.pop("config", {"url": "https://shop.example/"})
    return step(step_id, *after, type="http", config=config, **settings)


def played(*steps: dict[str, Any], value: Any = None, script: Script | None = None, **workflow: Any) -> Simulation:
    """Simulate a workflow."""
    return simulate({"name": "test", "steps": list(steps)} | workflow, value, script, at=START)


def seconds(done: Simulation, step_id: str) -> list[tuple[float, float]]:
    """Return when the attempts of a step began and ended."""
    return [
        (one.started_after.total_seconds(), one.finished_after.total_seconds()) for one in done.step(step_id).attempts
    ]


def test_steps_that_compute_are_computed_and_others_come_from_stubs():
    """What expressions read of a stub is what the stub says."""
    done = played(
        step("double", config={"expression": "input.n * 2"}),
        http("send", "double"),
        step("end", "send", config={"expression": "steps.send.output.body.id + steps.double.output.result"}),
        value={"n": 4},
        script=Script(stubs={"send": {"body": {"id": 100}}}),
    )
    assert (done.status, done.output) == ("completed", {"end": {"result": 108}})
    assert [one.source for one in done.steps] == ["computed", "stub", "computed"]


def test_what_nobody_says_is_assumed_to_work_and_said_to_be_assumed():
    """An expression over what is assumed proves nothing, so it is a note and no failure."""
    url = "https://shop.example/{{ steps.send.output.body.id }}"
    done = played(http("send"), http("get", "send", config={"url": url}))
    assert done.status == "completed"
    assert [one.source for one in done.steps] == ["assumed", "assumed"]
    assert "--stub send=JSON" in done.step("get").notes[0]


def test_an_expression_over_what_is_known_fails_as_it_would():
    """A mistake in the configuration of a step with an effect is found without the effect."""
    done = played(http("send", config={"url": "https://shop.example/{{ input.missing }}"}), value={"n": 1})
    assert done.status == "failed"
    assert (done.step("send").error or {})["code"] == "EXPRESSION_ERROR"


def test_a_delay_takes_its_time_on_the_virtual_clock_only():
    """A day passes at once."""
    wait = step("wait", type="delay", config={"duration": "24h"})
    done = played(wait, step("end", "wait"))
    assert done.took == timedelta(hours=24)
    assert seconds(done, "end") == [(86400, 86400)]


def test_the_first_attempts_fail_and_retries_back_off():
    """1 s, then 2 s: the policy's own delays, without jitter."""
    policy = {"max_attempts": 3, "initial_delay": "1s", "factor": 2, "retry_on": ["http_5xx"]}
    done = played(
        http("send", retry=policy),
        script=Script(failures={"send": Failure(2)}, takes={"send": timedelta(seconds=10)}),
    )
    assert done.status == "completed"
    assert seconds(done, "send") == [(0, 10), (11, 21), (23, 33)]
    assert [one.outcome for one in done.step("send").attempts] == ["failed", "failed", "completed"]


def test_a_failure_that_is_not_to_be_retried_is_final():
    """The code that is given decides, as it would from outside."""
    policy = {"max_attempts": 3, "retry_on": ["http_5xx"]}
    done = played(http("send", retry=policy), script=Script(failures={"send": Failure(None, "HTTP_402")}))
    assert (done.status, (done.error or {})["code"]) == ("failed", "HTTP_402")
    assert len(done.step("send").attempts) == 1


def test_branches_of_a_parallel_step_run_side_by_side():
    """The slower one decides how long it takes."""
    takes = {"fan.a": timedelta(seconds=5), "fan.b": timedelta(seconds=2)}
    done = played(parallel("fan", children=[http("a"), http("b")]), step("end", "fan"), script=Script(takes=takes))
    assert (seconds(done, "fan.a"), seconds(done, "fan.b")) == ([(0, 5)], [(0, 2)])
    assert seconds(done, "end") == [(5, 5)]


def test_items_of_a_foreach_are_stubbed_together_or_one_by_one():
    """`lines[]` is each item; `lines[1]` is one."""
    script = Script(stubs={"lines[]": "x", "lines[1]": "y"}, takes={"lines[]": timedelta(seconds=1)})
    done = played(foreach("lines", children=[http("one")], max_parallel=1), script=script)
    assert done.output == {"lines": {"results": ["x", "y", "x"], "errors": {}, "count": 3}}
    assert done.took == timedelta(seconds=3)


def test_what_was_done_is_undone_when_a_later_step_fails():
    """Compensations are steps like others."""
    done = played(
        http("reserve", compensate=undo()),
        http("ship", "reserve"),
        script=Script(failures={"ship": Failure(None)}),
    )
    assert (done.status, done.step("reserve").status) == ("failed", "compensated")
    assert done.step("reserve:compensate").status == "completed"


def test_an_approval_is_given_or_refused_as_the_script_says():
    """Who does not decide lets the run wait for ever, and the simulation says for what."""
    ask = waiting("ask", type="approval")
    assert played(ask).waits_for == {"ask": "a decision: --approve ask"}
    assert played(ask, script=Script(decisions={"ask": True})).status == "completed"
    refused = played(ask, script=Script(decisions={"ask": False}))
    assert (refused.status, (refused.error or {})["code"]) == ("failed", "REJECTED")


def test_an_approval_that_nobody_gives_times_out_when_its_time_is_over():
    """On the virtual clock."""
    ask = step("ask", type="approval", config={"prompt": "Really?", "timeout": "2h"})
    done = played(ask)
    assert (done.status, (done.error or {})["code"], done.took) == ("failed", "APPROVAL_TIMEOUT", timedelta(hours=2))


def test_a_signal_comes_when_it_is_waited_for():
    """With its payload."""
    done = played(waiting("paid"), script=Script(signals=[("paid", {"amount": 7})]))
    assert done.output is not None
    assert done.step("paid").output["payload"] == {"amount": 7}
    assert played(waiting("paid")).waits_for == {"paid": "a signal: --signal paid=JSON"}


def test_an_attempt_that_takes_too_long_times_out():
    """At its limit, not when it would have ended."""
    done = played(http("send", timeout="5s"), script=Script(takes={"send": timedelta(minutes=1)}))
    assert ((done.error or {})["code"], done.took) == ("TIMEOUT", timedelta(seconds=5))


def test_a_run_that_takes_too_long_is_stopped():
    """What runs then is cancelled at that moment."""
    done = played(http("send", timeout="1h"), timeout="30s", script=Script(takes={"send": timedelta(minutes=10)}))
    assert ((done.error or {})["code"], done.took) == ("RUN_TIMEOUT", timedelta(seconds=30))
    assert done.step("send").attempts[0].outcome == "cancelled"


def test_a_child_workflow_is_stubbed():
    """No run is started."""
    done = played(
        step("child", type="workflow", config={"name": "other"}),
        step("end", "child", config={"expression": "steps.child.output.output.n"}),
        script=Script(stubs={"child": {"output": {"n": 3}}}),
    )
    assert done.output == {"end": {"result": 3}}


def test_a_conditional_may_be_stubbed_by_its_branch():
    """Instead of finding an input that leads there."""
    branches = {"true": {"target_step": "yes"}, "false": {"target_step": "no"}}
    choice = step("if", type="conditional", config={"condition": "input.x", "branches": branches})
    done = played(choice, step("yes"), step("no"), script=Script(stubs={"if": False}))
    assert (done.step("yes").status, done.step("no").status) == ("skipped", "completed")


def test_a_stub_may_be_a_function_of_the_configuration():
    """As a test of a project calls its own functions."""
    call = step("call", type="python", config={"function": "builtins:abs", "args": {"x": "{{ input.n }}"}})
    done = played(call, value={"n": -3}, script=Script(stubs={"call": lambda config: abs(config["args"]["x"])}))
    assert done.output == {"call": 3}


def test_secrets_are_replaced_by_their_names():
    """Nobody has to have them, and nothing shows them."""
    done = played(http("send", config={"url": "https://x.example", "headers": {"key": "{{ secrets.token }}"}}))
    assert done.step("send").config["headers"] == {"key": "[secret:token]"}


def test_what_the_workflow_does_not_have_is_refused():
    """With what was probably meant."""
    with pytest.raises(UsageError, match="has no step 'snd'") as refused:
        played(http("send"), script=Script(stubs={"snd": 1}))
    assert refused.value.hint == "did you mean 'send'?"
    with pytest.raises(UsageError, match="only approvals are decided"):
        played(http("send"), script=Script(decisions={"send": True}))
    with pytest.raises(UsageError, match="no step waits for the signal 'x'"):
        played(waiting("paid"), script=Script(signals=[("x", None)]))
    with pytest.raises(InputError):
        played(http("send"), value={"n": "x"}, input_schema={"properties": {"n": {"type": "integer"}}})


def test_the_document_has_the_events_of_a_run():
    """Numbered from 1, in time since the start."""
    document = played(step("wait", type="delay", config={"duration": "1s"})).document()
    assert document["schema"] == "flowforge/simulation/v1"
    assert [one["seq"] for one in document["events"]] == list(range(1, len(document["events"]) + 1))
    last = document["events"][-1]
    assert (last["type"], last["after_ms"]) == ("workflow.completed", 1000)
