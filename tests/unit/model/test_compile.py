"""From definitions to plans: numbers, edges, joins, references and defaults."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowforge.model import order
from flowforge.model.compile import compile_plan
from flowforge.model.definition import Step, Workflow
from flowforge.model.load import canonical, check, load
from flowforge.model.plan import Edge, Join, OnError, OnLimit
from flowforge.model.retry import Backoff, RetryPolicy

ORDER = """
name: order-fulfilment
description: Reserve, charge, ship; undo what was done if a later step fails
input_schema: {type: object, required: [order_id, amount]}
concurrency: {limit: 100, key: "{{ input.region }}", on_limit: queue}
timeout: 30s
error_handling: {on_error: fail}
triggers:
  - {type: schedule, config: {cron: "0 3 * * *", timezone: Europe/Paris}}
steps:
  - id: reserve
    name: Reserve stock
    type: http
    config: {method: POST, url: "https://stock.example/reservations", body: {order: "{{ input.order_id }}"}}
    retry: {max_attempts: 4, backoff: exponential, initial_delay: 1s, factor: 2, max_delay: 1m, jitter: true,
            retry_on: [network, timeout, http_5xx, http_429]}
    timeout: 10s
    compensate: {type: http, config: {method: DELETE, url: "https://stock.example/{{ steps.reserve.output.body.id }}"}}
  - id: big
    type: conditional
    depends_on: [reserve]
    config: {condition: "input.amount > 1000",
             branches: {"true": {target_step: approve}, "false": {target_step: charge}}}
  - id: approve
    type: approval
    config: {prompt: "Release {{ input.amount }}?", approvers: [finance], timeout: 24h}
  - id: charge
    type: python
    depends_on: [reserve, approve]
    config: {function: "shop.payments:charge", args: {order: "{{ input.order_id }}"}}
  - id: fan
    type: parallel
    depends_on: [charge]
    config:
      wait_for_all: true
      steps: [{id: mail, type: notification, config: {to: "{{ steps.label.output.body }}"}},
              {id: label, type: http, config: {url: "https://label.example"}}]
"""


def plan(*steps, **settings):
    """Compile steps given as dicts; a step without a type is a transform."""
    filled = [{"type": "transform", "config": {"expression": "1"}, **step} for step in steps]
    return check({"name": "test", **settings, "steps": filled}).plan


def conditional(step_id, condition="input.x", *, yes=None, no=None, **more):
    """A conditional with one or two branches."""
    branches = {label: {"target_step": target} for label, target in (("true", yes), ("false", no)) if target}
    return {"id": step_id, "type": "conditional", "config": {"condition": condition, "branches": branches}, **more}


def parallel(step_id, *children, **more):
    """A parallel step; children without a type are transforms."""
    steps = [{"type": "transform", "config": {"expression": "1"}, **child} for child in children]
    return {"id": step_id, "type": "parallel", "config": {"steps": steps}, **more}


def sources(step):
    """The dependencies of a step, by number."""
    return {edge.step for edge in step.dependencies}


def ids(plan, numbers):
    """Names for numbers."""
    return {plan.steps[no].id for no in numbers}


def test_the_workflow_of_the_design_compiles():
    """Every feature of the design's example, in one plan."""
    made = load(ORDER, filename="order.yaml").plan
    assert [step.id for step in made.steps] == ["reserve", "big", "approve", "charge", "fan", "fan.mail", "fan.label"]
    assert (made.entries, made.last, made.timeout) == ((0,), (4,), timedelta(seconds=30))
    reserve, big, approve, charge, fan, mail, _ = made.steps
    assert reserve.timeout == timedelta(seconds=10)
    assert reserve.retry == RetryPolicy(4, Backoff.EXPONENTIAL, timedelta(seconds=1), 2, timedelta(minutes=1), True,
                                        ("network", "timeout", "http_5xx", "http_429"))  # fmt: skip
    rendered: Any = reserve.config.render({"input": {"order_id": 7}})
    assert rendered["body"] == {"order": 7}
    assert big.branches == {"true": 2, "false": 3}
    assert big.expressions["condition"].evaluate({"input": {"amount": 2000}}) is True
    assert "condition" not in str(big.config.render({}))
    assert approve.dependencies == (Edge(1, branch=True, leads_to=2),)
    assert set(charge.dependencies) == {Edge(0), Edge(2), Edge(1, branch=True, leads_to=3)}
    assert (charge.skippable, charge.skippable_dependencies, charge.lane) == (True, 2, "default.python")
    assert (fan.children, fan.join, sources(fan), fan.retry.max_attempts) == ((5, 6), Join.ANY, {5, 6}, 1)
    assert fan.config.render({}) == {"wait_for_all": True, "steps": ["fan.mail", "fan.label"]}
    assert mail.parent == 4
    assert mail.config.render({"steps": {"fan.label": {"output": {"body": 9}}}}) == {"to": 9}
    assert set(mail.dependencies) == {Edge(3), Edge(6, order_only=True)}
    assert made.gate is not None
    assert made.gate.key is not None
    assert made.gate.key.render({"input": {"region": "eu"}}) == "eu"


