"""What steps see of each other, and what a run returns."""

from __future__ import annotations

import pytest

from flowforge.model.outcome import Completed, Waiting
from tests.support.definitions import chain, diamond, step, workflow
from tests.support.hand import Hand
from tests.support.sql import Sql


async def test_a_context_holds_exactly_what_the_step_mentions(hand: Hand, sql: Sql):
    """Outputs that nobody reads are not loaded, whoever depends on them."""
    definition = workflow(
        step("a"), step("b"), step("c", "a", "b", expression="steps.a.output.n"), step("d", "c", expression="input.n")
    )
    run_id = await hand.start(definition, {"n": 5})
    plain = await hand.claim(run_id, "a")
    assert plain.assignment is not None
    assert plain.assignment.context["steps"] == {}
    assert "input" not in plain.assignment.context
    await hand.settle(plain, Completed({"n": 1}))
    await hand.complete(run_id, "b", {"n": 2})
    reads_step = await hand.claim(run_id, "c")
    assert reads_step.assignment is not None
    assert reads_step.assignment.context["steps"] == {"a": {"status": "completed", "error": None, "output": {"n": 1}}}
    assert "input" not in reads_step.assignment.context
    await hand.settle(reads_step, Completed(None))
    reads_input = await hand.claim(run_id, "d")
    assert reads_input.assignment is not None
    assert reads_input.assignment.context["input"] == {"n": 5}
    assert reads_input.assignment.context["steps"] == {}


async def test_a_context_names_the_run_and_the_attempt(hand: Hand):
    """`run.id`, `run.attempt` and the workflow."""
    run_id = await hand.start(workflow(step("a", expression="run.id")))
    claimed = await hand.claim(run_id, 0)
    assert claimed.assignment is not None
    run = claimed.assignment.context["run"]
    assert (run["id"], run["workflow"], run["version"], run["attempt"]) == (str(run_id), "test-workflow", 1, 1)


async def test_a_continuation_sees_the_output_it_was_settled_with(hand: Hand):
    """Claimed in the transaction that stores it."""
    definition = workflow(step("a"), step("b", "a", expression="steps.a.output.n"))
    run_id = await hand.start(definition)
    applied = await hand.settle(await hand.claim(run_id, "a"), Completed({"n": 7}), lanes=["default"])
    assert applied.assignment is not None
    assert applied.assignment.context["steps"]["a"]["output"] == {"n": 7}


async def test_a_step_behind_a_failure_sees_its_error_and_no_output(hand: Hand):
    """`on_error: continue` puts the error where the expression can read it."""
    definition = workflow(
        step("a", on_error="continue"), step("b", "a", expression="steps.a.error.code if steps.a.error else 'none'")
    )
    run_id = await hand.start(definition)
    await hand.fail(run_id, "a")
    claimed = await hand.claim(run_id, "b")
    assert claimed.assignment is not None
    seen = claimed.assignment.context["steps"]["a"]
    assert seen["status"] == "failed"
    assert seen["error"]["code"] == "TEST"
    assert "output" not in seen


async def test_the_output_of_a_run_is_that_of_its_last_steps(hand: Hand, sql: Sql):
    """Those that nothing depends on, by id."""
    run_id = await hand.start(workflow(step("a"), step("b", "a"), step("c", "a")))
    await hand.complete(run_id, "a", "lost")
    await hand.complete(run_id, "c", {"n": 2})
    await hand.complete(run_id, "b", [1])
    assert sql.value("SELECT output FROM runs") == {"b": [1], "c": {"n": 2}}


async def test_a_last_step_that_was_not_executed_is_not_in_the_output(hand: Hand, sql: Sql):
    """Skipped and failed ones have none."""
    run_id = await hand.start(workflow(step("a"), step("b", "a", on_error="skip"), step("c", "a", on_error="continue")))
    await hand.complete(run_id, "a")
    await hand.fail(run_id, "b")
    await hand.fail(run_id, "c")
    assert sql.status(run_id) == "completed"
    assert sql.value("SELECT output FROM runs") == {}


async def test_the_output_template_sees_input_and_steps_settled_just_now(hand: Hand, sql: Sql):
    """One output is in the rows, the other only in the decision; the template sees both."""
    output = {"sum": "{{ steps.a.output.n + steps.b.output.n }}", "who": "{{ input.who }}", "id": "run {{ run.id }}"}
    run_id = await hand.start(workflow(step("a"), step("b", "a"), output=output), {"who": "me"})
    await hand.complete(run_id, "a", {"n": 1})
    await hand.complete(run_id, "b", {"n": 2})
    assert sql.value("SELECT output FROM runs") == {"sum": 3, "who": "me", "id": f"run {run_id}"}


async def test_a_run_whose_last_step_is_a_delay_has_an_output(hand: Hand, sql: Sql):
    """It completes by itself; what it waited with is its output."""
    run_id = await hand.start(workflow(step("a", kind="delay", config={"duration": "1h"})))
    from datetime import timedelta

    await hand.settle(await hand.claim(run_id, "a"), Waiting(timedelta(0), {"waited": True}))
    await hand.wake(run_id)
    assert sql.status(run_id) == "completed"
    assert sql.value("SELECT output FROM runs") == {"a": {"waited": True}}


@pytest.mark.parametrize("output", ["{{ steps.s0.output.missing }}", "{{ 1 / 0 }}"])
async def test_an_output_that_cannot_be_made_fails_the_run_with_the_reason(hand: Hand, sql: Sql, output: str):
    """All steps are completed; the run says what is wrong with its output."""
    run_id = await hand.start(chain(1, output=output))
    await hand.complete(run_id, 0, {"n": 1})
    assert sql.status(run_id) == "failed"
    assert sql.steps(run_id) == {"s0": "completed"}
    assert sql.value("SELECT error ->> 'code' FROM runs") == "OUTPUT_ERROR"
    assert sql.events(run_id)[-3:] == ["step.completed s0", "workflow.incident_opened", "workflow.failed"]


async def test_a_run_that_failed_for_its_output_can_be_retried_and_ends_again(hand: Hand, sql: Sql, at_rest):
    """Nothing is left to execute: the run must not wait for ever for a step that nobody will settle."""
    run_id = await hand.start(chain(1, output="{{ steps.s0.output.missing }}"))
    await hand.complete(run_id, 0, {"n": 1})
    await hand.retry(run_id)
    assert sql.status(run_id) == "failed"
    sql.do("DELETE FROM outbox")
    await at_rest()


async def test_an_output_that_is_too_large_fails_the_run(make_engine, sql: Sql):
    """The limit of a run's outputs holds for its own as well."""
    hand = Hand(await make_engine(max_run_bytes=2048))
    run_id = await hand.start(diamond(output="{{ [steps.a.output, steps.a.output, steps.a.output] }}"))
    await hand.complete(run_id, "a", "x" * 1000)
    await hand.finish(run_id)
    assert sql.status(run_id) == "failed"
    assert sql.value("SELECT error ->> 'code' FROM runs") == "INVALID_OUTPUT"


async def test_a_run_on_a_worker_without_the_plan_is_settled_all_the_same(hand: Hand, make_engine, sql: Sql):
    """Another process starts with an empty cache and compiles what it meets."""
    run_id = await hand.start(diamond())
    other = Hand(await make_engine(), "other")
    await other.finish(run_id)
    assert sql.status(run_id) == "completed"
