"""The step types that need no waiting: transform, delay, conditional, parallel, and those that nobody serves."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from flowforge.model.outcome import Completed, Failed, Waiting
from flowforge.steps.base import InlineExecutor
from flowforge.steps.conditional import Conditional
from flowforge.steps.delay import Delay
from flowforge.steps.parallel import Parallel
from flowforge.steps.run import attempt_inline
from flowforge.steps.transform import Transform
from flowforge.steps.unavailable import Unavailable, broken, unknown
from tests.unit.steps.support import output_of

CALM = {"id": "calm", "type": "transform", "config": {"expression": "1"}}
WILD = {"id": "wild", "type": "transform", "config": {"expression": "2"}}
BRANCHES = {"true": {"target_step": "wild"}, "false": {"target_step": "calm"}}


def test_a_transform_puts_its_value_under_its_key(assign):
    """The output key is `result` unless the step says otherwise."""
    plain = assign("transform", {"expression": "input.a * 2"}, input={"a": 21})
    named = assign("transform", {"expression": "[1, input.a]", "output_key": "pair"}, input={"a": 2})

    assert attempt_inline(Transform(), plain) == Completed({"result": 42})
    assert attempt_inline(Transform(), named) == Completed({"pair": [1, 2]})


def test_an_expression_that_fails_is_quoted_and_not_tried_again(assign):
    """A bad expression gives the same every time."""
    outcome = attempt_inline(Transform(), assign("transform", {"expression": "input.missing + 1"}))

    assert isinstance(outcome, Failed)
    assert outcome.error.code == "EXPRESSION_ERROR"
    assert not outcome.error.retryable
    assert "input.missing + 1" in outcome.error.message


@pytest.mark.parametrize(("written", "meant"), [(1500, 1.5), ("5s", 5), ("PT2M", 120), ("{{ input.wait }}", 0.25)])
def test_a_delay_waits_for_a_duration(assign, written, meant):
    """A number is milliseconds, text has a unit, and both may come from an expression."""
    outcome = attempt_inline(Delay(), assign("delay", {"duration": written}, input={"wait": "250ms"}))

    assert outcome == Waiting(timedelta(seconds=meant), {})


def test_a_delay_waits_until_a_time(assign):
    """The time may come from the input."""
    outcome = attempt_inline(
        Delay(), assign("delay", {"until": "{{ input.at }}"}, input={"at": "2030-01-02T03:04:05Z"})
    )

    assert outcome == Waiting(datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC), {})


@pytest.mark.parametrize("value", ["tomorrow", "2030-01-02T03:04:05", 12, None, ["x"]])
def test_a_time_that_is_none_fails_the_delay(assign, value):
    """A time without an offset would mean something else on every machine."""
    outcome = attempt_inline(Delay(), assign("delay", {"until": "{{ input.at }}"}, input={"at": value}))

    assert isinstance(outcome, Failed)
    assert outcome.error.code == "BAD_CONFIG"
    assert not outcome.error.retryable


@pytest.mark.parametrize("value", ["-5s", "soon", "5", [], -1, 1e300])
def test_a_duration_that_is_none_fails_the_delay(assign, value):
    """The message says what is wrong with it."""
    outcome = attempt_inline(Delay(), assign("delay", {"duration": "{{ input.wait }}"}, input={"wait": value}))

    assert isinstance(outcome, Failed)
    assert outcome.error.code == "BAD_CONFIG"
    assert "duration" in outcome.error.message


@pytest.mark.parametrize(("amount", "label", "target"), [(5, "false", "calm"), (50, "true", "wild")])
def test_a_conditional_takes_the_branch_of_its_condition(assign, amount, label, target):
    """Its output says what was decided, in the words of source document 004."""
    config = {"condition": "input.amount > 10", "branches": BRANCHES}
    outcome = attempt_inline(Conditional(), assign("conditional", config, CALM, WILD, input={"amount": amount}))

    output = {"condition_result": amount > 10, "branch_taken": label, "target_step": target}
    assert outcome == Completed(output, branch=label)


def test_a_condition_need_not_be_a_boolean(assign):
    """Any value counts by its truth, and is shown as it is."""
    config = {"condition": "input.items", "branches": BRANCHES}
    outcome = attempt_inline(Conditional(), assign("conditional", config, CALM, WILD, input={"items": ["x"]}))

    assert isinstance(outcome, Completed)
    assert outcome.output == {"condition_result": ["x"], "branch_taken": "true", "target_step": "wild"}


def test_a_conditional_may_lead_nowhere(assign):
    """A branch that is not there is no error: nothing follows."""
    config = {"condition": "false", "branches": {"true": {"target_step": "wild"}}}
    assignment = assign("conditional", config, WILD)
    outcome = attempt_inline(Conditional(), assignment)

    assert isinstance(outcome, Completed)
    assert outcome.output == {"condition_result": False, "branch_taken": "false", "target_step": None}
    assert assignment.step.branches.get(outcome.branch or "") is None


@pytest.mark.parametrize(("amount", "label", "target"), [(500, "0", "wild"), (50, "1", "calm"), (5, "2", None)])
def test_a_list_of_branches_is_searched_in_order(assign, amount, label, target):
    """The first branch whose `when` holds is taken; the last may do without."""
    branches = [
        {"when": "input.amount > 100", "target_step": "wild"},
        {"when": "input.amount > 10", "target_step": "calm"},
        {"target_step": None},
    ]
    outcome = attempt_inline(
        Conditional(), assign("conditional", {"branches": branches}, CALM, WILD, input={"amount": amount})
    )

    assert isinstance(outcome, Completed)
    assert outcome.branch == label
    assert output_of(outcome)["branch_taken"] == label
    assert output_of(outcome)["target_step"] == target


def test_a_list_without_a_match_takes_no_branch(assign):
    """Then nothing that hangs on a branch runs."""
    branches = [{"when": "false", "target_step": "wild"}]
    outcome = attempt_inline(Conditional(), assign("conditional", {"branches": branches}, WILD))

    assert outcome == Completed({"condition_result": False, "branch_taken": None, "target_step": None}, branch=None)


CHILDREN = {"steps": [{"id": name, "type": "transform", "config": {"expression": "1"}} for name in ("a", "b", "c")]}


def test_a_join_collects_what_its_children_gave(assign):
    """Children that were skipped are in neither list, and other steps are none of its business."""
    steps = {
        "it.a": {"output": {"result": 1}},
        "it.b": {"output": None},
        "itself": {"output": 5},
        "it.x.y": {"output": 6},
    }
    outcome = attempt_inline(Parallel(), assign("parallel", CHILDREN, steps=steps))

    assert outcome == Completed({"results": {"a": {"result": 1}, "b": None}, "errors": {}})


def test_a_join_fails_when_a_child_failed(assign):
    """The children had their retries: the join has none, and keeps everything it knows."""
    error = {"code": "HTTP_503", "message": "GET http://x answered 503"}
    steps = {"it.a": {"output": 1, "error": None}, "it.b": {"error": error}}
    outcome = attempt_inline(Parallel(), assign("parallel", CHILDREN, steps=steps))

    assert isinstance(outcome, Failed)
    assert outcome.error.code == "PARALLEL_FAILED"
    assert outcome.error.message == "step b failed: GET http://x answered 503"
    assert not outcome.error.retryable
    assert outcome.error.details == {"results": {"a": 1}, "errors": {"b": error}}


def test_a_join_goes_on_without_a_child_that_an_operator_skipped(assign):
    """It is named among the errors, and fails nothing."""
    error = {"code": "SKIPPED_BY_OPERATOR", "message": "skipped by ada: done by hand"}
    steps = {"it.a": {"output": 1, "error": None}, "it.b": {"error": error}}
    outcome = attempt_inline(Parallel(), assign("parallel", CHILDREN, steps=steps))

    assert outcome == Completed({"results": {"a": 1}, "errors": {"b": error}})


def test_a_join_names_all_children_that_failed(assign):
    """In order, whatever order they failed in."""
    steps = {"it.c": {"error": {"code": "X", "message": "x"}}, "it.a": {"error": {"code": "Y", "message": "y"}}}
    outcome = attempt_inline(Parallel(), assign("parallel", CHILDREN, steps=steps))

    assert isinstance(outcome, Failed)
    assert outcome.error.message == "2 steps a, c failed"


@pytest.mark.parametrize("error", [unknown("ftp"), broken("ftp", "acme:Ftp", OSError("no"))])
def test_a_type_that_cannot_be_executed_fails_its_steps_at_once(assign, error):
    """Trying again on the same worker would not help."""
    executor = Unavailable(error)
    outcome = attempt_inline(executor, assign("transform", {"expression": "1"}))

    assert isinstance(executor, InlineExecutor)
    assert isinstance(outcome, Failed)
    assert outcome.error.code == "STEP_TYPE_UNAVAILABLE"
    assert not outcome.error.retryable
    assert outcome.error.hint