def test_the_defaults_are_filled_in():
    """Design section 4: five minutes, three attempts, exponential from a second, gate 100."""
    made = plan({"id": "a"})
    step = made.steps[0]
    assert step.timeout == timedelta(minutes=5)
    assert step.retry == RetryPolicy()
    assert (step.join, step.on_error, step.queue, step.name) == (Join.AUTO, OnError.FAIL, "default", "a")
    assert made.gate is not None
    assert (made.gate.limit, made.gate.key, made.gate.on_limit) == (100, None, OnLimit.QUEUE)
    assert (made.timeout, made.output, made.input_schema) == (None, None, None)


@pytest.mark.parametrize("limit", [None, "unlimited"])
def test_no_limit_is_no_gate(limit):
    """Neither null nor unlimited costs a lock."""
    assert plan({"id": "a"}, concurrency={"limit": limit}).gate is None
    assert plan({"id": "a"}, concurrency=3).gate.limit == 3


def test_the_source_documents_spellings_mean_the_same():
    """Aliases are normalised, so the digests are equal."""
    theirs = {"id": "a", "retry": {"max_retries": 3, "backoff_factor": 3, "retry_delay": 2000}, "timeout": 10_000}
    ours = {"id": "a", "retry": {"max_attempts": 4, "factor": 3, "initial_delay": "2s"}, "timeout": "PT10S"}
    assert plan(theirs).digest == plan(ours).digest
    assert (
        plan({"id": "a"}, {"id": "b", "depends_on": "a"}).digest
        == plan({"id": "a"}, {"id": "b", "depends_on": ["a"]}).digest
    )


def test_retry_settings_come_from_the_nearest_place():
    """Step, its configuration (source document 004), the workflow, the defaults."""
    handling = {"on_error": "retry", "max_retries": 1, "retry_delay": 1000}
    made = plan(
        {"id": "a"},
        {"id": "b", "retry": {"max_attempts": 5}},
        {"id": "c", "config": {"expression": "1", "retry": {"max_attempts": 4, "backoff": "fixed"}}},
        {"id": "d", "error_handling": {"max_retries": 0, "on_error": "skip"}},
        error_handling=handling,
    )
    a, b, c, d = made.steps
    assert (a.retry.max_attempts, a.retry.initial_delay, a.on_error) == (2, timedelta(seconds=1), OnError.FAIL)
    assert (b.retry.max_attempts, c.retry.max_attempts, c.retry.backoff) == (5, 4, Backoff.FIXED)
    assert (d.retry.max_attempts, d.on_error) == (1, OnError.SKIP)
    assert c.config.render({}) == {"output_key": "result"}


def test_the_timeout_of_a_request_is_seconds_and_becomes_the_attempts():
    """Source document 004 gives http its own timeout; the shorter one holds."""
    http = {"type": "http", "config": {"url": "https://x.example", "timeout": 30}}
    made = plan({"id": "a", **http}, {"id": "b", **http, "timeout": "5s"}, {"id": "c", **http, "timeout": "1m"})
    assert [step.timeout.total_seconds() for step in made.steps] == [30, 5, 30]
    assert "timeout" not in made.steps[0].config.render({})


def test_a_request_may_name_the_kind_of_its_body():
    """As json, form or text; the canonical form keeps the names."""
    for kind, body in (("json", "x"), ("form", {"a": "1"}), ("text", "hello {{ input.x }}")):
        step = {"id": "a", "type": "http", "config": {"url": "https://x.example", kind: body, "max_redirects": 0}}
        loaded = check({"name": "test", "steps": [step]})
        assert kind in str(loaded.plan.steps[0].config.render({"input": {"x": 1}}))
        assert canonical(loaded.workflow)["steps"][0] == step


def test_a_workflows_error_handling_is_the_default_of_its_steps():
    """A step may say otherwise."""
    made = plan({"id": "a"}, {"id": "b", "on_error": "fail"}, error_handling={"on_error": "continue"})
    assert [step.on_error for step in made.steps] == [OnError.CONTINUE, OnError.FAIL]


