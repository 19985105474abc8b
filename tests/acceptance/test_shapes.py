"""The graphs of the source documents: chains, diamonds, branches that rejoin, parallels in parallels."""

from __future__ import annotations

import pytest

from tests.acceptance.kit.person import Operator, statuses, steps, types
from tests.acceptance.kit.sink import reply, together

pytestmark = pytest.mark.usefixtures("worker")


def test_the_steps_of_a_chain_run_in_order_and_hand_on_their_outputs(operator: Operator):
    """Criterion 1: A → B → C; each step reads what the one before gave."""
    flow = operator.flow("""
        steps:
          - {id: a, type: transform, config: {expression: "input.n + 1", output_key: n}}
          - id: b
            type: python
            depends_on: a
            config: {function: "builtins:pow", args: ["{{ steps.a.output.n }}", 2]}
          - id: c
            type: http
            depends_on: [b]
            config: {method: POST, url: "@sink/c", body: {squared: "{{ steps.b.output }}", text: "n = {{ input.n }}"}}
    """)
    operator.effects.answer("c", reply(body={"stored": True}))

    document = operator.run(flow, "-i", "n=6")

    assert document["status"] == "completed"
    assert steps(document)["a"]["output"] == {"n": 7}
    assert operator.effects.calls("c")[0].body == {"squared": 49, "text": "n = 6"}
    assert document["output"]["c"]["body"] == {"stored": True}
    history = types(operator.events(document["id"]))
    moves = [event for event in history if event.startswith(("step.started", "step.completed"))]
    assert moves == [f"step.{what} {step}" for step in "abc" for what in ("started", "completed")]


def test_the_branches_of_a_diamond_run_at_the_same_time_and_its_end_after_both(operator: Operator):
    """Criterion 2: B and C are only answered when both are there; D starts when both are completed."""
    flow = operator.flow("""
        steps:
          - {id: a, type: http, config: {url: "@sink/a"}}
          - {id: b, type: http, depends_on: a, timeout: 60s, config: {url: "@sink/both"}}
          - {id: c, type: http, depends_on: a, timeout: 60s, config: {url: "@sink/both"}}
          - {id: d, type: http, depends_on: [b, c], config: {url: "@sink/d"}}
    """)
    operator.effects.answer("both", together(2))

    document = operator.run(flow)

    assert operator.effects.paths() == ["a", "both", "both", "d"]
    of = steps(document)
    assert max(of["b"]["started_at"], of["c"]["started_at"]) < min(of["b"]["finished_at"], of["c"]["finished_at"])
    assert of["d"]["started_at"] >= max(of["b"]["finished_at"], of["c"]["finished_at"])
    assert all(step["attempts"] == 1 for step in document["steps"])


@pytest.mark.parametrize(("amount", "taken", "other"), [(1001, "approve", "charge"), (1000, "charge", "approve")])
def test_a_conditional_takes_the_branch_its_condition_says_and_the_branches_rejoin(
    operator: Operator, amount: int, taken: str, other: str
):
    """Criterion 3: one branch runs, the other is skipped with all behind it, and what depends on both runs once."""
    flow = operator.flow("""
        steps:
          - {id: reserve, type: transform, config: {expression: "input.amount", output_key: amount}}
          - id: big
            type: conditional
            depends_on: [reserve]
            config:
              condition: "steps.reserve.output.amount > 1000"
              branches: {"true": {target_step: approve}, "false": {target_step: charge}}
          - {id: approve, type: http, config: {url: "@sink/approve"}}
          - {id: approved, type: http, depends_on: approve, config: {url: "@sink/approved"}}
          - {id: charge, type: http, config: {url: "@sink/charge"}}
          - {id: ship, type: http, depends_on: [approved, charge], config: {url: "@sink/ship"}}
    """)

    document = operator.run(flow, "-i", f"amount={amount}")

    assert operator.effects.paths() == (["approve", "approved", "ship"] if taken == "approve" else ["charge", "ship"])
    found = statuses(document)
    assert found[taken] == found["ship"] == "completed"
    assert found[other] == "skipped"
    assert found["approved"] == found["approve"]
    expected = {"condition_result": amount > 1000, "branch_taken": str(amount > 1000).lower(), "target_step": taken}
    assert steps(document)["big"]["output"] == expected


