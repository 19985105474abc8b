"""Runs that stand still for more than one reason, or for one that lies elsewhere: made for real, and asked why."""

from __future__ import annotations

from uuid import UUID

import pytest

from tests.acceptance.conftest import Workers
from tests.acceptance.kit.asking import ask, becomes
from tests.acceptance.kit.person import Operator
from tests.acceptance.kit.sink import reply
from tests.acceptance.kit.workers import WorkerProcess
from tests.support.eventually import eventually_sync

pytestmark = [pytest.mark.thorough, pytest.mark.usefixtures("worker")]

SIGNED = "steps: [{id: sign, type: approval, config: {prompt: Sign, approvers: [ada]}}]\n"
STARTS = "steps: [{id: sub, type: workflow, config: {name: @inner}}]\n"


def child_of(operator: Operator, run: UUID) -> UUID:
    """Return the id of the only run that a run has started."""
    child: UUID = operator.sql.value("SELECT id FROM runs WHERE parent_run_id = %s", run)
    return child


# -- the gate ----------------------------------------------------------------------------------------------------


def test_a_workflow_that_is_paused_and_whose_gate_is_full(operator: Operator):
    """Both are told; letting the workflow go leaves the other."""
    flow = operator.flow("concurrency: {limit: 1}\nsteps: [{id: paid, type: wait_signal, config: {name: paid}}]\n")
    holder = operator.start(flow)
    operator.step_becomes(holder, "paid", "waiting")
    operator.shell.type("workflow", "pause", flow.stem, actor="alice")
    run = operator.start(flow)
    answer = ask(operator.shell, run)
    assert answer.causes == ["workflow_paused", "gate_full"]
    answer.says("is paused by alice", "its only place is taken, none waits before it", f"{holder}, is running")
    answer.follow()
    answer = becomes(operator, run, ["gate_full", "signal"])
    answer.follow()
    operator.step_becomes(run, "paid", "waiting")


def test_room_at_a_gate_that_a_dead_worker_gave_to_nobody(operator: Operator, worker: WorkerProcess, workers: Workers):
    """The run before it has ended, and who should have let it in died right after: the next worker does."""
    flow = operator.flow("""
        queue: "@queue"
        concurrency: {limit: 1}
        steps: [{id: a, type: http, config: {url: "@sink/a"}}]
    """)
    holder, run = operator.start_each(flow, [None, None])
    worker.freeze()
    try:
        victim = workers(crash_at="worker.before_ack:1", lease="60s")
        victim.process.wait(timeout=60)
        operator.becomes(holder, "completed")
        answer = becomes(operator, run, ["not_admitted"])
        answer.says("the run is accepted, and waits for a worker to let it in")
    finally:
        worker.thaw()
    workers()
    operator.wait(run)


def test_a_run_that_waits_for_itself(operator: Operator):
    """It started another one of its own workflow, whose only place it has."""
    flow = operator.flow("""
        concurrency: {limit: 1}
        steps: [{id: again, type: workflow, config: {name: @self}}]
    """)
    flow.write_text(flow.read_text().replace("@self", flow.stem))
    run = operator.start(flow)
    answer = becomes(operator, run, ["child_run", "gate_full", "deadlock"])
    child = child_of(operator, run)
    assert ask(operator.shell, child).kinds == ["gate_full", "child_run", "deadlock"]
    answer.says(f"waits for run {child}", "its only place is taken", str(run))
    answer.follow()
    operator.ended([run])


# -- runs of runs ------------------------------------------------------------------------------------------------


def test_a_paused_run_whose_child_waits_for_a_person(operator: Operator):
    """Who holds the run comes first; what the child waits for is told, also once the step has looked after it."""
    inner = operator.flow(SIGNED)
    operator.publish(inner)
    run = operator.start(operator.flow(STARTS.replace("@inner", inner.stem)))
    becomes(operator, run, ["child_run", "approval"])
    operator.shell.type("pause", str(run), "--reason", "audit", actor="bob")
    child = child_of(operator, run)
    looks = "UPDATE steps SET due_at = clock_timestamp() WHERE run_id = %s AND status = 'waiting'"
    operator.sql.do(looks, run)
    operator.sql.do("UPDATE runs SET wake_at = clock_timestamp() WHERE id = %s", run)
    # That the time has come is our word: the history must not say that it came too early.
    operator.sql.do(
        "UPDATE run_events SET events = replace(events::text, 'due_at', 'was_due_at')::json WHERE run_id = %s", run
    )
    operator.step_becomes(run, "sub", "queued")
    answer = ask(operator.shell, run)
    assert (answer.causes, answer.holders) == (["run_paused", "child_run"], ["bob"])
    answer.says("the run is paused by bob (audit)", f"waits for run {child} of {inner.stem}", "asks ada to approve")
    operator.shell.type("approve", str(child), "sign", actor="ada")
    operator.becomes(child, "completed")
    answer.follow()
    operator.wait(run)
    operator.at_rest()