# -- parallel ---------------------------------------------------------------------------------------------------


def test_entry_children_inherit_the_dependencies_and_the_join_waits_for_all():
    """A child that waits for a sibling starts after it, not beside it."""
    made = plan(
        {"id": "a"},
        parallel("fan", {"id": "x"}, {"id": "y", "depends_on": "x"}, depends_on="a"),
        {"id": "z", "depends_on": "fan"},
    )
    fan, x, y, z = (made.step(name) for name in ("fan", "fan.x", "fan.y", "z"))
    assert (sources(x), sources(y)) == ({0}, {x.no})
    assert sources(fan) == {x.no, y.no}
    assert sources(z) == {fan.no}
    assert fan.reads_steps == fan.children


def test_children_without_ids_are_called_by_their_position():
    """The source document's parallel steps have no ids."""
    made = plan(parallel("fan", {}, {"id": "named"}, {}))
    assert [step.id for step in made.steps] == ["fan", "fan.0", "fan.named", "fan.2"]


def test_parallel_steps_nest():
    """Inheritance goes through both levels; the inner join is a child of the outer one."""
    made = plan(
        {"id": "a"}, parallel("out", parallel("in", {"id": "x"}), {"id": "y", "depends_on": "in"}, depends_on="a")
    )
    assert sources(made.step("out.in.x")) == {0}
    assert ids(made, sources(made.step("out.in"))) == {"out.in.x"}
    assert ids(made, sources(made.step("out.y"))) == {"out.in"}
    assert ids(made, sources(made.step("out"))) == {"out.in", "out.y"}
    assert made.step("out.in").parent == made.step("out").no


def test_names_mean_siblings_first_then_outward_then_full_ids():
    """An inner name hides an outer one; from outside a child has its full id."""
    made = plan(
        {"id": "x"},
        {"id": "o"},
        parallel(
            "fan",
            {"id": "x"},
            {"id": "y", "depends_on": ["x", "o"], "config": {"expression": "steps.x.output + steps.o.output"}},
        ),
        {"id": "after", "config": {"expression": "steps['fan.x'].output.result"}},
    )
    y = made.step("fan.y")
    assert ids(made, sources(y)) == {"fan.x", "o"}
    assert ids(made, y.reads_steps) == {"fan.x", "o"}
    assert y.expressions["expression"].evaluate({"steps": {"fan.x": {"output": 1}, "o": {"output": 2}}}) == 3
    assert ids(made, made.step("after").reads_steps) == {"fan.x"}


def test_the_settings_of_a_parallel_step_are_the_default_of_its_children():
    """Retrying a join is pointless; retrying its children is what was meant."""
    made = plan(
        parallel(
            "fan",
            {"id": "x"},
            {"id": "y", "retry": {"max_attempts": 7}},
            retry={"max_attempts": 5},
            timeout="7s",
            queue="q",
            join="any",
        )
    )
    x, y = made.step("fan.x"), made.step("fan.y")
    assert (x.retry.max_attempts, y.retry.max_attempts, made.step("fan").retry.max_attempts) == (5, 7, 1)
    assert (x.timeout.total_seconds(), x.queue, x.join) == (7, "q", Join.ANY)


def test_a_child_keeps_the_on_error_it_declares():
    """The join decides about the run; the engine goes by parent."""
    made = plan(parallel("fan", {"id": "x", "on_error": "continue"}, {"id": "y"}))
    assert (made.step("fan.x").on_error, made.step("fan.y").on_error) == (OnError.CONTINUE, OnError.FAIL)


# -- conditionals -----------------------------------------------------------------------------------------------


def test_a_branch_target_depends_on_its_conditional():
    """Without saying so; if it says so, the edge is still the branch's."""
    for target in ({"id": "b"}, {"id": "b", "depends_on": "a"}):
        made = plan(conditional("a", yes="b"), target)
        assert made.steps[1].dependencies == (Edge(0, branch=True, leads_to=1),)
        assert made.steps[0].successors == (Edge(1, branch=True, leads_to=1),)
        assert (made.steps[1].skippable, made.steps[0].skippable) == (True, False)


def test_branches_may_be_a_list_with_conditions():
    """Labels are positions; one without `when` is taken otherwise; one without target leads nowhere."""
    branches = [{"when": "input.x == 1", "target_step": "b"}, {"when": "input.x == 2"}, {"target_step": "c"}]
    made = plan({"id": "a", "type": "conditional", "config": {"branches": branches}}, {"id": "b"}, {"id": "c"})
    first = made.steps[0]
    assert first.branches == {"0": 1, "1": None, "2": 2}
    assert set(first.expressions) == {"branches.0.when", "branches.1.when"}
    assert first.config.render({})["branches"] == [{"target_step": "b"}, {"target_step": None}, {"target_step": "c"}]


