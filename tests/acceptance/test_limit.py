"""Gates: never more active runs than the limit, the next one waits as pending, and none is forgotten."""

from __future__ import annotations

import json

import pytest

from tests.acceptance.kit.person import Operator
from tests.support.eventually import eventually_sync

pytestmark = pytest.mark.usefixtures("worker")


def busiest(operator: Operator, name: str) -> int:
    """Return how many runs of a workflow were ever active at once, by their histories."""
    query = """
    SELECT e.at, CASE WHEN e.type = 'workflow.started' THEN 1 ELSE -1 END FROM events e
    JOIN runs r ON r.id = e.run_id JOIN workflows w ON w.id = r.workflow_id
    WHERE w.name = %s AND e.type IN ('workflow.started', 'workflow.completed', 'workflow.failed', 'workflow.cancelled')
    ORDER BY 1, 2
    """
    active = most = 0
    for _, change in operator.sql.rows(query, name):
        active += change
        most = max(most, active)
    return most


def test_of_300_runs_100_are_active_and_the_101st_waits_as_pending(operator: Operator):
    """Criterion 6: the default gate fills up, the next run is queued and not started, and all 300 complete."""
    hold = operator.effects.hold("held")
    flow = operator.flow('steps: [{id: held, type: http, config: {method: POST, url: "@sink/held"}}]\n')
    runs = operator.start_many(flow, [{"n": no} for no in range(100)])
    operator.effects.arrived("held", 100)

    late = operator.start(flow, "-i", "n=100")
    shown = operator.show(late)
    assert (shown["status"], shown["started_at"]) == ("pending", None)
    assert [event["type"] for event in operator.events(late)] == ["workflow.created"]
    runs += [late, *operator.start_many(flow, [{"n": no} for no in range(101, 300)])]
    listed = operator.shell.type("ps", "--workflow", flow.stem, "--status", "running", "--limit", "400", "--json")
    assert len(listed.document["runs"]) == 100
    assert len(operator.effects.calls("held")) == 100

    hold.release()

    assert operator.ended(runs) == {"completed": 300}
    assert busiest(operator, flow.stem) == 100
    calls = operator.effects.calls("held")
    assert len(calls) == len({call.key for call in calls}) == 300
    first_come = "SELECT id FROM runs WHERE id = ANY(%s) ORDER BY started_at, id"
    order = [row[0] for row in operator.sql.rows(first_come, runs)]
    assert order.index(late) == 100
    operator.at_rest()


def test_every_key_has_a_gate_of_its_own(operator: Operator):
    """Two of each region at a time: a full region does not hold up another one."""
    hold = operator.effects.hold("eu")
    flow = operator.flow("""
        concurrency: {limit: 2, key: "{{ input.region }}"}
        steps: [{id: one, type: http, config: {url: "@sink/{{ input.region }}"}}]
    """)
    runs = operator.start_many(flow, [{"region": region} for region in ["eu"] * 5 + ["us"] * 5])
    assert operator.ended(runs[5:]) == {"completed": 5}
    operator.effects.arrived("eu", 2)
    counts = "SELECT status::text, count(*)::int FROM runs WHERE id = ANY(%s) GROUP BY 1"
    assert dict(operator.sql.rows(counts, runs[:5])) == {"running": 2, "pending": 3}
    hold.release()
    assert operator.ended(runs) == {"completed": 10}


def test_a_start_at_a_full_gate_is_rejected_where_the_definition_says_so(operator: Operator):
    """Exit code 7, one line that names the limit, and no run is stored."""
    hold = operator.effects.hold("held")
    flow = operator.flow("""
        concurrency: {limit: 1, on_limit: reject}
        steps: [{id: held, type: http, config: {url: "@sink/held"}}]
    """)
    first = operator.start(flow)
    stored = operator.stored()
    operator.shell.type("run", str(flow), code=7).refused("reject", flow.stem)
    assert operator.stored()[2] == stored[2]
    hold.release()
    operator.wait(first)


def test_a_place_at_a_gate_is_given_on_whatever_way_its_holder_ends(operator: Operator):
    """Completed, failed and cancelled runs all let the next one in; a limit of one proves it."""
    operator.effects.hold("cancel")
    flow = operator.flow("""
        concurrency: 1
        steps:
          - {id: one, type: http, retry: {max_attempts: 1}, config: {url: "@sink/{{ input.path }}"}}
    """)
    operator.effects.answer("fail", lambda handler: handler.reply(500, {}, {}))
    paths = ["cancel", "fail", "complete", "fail", "complete"]
    runs = operator.start_each(flow, [{"path": path} for path in paths])
    operator.effects.arrived("cancel")
    operator.shell.type("cancel", str(runs[0]))
    assert operator.ended(runs) == {"cancelled": 1, "failed": 2, "completed": 2}
    assert operator.effects.paths() == paths
    assert busiest(operator, flow.stem) == 1
    operator.at_rest()


def test_of_those_who_wait_the_higher_priority_goes_first(operator: Operator):
    """Priority decides, then the order of arrival."""
    hold = operator.effects.hold("first")
    flow = operator.flow("""
        concurrency: 1
        steps: [{id: one, type: http, config: {url: "@sink/{{ input.path }}"}}]
    """)
    started = [
        operator.start(flow, "--priority", str(priority), "--input", json.dumps({"path": path}))
        for path, priority in (("first", 0), ("low", -1), ("normal", 0), ("high", 9))
    ]
    operator.effects.arrived("first")
    hold.release()
    operator.wait(*started)
    assert operator.effects.paths() == ["first", "high", "normal", "low"]


def test_runs_of_one_batch_are_admitted_in_its_order(operator: Operator):
    """First come, first served also holds within a millisecond and a transaction."""
    flow = operator.flow("""
        concurrency: 1
        steps: [{id: one, type: http, config: {url: "@sink/{{ input.n }}"}}]
    """)
    runs = operator.start_many(flow, [{"n": no} for no in range(30)])
    assert operator.ended(runs) == {"completed": 30}
    assert operator.effects.paths() == [str(no) for no in range(30)]


def test_a_workflow_without_a_limit_waits_for_nobody(operator: Operator):
    """`unlimited`: 150 runs are active at once, beyond the default of 100."""
    hold = operator.effects.hold("held")
    flow = operator.flow("""
        concurrency: unlimited
        steps: [{id: held, type: http, config: {url: "@sink/held"}}]
    """)
    runs = operator.start_many(flow, [{}] * 150)
    eventually_sync(lambda: len(operator.effects.calls("held")) == 150, what="150 calls at once")
    assert busiest(operator, flow.stem) == 150
    hold.release()
    assert operator.ended(runs) == {"completed": 150}