def test_one_of_many_child_runs_that_waits_for_a_person(operator: Operator):
    """The others move by themselves: the one that stands still is told first, whichever it is."""
    inner = operator.flow("""
        steps:
          - id: large
            type: conditional
            config:
              condition: "input.n == 8"
              branches: {"true": {target_step: sign}, "false": {target_step: cool}}
          - {id: sign, type: approval, config: {prompt: "Sign {{ input.n }}", approvers: [ada]}}
          - {id: cool, type: delay, config: {duration: 1h}}
    """)
    operator.publish(inner)
    flow = operator.flow(f"""
        steps:
          - id: each
            type: foreach
            config:
              items: input
              step: {{type: workflow, config: {{name: {inner.stem}, input: {{n: "{{{{ item }}}}"}}}}}}
    """)
    (run,) = operator.start_each(flow, [list(range(10))])
    answer = becomes(operator, run, ["items", "child_run", "approval"])
    assert answer.chain[1]["subject"]["name"] == "each[8]"
    answer.says("10 of its 10 items", "asks ada to approve, 1 is needed: Sign 8")
    answer.follow(actor="ada")
    becomes(operator, run, ["items", "child_run", "delay"])
    operator.shell.type("cancel", str(run))


# -- items -------------------------------------------------------------------------------------------------------


def test_one_of_a_thousand_items_that_is_tried_again(operator: Operator):
    """Its number, why and when; the 999 that are done are not told."""
    operator.effects.answer("i618", reply(503))
    flow = operator.flow("""
        steps:
          - id: each
            type: foreach
            config:
              items: input
              step: {type: http, config: {url: "@sink/{{ item }}"}, retry: {max_attempts: 3, initial_delay: 10m}}
    """)
    (run,) = operator.start_each(flow, [[f"i{no}" for no in range(1000)]])
    left = "SELECT count(*) FROM steps WHERE run_id = %s AND step_no > 0 AND status <> 'completed'"
    eventually_sync(lambda: operator.sql.value(left, run) == 1, 100, what="all others are done")
    answer = becomes(operator, run, ["items", "retry"])
    assert (answer.chain[1]["subject"]["name"], answer.chain[1]["count"]) == ("each[618]", 1)
    answer.says(
        "waits for 1 of its 1000 items", "step 'each[618]' waits for attempt 2 of 3; attempt 1 failed, HTTP_503"
    )
    answer.follow()
    operator.wait(run)


def test_items_that_wait_for_a_signal_each(operator: Operator):
    """One is named, and it is not said that the others wait for the same; nor are they a line each in all."""
    flow = operator.flow("""
        steps:
          - id: each
            type: foreach
            config: {items: input, step: {type: wait_signal, config: {name: "go {{ item }}"}}}
    """)
    (run,) = operator.start_each(flow, [list("abcdef")])
    waiting = "SELECT count(*) FROM steps WHERE run_id = %s AND status = 'waiting' AND step_no > 0"
    eventually_sync(lambda: operator.sql.value(waiting, run) == 6, what="all items wait")
    answer = ask(operator.shell, run)
    assert answer.kinds == ["items", "signal"]
    answer.says("waits for the signal 'go a'; each[1], each[2], each[3] and 2 more wait for signals of their own")
    everything = operator.shell.type("explain").out
    assert everything.count(f"'each[]' of workflow '{flow.stem}'") == 1
    operator.shell.type("cancel", str(run))


# -- workers and queues ------------------------------------------------------------------------------------------


def test_a_step_between_two_attempts_whose_queue_is_paused(operator: Operator, workers: Workers):
    """The time of its next attempt will come, and nobody will take it: both are told, and that it is stuck."""
    operator.effects.answer("charge", reply(503))
    workers()
    flow = operator.flow("""
        queue: "@queue"
        steps: [{id: charge, type: http, config: {url: "@sink/charge"}, retry: {max_attempts: 3, initial_delay: 10m}}]
    """)
    run = operator.start(flow)
    operator.step_becomes(run, "charge", "waiting")
    assert (answer := ask(operator.shell, run)).document["stuck"] is False
    assert answer.ends is not None
    operator.shell.type("queue", "pause", operator.queue, "--reason", "provider down", actor="carol")
    answer = ask(operator.shell, run)
    assert answer.kinds == ["retry", "queue_paused"]
    assert (answer.document["stuck"], answer.ends) == (True, None)
    answer.says("waits for attempt 2 of 3; attempt 1 failed, HTTP_503", "carol has paused: provider down")
    answer.follow()
    assert ask(operator.shell, run).kinds == ["retry"]
    operator.shell.type("cancel", str(run))


def test_a_worker_that_has_fallen_silent(operator: Operator, workers: Workers):
    """It is dead, and its lease still lasts: since when it is silent, who comes after it, and when that is."""
    operator.effects.hold("a", after=(reply(),))
    victim = workers(lease="16s")
    run = operator.start(operator.flow('queue: "@queue"\nsteps: [{id: a, type: http, config: {url: "@sink/a"}}]\n'))
    operator.effects.arrived("a")
    victim.kill()
    name = operator.sql.value("SELECT worker FROM steps WHERE run_id = %s AND step_no = 0", run)
    answer = becomes(operator, run, ["worker_lost"])
    assert (answer.holders, answer.document["stuck"]) == ([name], False)
    answer.says(f"is with {name}, which has been silent for", f"no other one serves queue '{operator.queue}'")
    assert answer.ends == operator.sql.value("SELECT due_at FROM steps WHERE run_id = %s AND step_no = 0", run)
    workers(*answer.offered)
    document = operator.wait(run)[0]
    assert document["steps"][0]["attempts"] == 2
