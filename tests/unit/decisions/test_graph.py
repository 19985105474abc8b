"""Which step follows which: order, joins, branches, and what is skipped."""

import pytest

from flowforge.model.event import EventType
from flowforge.model.facts import Admitted, Refusal, Refused
from flowforge.model.outcome import Completed
from tests.factories import chain, conditional, diamond, fan, order_fulfilment, parallel, plan, rejoin, step, switch
from tests.unit.decisions.bench import Bench


def test_admission_starts_the_run_and_queues_its_entry_steps_only():
    bench = Bench(plan(step("a"), step("b"), step("c", "a")))
    assert bench.run.status == "running"
    assert bench.queued() == {"a", "b"}
    assert bench.history() == [EventType.RUN_CREATED, EventType.RUN_STARTED]
    assert bench.plan.numbers["c"] not in bench.run.steps
    assert [dispatch.dispatch_no for dispatch in bench.outbox] == [1, 1]


def test_a_run_that_waits_for_its_gate_has_no_steps_and_no_alarm():
    bench = Bench(chain(2), admit=False)
    assert (bench.run.status, dict(bench.run.steps), bench.run.wake_at) == ("pending", {}, None)


def test_a_run_is_admitted_once():
    bench = Bench(chain(1))
    assert bench.apply(Admitted()) == [Refused(Refusal.OVER)]
    assert len(bench.outbox) == 1


def test_steps_of_a_chain_run_one_after_the_other():
    bench = Bench(chain(3))
    for name in ("a0", "a1", "a2"):
        assert bench.queued() == {name}
        bench.complete(name)
    assert bench.run.status == "completed"
    assert bench.history()[-1] is EventType.RUN_COMPLETED


def test_a_step_with_two_dependencies_runs_once_after_both():
    bench = Bench(diamond())
    bench.complete("a")
    assert bench.queued() == {"b", "c"}
    bench.complete("b")
    assert bench.queued() == {"c"}
    bench.complete("c")
    assert bench.queued() == {"d"}
    bench.complete("d")
    assert bench.run.status == "completed"
    assert bench.history("d") == [EventType.STEP_QUEUED, EventType.STEP_STARTED, EventType.STEP_COMPLETED]


def test_both_branches_settled_in_one_transaction_start_the_join_once():
    bench = Bench(diamond())
    bench.complete("a")
    bench.claim("b")
    bench.claim("c")
    bench.apply(bench.settled("b", Completed(None)), bench.settled("c", Completed(None)))
    assert bench.queued() == {"d"}
    assert len([dispatch for dispatch in bench.outbox if dispatch.step == bench.plan.numbers["d"]]) == 1


# -- branches ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("join", "expected"), [("auto", "queued"), ("any", "queued"), ("all", "skipped")], ids=["auto", "any", "all"]
)
def test_branches_rejoin_as_the_join_says(join, expected):
    bench = Bench(rejoin(join))
    bench.complete("if", branch="true")
    assert bench.statuses("yes", "no") == ["queued", "skipped"]
    bench.complete("yes")
    assert bench.status("end") == expected


@pytest.mark.parametrize("join", ["auto", "any", "all"])
def test_a_step_whose_dependencies_were_all_skipped_is_skipped(join):
    bench = Bench(rejoin(join))
    bench.complete("if", branch=None)
    assert bench.statuses("yes", "no", "end") == ["skipped"] * 3
    assert bench.run.status == "completed"


@pytest.mark.parametrize(("join", "expected"), [("auto", "skipped"), ("any", "queued"), ("all", "skipped")])
def test_a_branch_not_taken_runs_because_of_an_unrelated_dependency_only_with_join_any(join, expected):
    bench = Bench(plan(step("other"), conditional("if", true="yes"), step("yes", "other", join=join)))
    bench.complete("other")
    bench.complete("if", branch="false")
    assert bench.status("yes") == expected


def test_a_skip_travels_to_all_that_only_the_skipped_step_leads_to():
    bench = Bench(plan(conditional("if", true="b"), step("b"), step("c", "b"), step("d", "c"), step("e", "if")))
    bench.complete("if", branch="false")
    assert bench.statuses("b", "c", "d", "e") == ["skipped", "skipped", "skipped", "queued"]


