"""Runs on their way to their end, and runs that have ended: what began it, what is left, and what to type."""

from __future__ import annotations

from uuid import UUID

import pytest

from tests.acceptance.conftest import Workers
from tests.acceptance.kit.asking import Answer, ask, becomes
from tests.acceptance.kit.person import Document, Operator, statuses
from tests.acceptance.kit.sink import reply
from tests.support.eventually import eventually_sync

pytestmark = pytest.mark.usefixtures("worker")

SAGA = """
    steps:
      - id: reserve
        type: transform
        config: {expression: "1"}
        compensate:
          type: http
          config: {method: DELETE, url: "@sink/undo"}
          retry: {max_attempts: @undo, initial_delay: 5m}
      - id: note
        type: transform
        depends_on: reserve
        config: {expression: "2"}
        compensate: {type: transform, config: {expression: "3"}}
      - {id: charge, type: http, depends_on: note, config: {url: "@sink/charge"}, retry: {max_attempts: 1}}
"""


def failed(operator: Operator, flow: str, *words: str, code: int = 5) -> Answer:
    """Run a flow to its end, and ask why."""
    return ask(operator.shell, operator.run(operator.flow(flow), *words, code=code)["id"])


def attempts(answer: Answer) -> list[str]:
    """Return how each attempt of the step that failed ended."""
    return [one["code"] for one in answer.first["data"]["attempts"]]


# -- on its way to its end -------------------------------------------------------------------------------------


def test_a_run_that_fails_as_soon_as_its_sibling_is_done(operator: Operator):
    """The failure is known already; who is waited for as well."""
    operator.effects.answer("bad", reply(422))
    hold = operator.effects.hold("slow")
    flow = operator.flow("""
        steps:
          - {id: slow, type: http, config: {url: "@sink/slow"}}
          - {id: bad, type: http, config: {url: "@sink/bad"}}
    """)
    run = operator.start(flow)
    operator.step_becomes(run, "bad", "failed")
    answer = becomes(operator, run, ["failing", "running"])
    answer.says("the run fails, because step 'bad' failed with HTTP_422", "when 1 running step has finished")
    assert answer.chain[1]["subject"]["name"] == "slow"
    answer.follow()
    operator.becomes(run, "cancelled")
    hold.release()


def test_a_run_that_is_cancelled_and_a_step_that_does_not_stop(operator: Operator, workers: Workers):
    """Who wanted it and why; by force it is over at once."""
    patient = workers(lease="60s", kill_grace="10s")
    flow = operator.flow("""
        queue: "@queue"
        steps: [{id: deaf, type: python, config: {function: "shop:deaf", args: {url: "@sink/deaf"}}}]
    """)
    run = operator.start(flow)
    operator.effects.arrived("deaf")
    operator.shell.type("cancel", str(run), "--reason", "wrong customer", actor="dora")
    answer = ask(operator.shell, run)
    assert answer.kinds == ["cancelling", "stopping"]
    answer.says("cancelled by dora (wrong customer)", "when 1 running step has stopped", "'deaf' was asked to stop")
    answer.follow()
    operator.becomes(run, "cancelled")
    patient.kill()


def test_a_compensation_that_is_tried_again(operator: Operator):
    """Why it is undone, how much is left, and when the next attempt is; it can be left to a person."""
    operator.effects.answer("charge", reply(422))
    operator.effects.answer("undo", reply(503))
    run = operator.start(operator.flow(SAGA.replace("@undo", "5")))
    answer = becomes(operator, run, ["compensating", "retry"])
    answer.says("1 step is left", "because step 'charge' failed with HTTP_422", "waits for attempt 2 of 5")
    assert answer.ends is not None
    answer.follow("--reason", "done by hand")
    operator.becomes(run, "failed")


def test_a_compensation_that_is_under_way(operator: Operator):
    """It waits for a service that takes its time."""
    operator.effects.answer("charge", reply(422))
    hold = operator.effects.hold("undo")
    run = operator.start(operator.flow(SAGA.replace("@undo", "5")))
    answer = becomes(operator, run, ["compensating", "running"])
    answer.says("the run undoes what was done", "step 'reserve:compensate' is running on")
    hold.release()
    operator.becomes(run, "failed")
    answer = ask(operator.shell, run)
    assert answer.causes == ["step_failed", "undone"]
    answer.says("2 steps were undone: reserve, note")


# -- it has failed ---------------------------------------------------------------------------------------------