def test_both_branches_may_lead_to_the_same_step():
    """One edge, taken either way."""
    made = plan(conditional("a", yes="b", no="b"), {"id": "b"})
    assert made.steps[1].dependencies == (Edge(0, branch=True, leads_to=1),)


def test_a_branch_to_a_parallel_step_leads_to_its_entry_children():
    """The edges name the parallel step as what was chosen."""
    made = plan(conditional("a", yes="fan"), parallel("fan", {"id": "x"}, {"id": "y"}, {"id": "z", "depends_on": "x"}))
    fan = made.step("fan")
    assert made.steps[0].branches == {"true": fan.no}
    assert {edge.step for edge in made.steps[0].successors} == {made.step("fan.x").no, made.step("fan.y").no}
    assert all(edge.branch and edge.leads_to == fan.no for edge in made.steps[0].successors)
    assert fan.skippable
    assert fan.skippable_dependencies == 3


def test_a_parallel_step_is_not_skipped_because_one_child_can_be():
    """Its join asks for one child that ran."""
    made = plan(parallel("fan", conditional("if", yes="x"), {"id": "x"}, {"id": "y"}))
    assert made.step("fan.x").skippable
    assert not made.step("fan").skippable


@pytest.mark.parametrize(("join", "skippable", "count"), [("auto", True, 1), ("all", True, 1), ("any", False, 1)])
def test_what_can_be_skipped_depends_on_the_join(join, skippable, count):
    """With join any, one dependency that always completes is enough."""
    made = plan(
        conditional("a", yes="b"), {"id": "b"}, {"id": "c"}, {"id": "d", "depends_on": ["b", "c"], "join": join}
    )
    assert (made.step("d").skippable, made.step("d").skippable_dependencies) == (skippable, count)


def test_a_conditional_may_be_wrapped_in_braces():
    """The source document resolves templates before it evaluates."""
    for condition in ("{{ input.x }}", "${{ input.x }}", "input.x"):
        made = plan(conditional("a", condition, yes="b"), {"id": "b"})
        assert made.steps[0].expressions["condition"].evaluate({"input": {"x": 5}}) == 5


# -- references -------------------------------------------------------------------------------------------------


def test_a_step_runs_after_what_it_reads():
    """By an edge that only orders, and only where there is no order yet."""
    made = plan(
        {"id": "a"},
        {"id": "b", "config": {"expression": "steps.a.output.result + 1"}},
        {"id": "c", "depends_on": "b", "config": {"expression": "steps.a.output.result + input.x"}},
        {"id": "d", "depends_on": "a", "config": {"expression": "get(steps.a.output, 0)"}},
    )
    assert made.step("b").dependencies == (Edge(0, order_only=True),)
    assert sources(made.step("c")) == {1}
    assert (made.step("c").reads_steps, made.step("c").reads_input) == ((0,), True)
    assert made.step("d").dependencies == (Edge(0),)
    assert made.entries == (0,)
    assert ids(made, made.last) == {"c", "d"}


def test_order_only_edges_never_cause_a_skip():
    """A step that reads a branch's output runs also when the branch was not taken."""
    made = plan(conditional("a", yes="b"), {"id": "b"}, {"id": "c", "config": {"expression": "get(steps.b.output, 0)"}})
    assert (made.step("c").skippable, made.step("c").skippable_dependencies) == (False, 0)


def test_the_output_and_what_it_reads():
    """Resolved like everything else."""
    made = plan(
        {"id": "a"},
        parallel("fan", {"id": "x"}),
        output={"a": "{{ steps.a.output }}", "x": "{{ steps['fan.x'].output }}", "i": "{{ input }}"},
    )
    assert made.output_reads_input
    assert ids(made, made.output_reads_steps) == {"a", "fan.x"}