def test_branches_of_a_list_are_tried_in_order(operator: Operator):
    """The first `when` that holds is taken, and the one without `when` otherwise."""
    flow = operator.flow("""
        steps:
          - id: size
            type: conditional
            config:
              branches:
                - {when: "input.n > 100", target_step: large}
                - {when: "input.n > 10", target_step: medium}
                - {target_step: small}
          - {id: large, type: transform, config: {expression: "1"}}
          - {id: medium, type: transform, config: {expression: "2"}}
          - {id: small, type: transform, config: {expression: "3"}}
          - {id: end, type: transform, depends_on: [large, medium, small], config: {expression: "input.n"}}
    """)
    for n, taken in ((1000, "large"), (50, "medium"), (5, "small")):
        found = statuses(operator.run(flow, "-i", f"n={n}"))
        assert {step for step in ("large", "medium", "small") if found[step] == "completed"} == {taken}
        assert found["end"] == "completed"


def test_parallels_nest_and_join_from_the_inside_out(operator: Operator):
    """Three children run at once, two of them inside another parallel; what follows waits for all."""
    flow = operator.flow("""
        steps:
          - id: out
            type: parallel
            config:
              wait_for_all: true
              steps:
                - {id: x, type: http, timeout: 60s, config: {url: "@sink/all"}}
                - id: inner
                  type: parallel
                  config:
                    steps:
                      - {id: y, type: http, timeout: 60s, config: {url: "@sink/all"}}
                      - {id: z, type: http, timeout: 60s, config: {url: "@sink/all"}}
          - id: after
            type: transform
            depends_on: [out]
            config: {expression: "len(steps.out.output.results)"}
    """)
    operator.effects.answer("all", together(3))

    document = operator.run(flow)

    assert set(statuses(document).values()) == {"completed"}
    assert steps(document)["after"]["output"] == {"result": 2}
    of = steps(document)
    last = max(of[child]["finished_at"] for child in ("out.x", "out.inner.y", "out.inner.z"))
    assert of["out"]["finished_at"] >= of["out.inner"]["finished_at"]
    assert of["after"]["started_at"] >= last


def test_a_failed_child_of_a_parallel_is_reported_beside_the_others_results(operator: Operator):
    """With `wait_for_all` the siblings of a failed child finish, and the run fails with the child named."""
    flow = operator.flow("""
        steps:
          - id: fan
            type: parallel
            config:
              steps:
                - {id: good, type: http, config: {url: "@sink/good"}}
                - {id: bad, type: python, retry: {max_attempts: 1}, config: {function: "shop:refuse", args: ["no"]}}
          - {id: after, type: http, depends_on: fan, config: {url: "@sink/after"}}
    """)
    document = operator.run(flow, code=5)
    found = statuses(document)
    assert (found["fan.good"], found["fan.bad"], found["fan"]) == ("completed", "failed", "failed")
    assert not operator.effects.calls("after")
    assert "bad" in document["error"]["message"] or document["error"]["step"] == "fan.bad"


def test_a_delay_holds_no_worker_and_never_ends_early(operator: Operator):
    """A hundred delays side by side take no slots; each lasts at least as long as it says."""
    children = "".join(f"\n  - {{id: d{no}, type: delay, config: {{duration: 700ms}}}}" for no in range(100))
    flow = operator.flow(f"steps:{children}\n  - {{id: end, type: transform, config: {{expression: '1'}}}}\n")
    document = operator.run(flow)
    query = "SELECT min(finished_at - started_at) >= interval '700 ms' FROM steps WHERE run_id = %s AND step_no < 100"
    assert operator.sql.value(query, document["id"]) is True


def test_a_long_chain_runs_to_its_end(operator: Operator):
    """Sixty steps, each reading the one before: nothing is lost on the way."""
    lines = ["steps:", "  - {id: s0, type: transform, config: {expression: '1'}}"]
    for no in range(1, 60):
        expression = f"steps.s{no - 1}.output.result + 1"
        step = f"{{id: s{no}, type: transform, depends_on: s{no - 1}, config: {{expression: '{expression}'}}}}"
        lines.append(f"  - {step}")
    document = operator.run(operator.flow("\n".join(lines)))
    assert document["output"] == {"s59": {"result": 60}}