def test_attempts_that_are_used_up(operator: Operator):
    """Each is told; a retry that is typed goes on from there."""
    operator.effects.answer("charge", reply(503), reply(429), reply(200))
    answer = failed(
        operator,
        """
        steps:
          - {id: charge, type: http, config: {url: "@sink/charge"}, retry: {max_attempts: 2, initial_delay: 10ms}}
        """,
    )
    assert (answer.kinds, attempts(answer)) == (["step_failed"], ["HTTP_503", "HTTP_429"])
    answer.says("step 'charge' failed for good on attempt 2 of 2, HTTP_429", "its attempts are used up")
    answer.says("    attempt 1 at 20", "HTTP_503: GET http", "    attempt 2 at 20")
    answer.follow()
    operator.wait(UUID(answer.document["run"]))


def test_an_answer_that_trying_again_does_not_change(operator: Operator):
    """Its status is told, and why there was one attempt."""
    operator.effects.answer("charge", reply(404, {"error": "no such card"}))
    answer = failed(operator, 'steps: [{id: charge, type: http, config: {url: "@sink/charge"}}]\n')
    assert attempts(answer) == ["HTTP_404"]
    answer.says("answered 404", "that is not tried again by itself")


@pytest.mark.parametrize(
    ("step", "code", "words"),
    [
        pytest.param(
            '{id: a, type: python, config: {function: "shop:flaky", args: ["@sink/a", 9]}, retry: {max_attempts: 1}}',
            "PYTHON_ERROR",
            ["LookupError: attempt 1 does not work"],
            id="an exception",
        ),
        pytest.param(
            '{id: a, type: python, config: {function: "shop:refuse", args: ["no funds"]}}',
            "CARD_DECLINED",
            ["no funds", "hint: ask for another card", "that is not tried again by itself"],
            id="a refusal in the function's own words",
        ),
        pytest.param(
            '{id: a, type: python, config: {function: "shop:nap", args: [60]}, timeout: 1s, retry: {max_attempts: 1}}',
            "TIMEOUT",
            ["step 'a' failed for good on attempt 1 of 1", "timed out after 1 s"],
            id="a time limit",
        ),
        pytest.param(
            '{id: a, type: transform, config: {expression: "1 / input.zero"}}',
            "EXPRESSION_ERROR",
            ["divides by zero, in: 1 / input.zero"],
            id="an expression",
        ),
        pytest.param(
            '{id: a, type: python, config: {function: "shop:kill"}, retry: {max_attempts: 1}}',
            "CRASHED",
            ["step 'a' failed for good on attempt 1 of 1", "SIGKILL"],
            id="a child process that dies",
        ),
        pytest.param(
            '{id: a, type: http, config: {url: "http://127.0.0.1:1/"}, retry: {max_attempts: 1}}',
            "NETWORK",
            ["127.0.0.1:1"],
            id="a server that is not there",
        ),
    ],
)
def test_what_a_step_fails_with(operator: Operator, step: str, code: str, words: list[str]):
    """In the words of what failed."""
    answer = failed(operator, f"steps:\n  - {step}\n", "-i", "zero=0")
    assert (answer.kinds, answer.first["subject"]["name"]) == (["step_failed"], "a")
    assert answer.first["data"]["error"]["code"] == code
    answer.says(code, *words)


def test_attempts_that_together_took_too_long(operator: Operator):
    """`max_elapsed` is named as the reason that there is no other one."""
    operator.effects.answer("a", reply(503))
    answer = failed(
        operator,
        """
        steps:
          - {id: a, type: http, config: {url: "@sink/a"}, retry: {max_attempts: 9, initial_delay: 1m, max_elapsed: 2s}}
        """,
    )
    answer.says("failed for good on attempt 1 of 9, HTTP_503", "given up after 2s (max_elapsed)")


def test_a_run_that_is_out_of_time(operator: Operator):
    """What it stood at is told."""
    answer = failed(operator, "timeout: 1s\nsteps: [{id: paid, type: wait_signal, config: {name: paid}}]\n")
    assert answer.kinds == ["timed_out", "stood_at"]
    answer.says("within 1s", "step 'paid' waited for the signal 'paid', for ")


def test_a_step_that_takes_down_its_workers(operator: Operator, workers: Workers):
    """The workers are counted, and the step is parked."""
    flow = operator.flow("""
        queue: "@queue"
        steps: [{id: a, type: http, config: {url: "@sink/a"}, retry: {max_crashes: 0}}]
    """)
    run = operator.start(flow)
    victim = workers(lease="30s", crash_at="worker.before_settle:1")
    victim.process.wait(timeout=60)
    operator.end_leases(run)
    operator.becomes(run, "failed")
    answer = ask(operator.shell, run)
    assert attempts(answer) == ["POISON"]
    answer.says("1 worker was lost while running this step", "look at what the step does to its worker")