def test_a_foreach_repeats_a_step_for_each_item():
    """The steps of items are numbered behind all others, and made when they are asked for."""
    made = plan(
        {
            "id": "a",
            "type": "foreach",
            "config": {"items": "{{ input.rows }}", "step": {"type": "http", "config": {"url": "{{ item.url }}"}}},
        },
        {"id": "b", "type": "delay", "depends_on": ["a"], "config": {"duration": 1}},
    )
    context = {"input": {"rows": [1]}}
    assert made.steps[0].expressions["items"].evaluate(context) == [1]
    assert [step.id for step in made.steps] == ["a", "b"]
    number = made.find("a[7]")
    assert number is not None
    step = made.steps[number]
    assert (step.id, step.item, step.foreach, step.parent, step.reads_item) == ("a[7]", 7, 0, 0, True)
    assert step.config.render({"item": {"url": "x"}})["url"] == "x"
    assert not made.has(made.find("a[9999]") + 1)
    assert made.find("a[10000]") is None


def test_a_step_type_of_another_package_keeps_its_configuration():
    """It is not looked into, beyond templates."""
    made = plan({"id": "a", "type": "acme_ship", "config": {"retry": "yes", "to": "{{ input.to }}"}})
    assert made.steps[0].config.render({"input": {"to": "x"}}) == {"retry": "yes", "to": "x"}


# -- as a whole -------------------------------------------------------------------------------------------------


def test_workflows_can_be_built_in_python():
    """The same models, the same plan."""
    built = Workflow(
        name="built",
        steps=[
            Step(id="a", type="delay", config={"duration": "5s"}),
            Step(id="b", type="http", config={"url": "https://x"}, depends_on="a"),
        ],
    )
    made = compile_plan(built)
    assert sources(made.steps[1]) == {0}


def test_thousands_of_children_compile():
    """Linear in the number of steps."""
    made = plan(parallel("fan", *({} for _ in range(5_000))), {"id": "after", "depends_on": "fan"})
    assert len(made.step("fan").children) == 5_000


def test_a_long_chain_compiles_without_recursion():
    """Also when every step reads the first one."""
    chain = [{"id": "s0"}] + [
        {"id": f"s{no}", "depends_on": f"s{no - 1}", "config": {"expression": "steps.s0.output"}}
        for no in range(1, 3_000)
    ]
    made = plan(*chain)
    assert len(made.steps) == 3_000
    assert all(len(step.dependencies) <= 1 for step in made.steps)


@st.composite
def graphs(draw):
    """Steps with dependencies on earlier ones, listed in any order; some are conditionals with later targets."""
    count = draw(st.integers(1, 8))
    steps = []
    for no in range(count):
        depends = draw(st.sets(st.integers(0, no - 1), max_size=3)) if no else set()
        join = draw(st.sampled_from(["auto", "any"]))
        base = {"id": f"s{no}", "depends_on": [f"s{source}" for source in sorted(depends)], "join": join}
        if no < count - 1 and draw(st.booleans()):
            yes, other = draw(st.integers(no + 1, count - 1)), draw(st.integers(no + 1, count - 1))
            steps.append(conditional(f"s{no}", "1", yes=f"s{yes}", no=f"s{other}") | base)
        else:
            reads = draw(st.integers(0, no - 1)) if no and draw(st.booleans()) else None
            source = "1" if reads is None else f"steps.s{reads}.output"
            steps.append({**base, "config": {"expression": source}})
    return draw(st.permutations(steps))


@settings(deadline=None, max_examples=60)
@given(graphs())
def test_every_acyclic_graph_compiles_to_a_consistent_plan(steps):
    """Edges mirror each other, orders exist, skips are counted as the contract says."""
    made = plan(*steps)
    assert order.topological([sources(step) for step in made.steps]) is not None
    for step in made.steps:
        assert made.numbers[step.id] == step.no
        for edge in step.dependencies:
            back = Edge(step.no, edge.branch, edge.order_only, edge.leads_to)
            assert back in made.steps[edge.step].successors
            assert not (edge.branch and edge.order_only)
        counted = [
            edge
            for edge in step.dependencies
            if not edge.order_only and (edge.branch or made.steps[edge.step].skippable)
        ]
        assert step.skippable_dependencies == len(counted)
        for target in step.branches.values():
            assert target is None or Edge(step.no, branch=True, leads_to=target) in made.steps[target].dependencies
    assert set(made.entries) == {step.no for step in made.steps if not step.dependencies}
    assert set(made.last) == {step.no for step in made.steps if not step.successors}


@settings(deadline=None, max_examples=20)
@given(graphs(), st.randoms(use_true_random=False))
def test_the_order_of_steps_in_a_file_changes_numbers_only(steps, random):
    """The same graph, whatever comes first."""
    shuffled = list(steps)
    random.shuffle(shuffled)
    one, other = plan(*steps), plan(*shuffled)
    for step in one.steps:
        assert ids(one, sources(step)) == ids(other, sources(other.step(step.id)))
        assert step.skippable == other.step(step.id).skippable