def test_a_large_order_is_approved_before_it_is_charged():
    bench = Bench(order_fulfilment())
    bench.complete("reserve")
    bench.complete("big", branch="true")
    assert bench.statuses("approve", "charge") == ["queued", "pending"]
    bench.complete("approve", "charge")
    assert bench.queued() == {"fan.mail", "fan.label"}
    bench.complete("fan.label", "fan.mail", "fan")
    assert bench.run.status == "completed"


def test_a_small_order_is_charged_straight_away():
    bench = Bench(order_fulfilment())
    bench.complete("reserve")
    bench.complete("big", branch="false")
    assert bench.statuses("approve", "charge") == ["skipped", "queued"]
    bench.drive()
    assert bench.run.status == "completed"


@pytest.mark.parametrize("taken", [0, 1, 2, None])
def test_a_conditional_in_list_form_takes_the_branch_it_names(taken):
    names = ["b0", "b1", "b2"]
    bench = Bench(plan(switch("if", to=names), *(step(name) for name in names)))
    bench.complete("if", branch=None if taken is None else str(taken))
    assert bench.statuses(*names) == ["queued" if no == taken else "skipped" for no in range(3)]


def test_two_branches_may_lead_to_the_same_step():
    bench = Bench(plan(switch("if", to=["b", "b"]), step("b")))
    bench.complete("if", branch="1")
    assert bench.status("b") == "queued"


def test_the_branch_taken_is_kept_with_the_step_and_in_its_event():
    bench = Bench(rejoin())
    bench.complete("if", branch="true")
    assert bench.step("if").label == "true"
    assert next(event.data for event in bench.events if event.type is EventType.STEP_COMPLETED) == {"branch": "true"}


@pytest.mark.parametrize(("branch", "expected"), [("true", "queued"), ("false", "skipped")])
def test_a_branch_may_lead_to_a_parallel_step_whose_entry_children_take_it(branch, expected):
    children = [step("x"), step("y", "x"), step("z")]
    bench = Bench(plan(conditional("if", true="fan"), parallel("fan", children=children)))
    bench.complete("if", branch=branch)
    assert bench.statuses("fan.x", "fan.z") == [expected] * 2
    bench.drive()
    assert bench.run.status == "completed"
    assert bench.status("fan") == ("completed" if branch == "true" else "skipped")


def test_a_conditional_inside_a_parallel_step_skips_only_its_own_branch():
    children = [conditional("if", true="x", false="y"), step("x"), step("y")]
    bench = Bench(plan(parallel("fan", children=children), step("end", "fan")))
    bench.complete("fan.if", branch="true")
    assert bench.statuses("fan.x", "fan.y", "fan") == ["queued", "skipped", "pending"]
    bench.complete("fan.x", "fan")
    assert bench.queued() == {"end"}


# -- order and parallels -----------------------------------------------------------------------------------


def test_a_step_that_reads_another_waits_for_it():
    bench = Bench(plan(step("a"), step("b", reads=["a"])))
    assert bench.queued() == {"a"}
    bench.complete("a")
    assert bench.queued() == {"b"}


def test_a_step_that_only_reads_a_skipped_one_runs():
    bench = Bench(plan(conditional("if", true="a"), step("a"), step("b", reads=["a"])))
    bench.complete("if", branch="false")
    assert bench.statuses("a", "b") == ["skipped", "queued"]


def test_a_step_inside_a_branch_that_also_reads_is_skipped_by_its_branch():
    bench = Bench(plan(step("a"), conditional("if", true="b"), step("b", reads=["a"])))
    bench.complete("a")
    bench.complete("if", branch="false")
    assert bench.status("b") == "skipped"


def test_a_parallel_step_runs_its_children_at_once_and_then_its_join():
    bench = Bench(fan(3))
    assert bench.queued() == {"fan.c0", "fan.c1", "fan.c2"}
    bench.complete("fan.c2", "fan.c0")
    assert bench.statuses("fan", "after") == ["pending", "pending"]
    bench.complete("fan.c1")
    assert bench.queued() == {"fan"}
    bench.complete("fan")
    assert bench.queued() == {"after"}


def test_an_untouched_step_has_no_row():
    bench = Bench(chain(4))
    bench.complete("a0")
    assert set(bench.run.steps) == {0, 1}


def test_what_a_step_only_reads_is_no_dependency_that_join_any_counts():
    bench = Bench(plan(step("a"), conditional("if", true="b"), step("b"), step("c", "b", reads=["a"], join="any")))
    bench.complete("a")
    bench.complete("if", branch="false")
    assert bench.statuses("b", "c") == ["skipped", "skipped"]
