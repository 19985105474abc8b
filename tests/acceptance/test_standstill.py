"""Runs that stand still, made for real: `explain` alone names the true cause, and what it offers moves the run."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

import pytest

from tests.acceptance.conftest import Workers
from tests.acceptance.kit.asking import ask, becomes
from tests.acceptance.kit.person import Operator, statuses
from tests.acceptance.kit.sink import reply

pytestmark = pytest.mark.usefixtures("worker")

ONE_AT_A_TIME = """
    concurrency: {limit: 1, key: "{{ input.region }}"}
    steps:
      - {id: paid, type: wait_signal, config: {name: paid}}
"""
FLAKY = """
    steps:
      - {id: charge, type: http, config: {url: "@sink/charge"}, retry: {max_attempts: 4, initial_delay: 5m}}
      - {id: ship, type: transform, depends_on: charge, join: any, config: {expression: "1"}}
"""
RELEASE = """
    steps:
      - id: release
        type: approval
        config: {prompt: "Release {{ input.amount }}?", approvers: [ada, bob], required: 2, timeout: 24h}
"""


def due(operator: Operator, run: UUID, step: int = 0) -> datetime:
    """Return when a step is looked at next."""
    at: datetime = operator.sql.value("SELECT due_at FROM steps WHERE run_id = %s AND step_no = %s", run, step)
    return at


# -- before it starts ------------------------------------------------------------------------------------------


def test_a_full_gate_whose_only_holder_is_paused(operator: Operator):
    """Resume the holder, then signal it, as each answer says: the run that waited is let in."""
    flow = operator.flow(ONE_AT_A_TIME)
    holder, waiting = operator.start_each(flow, [{"region": "eu"}, {"region": "eu"}])
    operator.step_becomes(holder, "paid", "waiting")
    operator.shell.type("pause", str(holder), "--reason", "bank holiday", actor="alice")

    answer = ask(operator.shell, waiting)

    assert answer.kinds == ["gate_full", "run_paused"]
    assert (answer.first["subject"]["name"], answer.holders) == (f"{flow.stem}/eu", [str(holder)])
    answer.says("its only place is taken, none waits before it", f"{holder}, is paused", "alice (bank holiday)")
    answer.follow()
    answer = becomes(operator, waiting, ["gate_full", "signal"])
    assert answer.offered == ["signal", str(holder), "paid"]
    answer.follow()
    operator.step_becomes(waiting, "paid", "waiting")


def test_a_run_at_a_gate_knows_its_place_in_the_line(operator: Operator):
    """Two wait before it; another key has a gate of its own."""
    flow = operator.flow(ONE_AT_A_TIME)
    holder, _, _, last, other = operator.start_each(flow, [{"region": region} for region in ("eu",) * 4 + ("us",)])
    operator.step_becomes(holder, "paid", "waiting")
    operator.step_becomes(other, "paid", "waiting")
    answer = ask(operator.shell, last)
    assert answer.first["data"] == {"limit": 1, "active": 1, "ahead": 2, "waiting": 3}
    answer.says("2 wait before it", str(holder))
    assert ask(operator.shell, other).kinds == ["signal"]


def test_a_workflow_that_is_paused(operator: Operator):
    """A new run waits for whoever paused it."""
    flow = operator.flow('steps: [{id: a, type: transform, config: {expression: "1"}}]\n')
    operator.publish(flow)
    operator.shell.type("workflow", "pause", flow.stem, "--reason", "wrong rates", actor="alice")
    run = operator.start(flow)
    answer = ask(operator.shell, run)
    assert (answer.kinds, answer.holders) == (["workflow_paused"], ["alice"])
    answer.says("is paused by alice (wrong rates)", "its new runs wait")
    answer.follow()
    operator.wait(run)


# -- an operator -----------------------------------------------------------------------------------------------


def test_a_run_that_is_paused(operator: Operator):
    """And what it would wait for if it were not."""
    run = operator.start(operator.flow("steps: [{id: paid, type: wait_signal, config: {name: paid}}]\n"))
    operator.step_becomes(run, "paid", "waiting")
    operator.shell.type("pause", str(run), "--reason", "the customer called", actor="bob")
    answer = ask(operator.shell, run)
    assert (answer.causes, answer.holders) == (["run_paused", "signal"], ["bob"])
    answer.says("the run is paused by bob (the customer called)")
    answer.follow()
    assert ask(operator.shell, run).causes == ["signal"]


def test_a_queue_that_is_paused(operator: Operator, workers: Workers):
    """Its worker takes nothing from it until the command that is offered."""
    run = operator.start(operator.flow('queue: "@queue"\nsteps: [{id: a, type: http, config: {url: "@sink/a"}}]\n'))
    operator.shell.type("queue", "pause", operator.queue, "--reason", "provider down", actor="carol")
    workers()
    answer = ask(operator.shell, run)
    assert (answer.kinds, answer.holders) == (["queue_paused"], ["carol"])
    answer.says(f"queue '{operator.queue}', which carol has paused: provider down")
    answer.follow()
    operator.wait(run)


# -- time ------------------------------------------------------------------------------------------------------


def test_a_step_between_two_attempts(operator: Operator):
    """What failed, how many attempts are left, when the next one is, and how to go on without."""
    operator.effects.answer("charge", reply(503))
    run = operator.start(operator.flow(FLAKY))
    operator.step_becomes(run, "charge", "waiting")
    answer = ask(operator.shell, run)
    assert (answer.kinds, answer.ends) == (["retry"], due(operator, run))
    answer.says("waits for attempt 2 of 4; attempt 1 failed, HTTP_503", "1 step waits behind it")
    assert answer.first["behind"] == 1
    answer.follow()
    assert statuses(operator.wait(run)[0])["charge"] == "skipped"


def test_a_delay_and_a_deadline(operator: Operator):
    """When each is over; the delay need not be waited for."""
    run = operator.start(operator.flow("timeout: 2h\nsteps: [{id: cool, type: delay, config: {duration: 1h}}]\n"))
    operator.step_becomes(run, "cool", "waiting")
    answer = ask(operator.shell, run)
    assert (answer.causes, answer.ends) == (["delay", "deadline"], due(operator, run))
    started, deadline = operator.sql.rows("SELECT started_at, deadline_at FROM runs WHERE id = %s", run)[0]
    assert deadline - started >= timedelta(hours=2)
    answer.says("step 'cool' is a delay", "in 59m", "has a time limit of 2h", f"{deadline:%Y-%m-%d %H:%M:%SZ}")
    answer.follow()
    operator.wait(run)


# -- people, and other systems ---------------------------------------------------------------------------------


def test_a_signal_that_has_not_come(operator: Operator):
    """A name that a shell would take apart is typed as it is offered."""
    run = operator.start(operator.flow('steps: [{id: paid, type: wait_signal, config: {name: "paid & shipped"}}]\n'))
    operator.step_becomes(run, "paid", "waiting")
    answer = ask(operator.shell, run)
    assert answer.kinds == ["signal"]
    answer.says("waits for the signal 'paid & shipped'")
    answer.follow('{"amount": 120}')
    assert operator.wait(run)[0]["output"]["paid"]["payload"] == {"amount": 120}


def test_an_approval_of_which_one_half_is_there(operator: Operator):
    """Who may, who has, how many are missing, what is asked, and until when."""
    run = operator.start(operator.flow(RELEASE), "-i", "amount=120")
    operator.step_becomes(run, "release", "waiting")
    answer = ask(operator.shell, run)
    answer.says("asks ada, bob to approve, 2 are needed: Release 120?")
    answer.follow(actor="ada")
    answer = ask(operator.shell, run)
    assert (answer.kinds, answer.ends) == (["approval"], due(operator, run))
    assert (answer.first["data"]["missing"], answer.first["data"]["approved"][0]["actor"]) == (1, "ada")
    answer.says("1 more is needed after ada")
    answer.follow(actor="bob")
    operator.wait(run)


def test_a_run_that_waits_for_another_one(operator: Operator):
    """The chain goes into the child run, and what it offers is typed there."""
    inner = operator.flow("steps: [{id: sign, type: approval, config: {prompt: Sign, approvers: [ada]}}]\n")
    operator.publish(inner)
    run = operator.start(operator.flow(f"steps: [{{id: sub, type: workflow, config: {{name: {inner.stem}}}}}]\n"))
    answer = becomes(operator, run, ["child_run", "approval"])
    child = operator.sql.value("SELECT id FROM runs WHERE parent_run_id = %s", run)
    assert (answer.first["subject"]["name"], answer.first["data"]["run"]) == ("sub", str(child))
    answer.says(f"waits for run {child} of {inner.stem}, which is running", "asks ada to approve")
    answer.follow(actor="ada")
    operator.wait(run)


# -- other steps -----------------------------------------------------------------------------------------------


def test_a_foreach_one_of_whose_items_is_tried_again(operator: Operator):
    """Which item, why, and when."""
    operator.effects.answer("b", reply(503))
    flow = operator.flow("""
        steps:
          - id: each
            type: foreach
            config:
              items: input
              step: {type: http, config: {url: "@sink/{{ item }}"}, retry: {max_attempts: 3, initial_delay: 5m}}
    """)
    (run,) = operator.start_each(flow, [["a", "b", "c"]])
    answer = becomes(operator, run, ["items", "retry"])
    assert answer.chain[1]["subject"]["name"] == "each[1]"
    answer.says("1 of its 3 items", "step 'each[1]' waits for attempt 2 of 3; attempt 1 failed, HTTP_503")
    answer.follow()
    operator.wait(run)


def test_a_step_that_waits_for_a_sibling(operator: Operator):
    """Asked about the last step of three, it says what the first one waits for."""
    flow = operator.flow("""
        steps:
          - {id: paid, type: wait_signal, config: {name: paid}}
          - {id: pack, type: transform, depends_on: paid, config: {expression: "1"}}
          - {id: ship, type: transform, depends_on: pack, config: {expression: "1"}}
    """)
    run = operator.start(flow)
    operator.step_becomes(run, "paid", "waiting")
    answer = ask(operator.shell, run, "ship")
    assert answer.kinds == ["sibling", "sibling", "signal"]
    answer.says("step 'ship' waits for step 'pack'", "step 'pack' waits for step 'paid'", "the signal 'paid'")
    ask(operator.shell, run).says("2 steps wait behind it", "step 'pack' waits for step 'paid'")
    answer.follow()
    operator.wait(run)
