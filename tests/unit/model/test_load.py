"""Definitions in, plans out, and the form that is stored."""

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from flowforge.errors import DefinitionError
from flowforge.model.compile import compile_plan
from flowforge.model.definition import Step, Workflow
from flowforge.model.load import canonical, check, from_data, load

ORDERS = """
name: agent-research
description: An agent drafts, people approve, results fan out
version: 2
labels: {team: research}
secrets: [openai]
queue: agents
on_cancel: compensate
steps:
  - id: draft
    type: agent
    config: {agent_id: writer, input: {topic: "{{ input.topic }}"}, parameters: {temperature: 0.2}, tools: [search]}
    retry: {max_retries: 2, backoff: linear, delay: 500}
  - {id: wait, type: delay, depends_on: draft, config: {duration: 5000}}
  - {id: go, type: wait_signal, depends_on: wait, config: {name: go, timeout: 1h}}
  - id: pick
    type: conditional
    depends_on: go
    config:
      branches:
        - {when: "input.kind == 'a'", target_step: each}
        - {target_step: child}
  - {id: each, type: foreach, config: {items: "{{ input.rows }}", step: {type: http, config: {url: "{{ item }}"}}}}
  - {id: child, type: workflow, config: {name: other, input: {}}, compensate: {type: notification}}
  - id: fan
    type: parallel
    depends_on: [each, child]
    config:
      wait_for_all: false
      steps:
        - {type: http, config: {url: "https://a.example", query: {q: "{{ input.topic }}"}, expect: [200, 404]}}
        - {id: inner, type: parallel, config: {steps: [{type: python, config: {function: "a.b:c"}}]}}
output: {draft: "{{ steps.draft.output }}"}
"""


def test_yaml_json_and_data_give_the_same_workflow():
    """The form of a definition does not matter."""
    one = load(ORDERS, filename="a.yaml")
    stored = canonical(one.workflow)
    other = load(json.dumps(stored), filename="a.json")
    assert other.workflow == one.workflow == check(stored).workflow == from_data(stored).workflow
    assert one.plan.digest == other.plan.digest == from_data(stored).plan.digest == compile_plan(one.workflow).digest


def test_the_canonical_form_is_plain_and_stable():
    """No defaults, no aliases; what is stored digests as what was loaded."""
    stored = canonical(load(ORDERS).workflow)
    assert stored["steps"][0]["retry"] == {"max_attempts": 3, "backoff": "linear", "initial_delay": "500ms"}
    assert stored["steps"][1] == {"id": "wait", "type": "delay", "depends_on": ["draft"], "config": {"duration": 5000}}
    assert stored["steps"][6]["config"]["steps"][0]["id"] == "0"
    assert stored["steps"][0]["config"]["tools"] == ["search"]
    assert canonical(from_data(stored).workflow) == stored
    json.dumps(stored, allow_nan=False)


def test_the_digest_changes_with_the_meaning_only():
    """Order of keys, comments and spelled-out defaults are nothing; a new timeout is something."""
    text = "name: abc\nsteps: [{id: a, type: http, config: {url: 'https://x'}}]"
    same = (
        "# c\nsteps: [{type: http, id: a, name: a, config: {url: 'https://x', method: get}, depends_on: []}]\nname: abc"
    )
    assert load(text).plan.digest == load(same).plan.digest
    assert load(text).plan.digest != load(text + "\ntimeout: 5s").plan.digest


def test_a_value_that_is_not_json_cannot_be_compiled():
    """Definitions built in Python are stored like all others."""
    built = Workflow(name="abc", steps=[Step(id="a", type="acme", config={"at": datetime.now(UTC)})])
    with pytest.raises(DefinitionError, match="not JSON"):
        compile_plan(built)


DEEP: list[Any] = []
for _ in range(100_000):
    DEEP = [DEEP]


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        {},
        {"name": "abc", "steps": [{"id": "a", "type": "delay", "depends_on": "b", "config": {"duration": 1}}]},
        {"name": "abc", "steps": DEEP},
    ],
    ids=["nothing", "list", "empty", "unknown step", "deep"],
)
def test_stored_data_that_is_not_a_definition_is_an_error(data):
    """A damaged row does not crash a worker with something else."""
    with pytest.raises(DefinitionError):
        from_data(data)
    with pytest.raises(DefinitionError):
        check(data)


def loaded_modules(code, *names):
    """Run *code* in an interpreter of its own; return which of *names* it imported."""
    code = f"import sys\n{code}\nprint(*[name for name in {names!r} if name in sys.modules])"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()