def test_what_could_not_be_undone(operator: Operator):
    """Why it was to be, what is left, and with which answer; tried again, it is undone."""
    operator.effects.answer("charge", reply(422))
    operator.effects.answer("undo", reply(404), reply(200))
    answer = failed(operator, SAGA.replace("@undo", "1"))
    assert answer.causes == ["step_failed", "not_undone", "undone"]
    assert answer.document["causes"][1]["data"]["not_undone"] == ["reserve"]
    answer.says("not undone: reserve", "1 step was undone: note", "undo answered 404")
    run = answer.document["run"]
    answer.says(f"hint: if you undo it by hand, say so: flowforge skip {run} reserve:compensate")
    answer.follow()
    eventually_sync(lambda: ask(operator.shell, run).causes == ["step_failed", "undone"], what="it is undone")


def test_a_child_run_that_failed(operator: Operator):
    """The chain ends at the step that failed, in the other run, and that one is offered to be tried again."""
    inner = operator.flow('steps: [{id: sum, type: transform, config: {expression: "1 / 0"}}]\n')
    operator.publish(inner)
    answer = failed(operator, f"steps: [{{id: sub, type: workflow, config: {{name: {inner.stem}}}}}]\n")
    assert answer.kinds == ["step_failed", "step_failed"]
    assert [one["subject"]["name"] for one in answer.chain] == ["sub", "sum"]
    child = answer.offered[-1]
    assert operator.sql.value("SELECT parent_run_id FROM runs WHERE id = %s", UUID(child)) is not None


# -- people ----------------------------------------------------------------------------------------------------

RELEASE = "steps: [{id: release, type: approval, config: {prompt: Release, approvers: [ada]@more}}]\n"


def test_an_approval_that_was_refused(operator: Operator):
    """By whom, and in which words."""
    run = operator.start(operator.flow(RELEASE.replace("@more", "")))
    operator.step_becomes(run, "release", "waiting")
    operator.shell.type("approve", str(run), "release", "--reject", "--comment", "too expensive", actor="ada")
    operator.becomes(run, "failed")
    answer = ask(operator.shell, run)
    assert answer.kinds == ["step_failed"]
    answer.says("ada", "too expensive")


def test_an_approval_that_came_too_late(operator: Operator):
    """Nobody decided within the time."""
    answer = failed(operator, RELEASE.replace("@more", ", timeout: 1s"))
    assert answer.kinds == ["step_failed"]
    answer.says("step 'release' failed for good", "1s")


def test_a_run_that_was_cancelled(operator: Operator):
    """By whom, and why; a child says that its parent was."""
    inner = operator.flow("steps: [{id: paid, type: wait_signal, config: {name: paid}}]\n")
    operator.publish(inner)
    run = operator.start(operator.flow(f"steps: [{{id: sub, type: workflow, config: {{name: {inner.stem}}}}}]\n"))
    becomes(operator, run, ["child_run", "signal"])
    operator.shell.type("cancel", str(run), "--reason", "not needed", actor="dora")
    answer = ask(operator.shell, run)
    assert (answer.kinds, answer.first["data"]["actor"]) == (["cancelled"], "dora")
    answer.says("the run was cancelled by dora (not needed)")
    child = operator.sql.value("SELECT id FROM runs WHERE parent_run_id = %s", run)
    operator.becomes(child, "cancelled")
    answer = ask(operator.shell, child)
    assert answer.kinds == ["cancelled", "child_ended", "cancelled"]
    answer.says(str(run), "(not needed)")


# -- nothing is wrong ------------------------------------------------------------------------------------------


def test_a_branch_that_was_not_taken(operator: Operator):
    """The run is done; asked about the step that did not run, it says which branch was taken instead."""
    flow = operator.flow("""
        steps:
          - id: big
            type: conditional
            config:
              condition: "input.amount > 1000"
              branches: {"true": {target_step: review}, "false": {target_step: charge}}
          - {id: review, type: transform, config: {expression: "1"}}
          - {id: charge, type: transform, config: {expression: "2"}}
    """)
    document: Document = operator.run(flow, "-i", "amount=5")
    assert statuses(document)["review"] == "skipped"
    answer = ask(operator.shell, document["id"])
    assert (answer.kinds, answer.document["stuck"]) == (["completed"], False)
    answer = ask(operator.shell, document["id"], "review")
    answer.says("step 'review' was skipped: 'big' took the branch 'false', which leads to 'charge'")


def test_an_input_that_is_refused_makes_no_run(operator: Operator):
    """There is nothing to explain; the error says which field, and nothing is stuck."""
    schema = "{type: object, required: [amount], properties: {amount: {type: number}}}"
    flow = operator.flow(f'input_schema: {schema}\nsteps: [{{id: a, type: transform, config: {{expression: "1"}}}}]\n')
    operator.publish(flow)
    before = operator.sql.counts("runs")
    operator.shell.type("run", flow.stem, "-i", "amount=much", code=2).refused("amount", "number")
    assert operator.sql.counts("runs") == before