def test_importing_the_loader_imports_nothing_heavy():
    """Commands that load no definition do not pay for it."""
    assert not loaded_modules("import flowforge.model.load", "pydantic", "ruamel.yaml", "jsonschema", "simpleeval")


def test_a_stored_definition_loads_without_yaml_and_schemas():
    """Workers compile what was checked when it was published."""
    data = {"name": "abc", "input_schema": {}, "steps": [{"id": "a", "type": "delay", "config": {"duration": 1}}]}
    code = f"from flowforge.model.load import from_data\nfrom_data({data!r})"
    assert loaded_modules(code, "pydantic", "ruamel.yaml", "jsonschema") == ["pydantic"]


# -- source document 004 ----------------------------------------------------------------------------------------

SCHEMA_004 = json.loads((Path(__file__).parent / "workflow_004.schema.json").read_text())

NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=3, max_size=100)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.sampled_from(["text", "{{ input.x }}"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["a", "b", "type"]), inner, max_size=2),
    max_leaves=4,
)
OBJECTS = st.dictionaries(st.sampled_from(["cron", "path", "x y", "retry"]), JSON, max_size=2)
CONFIGS = {
    "http": st.fixed_dictionaries(
        {"url": st.sampled_from(["https://x.example", "{{ input.url }}"])},
        optional={
            "method": st.sampled_from(["GET", "post"]),
            "headers": st.just({"a": "b"}),
            "body": JSON,
            "timeout": st.integers(1, 60),
        },
    ),
    "agent": st.fixed_dictionaries(
        {"agent_id": st.just("x"), "input": st.just("do")}, optional={"parameters": OBJECTS}
    ),
    "transform": st.fixed_dictionaries({"expression": st.just("input.x")}, optional={"output_key": st.just("k")}),
    "delay": st.fixed_dictionaries({"duration": st.integers(0, 10_000)}),
    "notification": OBJECTS.filter(lambda config: "retry" not in config),
    "parallel": st.just(
        {"steps": [{"name": "p", "type": "http", "config": {"url": "https://x"}}], "wait_for_all": True}
    ),
}
RETRY = st.fixed_dictionaries(
    {}, optional={"max_attempts": st.integers(1, 5), "backoff": st.sampled_from(["fixed", "exponential"])}
)


@st.composite
def documents_of_004(draw):
    """Definitions in the words of source document 004, made to be consistent."""
    ids = draw(st.lists(st.from_regex(r"step_[a-z0-9]{1,6}", fullmatch=True), min_size=1, max_size=5, unique=True))
    steps = []
    for no, step_id in enumerate(ids):
        kind = draw(st.sampled_from(["conditional", *CONFIGS]))
        if kind == "conditional" and no + 1 < len(ids):
            target = {"target_step": draw(st.sampled_from(ids[no + 1 :]))}
            config = {
                "condition": "input.x > 1",
                "branches": draw(st.sampled_from([{"true": target}, {"true": target, "false": {}}])),
            }
        else:
            kind = "delay" if kind == "conditional" else kind
            config = draw(CONFIGS[kind])
        step = {"id": step_id, "name": draw(st.text("ab é", min_size=1, max_size=9)), "type": kind, "config": config}
        if no and draw(st.booleans()):
            step["depends_on"] = draw(st.sampled_from(ids[:no]))
        if draw(st.booleans()):
            step["timeout"] = draw(st.integers(1_000, 300_000) | st.just(5000.0))
            step["retry"] = draw(RETRY)
        steps.append(step)
    trigger = st.fixed_dictionaries(
        {}, optional={"type": st.sampled_from(["manual", "schedule", "webhook", "event"]), "config": OBJECTS}
    )
    handling = st.fixed_dictionaries(
        {},
        optional={
            "on_error": st.sampled_from(["fail", "continue", "retry"]),
            "max_retries": st.integers(0, 5),
            "retry_delay": st.integers(1000, 9999),
        },
    )
    more = st.fixed_dictionaries(
        {},
        optional={
            "description": st.text("ab", max_size=500),
            "version": st.integers(1, 9) | st.just(2.0),
            "triggers": st.lists(trigger, max_size=2),
            "error_handling": handling,
        },
    )
    return {"name": draw(NAMES), "steps": steps, **draw(more)}


@settings(deadline=None, max_examples=80)
@given(documents_of_004())
def test_every_consistent_definition_of_document_004_loads(document):
    """The schema of the source document accepts it, so do we, and it survives being stored."""
    from jsonschema import Draft7Validator

    assume(Draft7Validator(SCHEMA_004).is_valid(document))
    loaded = load(json.dumps(document), filename="a.json")
    assert from_data(canonical(loaded.workflow)).plan.digest == loaded.plan.digest
