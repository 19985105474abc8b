"""The JSON Schema for editors."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft7Validator

from flowforge.errors import DefinitionError
from flowforge.model.load import check
from flowforge.model.schema import json_schema

SCHEMA_004 = json.loads((Path(__file__).parent / "workflow_004.schema.json").read_text())
OPEN, STRICT, THEIRS = (
    Draft7Validator(json_schema()),
    Draft7Validator(json_schema(strict=True)),
    Draft7Validator(SCHEMA_004),
)

STEP = {"id": "step_a", "name": "A", "type": "http", "config": {"url": "https://x"}}


@pytest.mark.parametrize("strict", [False, True])
def test_the_schema_is_a_schema(strict):
    """Draft 7, as that of document 004, without dangling references."""
    schema = json_schema(strict=strict)
    Draft7Validator.check_schema(schema)
    text = json.dumps(schema)
    assert all(
        f'"#/definitions/{name}"' not in text or name in schema["definitions"] for name in ("Step", "Child", "Target")
    )
    Draft7Validator(schema).is_valid({"name": "abc", "steps": [STEP]})


def test_the_caller_may_change_its_copy():
    """The next caller gets a clean one."""
    json_schema()["properties"].clear()
    assert json_schema()["properties"]


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
OBJECT = st.dictionaries(
    st.sampled_from(["url", "steps", "branches", "condition", "duration", "retry", "timeout", "zz"]), ANY, max_size=3
)


def mapping(**optional):
    """A mapping with optional and unknown keys."""
    return st.fixed_dictionaries({}, optional={**optional, "unknown": ANY})


DOCUMENTS = st.fixed_dictionaries(
    {
        "name": st.text(min_size=3, max_size=100),
        "steps": st.lists(
            st.fixed_dictionaries(
                {
                    "id": st.from_regex(r"step_[a-z0-9]+", fullmatch=True),
                    "name": st.text(min_size=1, max_size=100),
                    "type": st.sampled_from(SCHEMA_004["definitions"]["step"]["properties"]["type"]["enum"]),
                    "config": OBJECT,
                },
                optional={
                    "depends_on": st.text(max_size=5),
                    "timeout": st.integers(1000, 300_000),
                    "retry": mapping(max_attempts=st.integers(1, 5), backoff=st.sampled_from(["fixed", "exponential"])),
                    "unknown": ANY,
                },
            ),
            min_size=1,
            max_size=2,
        ),
    },
    optional={
        "description": st.text(max_size=500),
        "version": st.integers(min_value=1),
        "triggers": st.lists(
            mapping(type=st.sampled_from(["manual", "schedule", "webhook", "event"]), config=OBJECT), max_size=2
        ),
        "error_handling": mapping(
            on_error=st.sampled_from(["fail", "continue", "retry"]),
            max_retries=st.integers(0, 5),
            retry_delay=st.integers(min_value=1000),
        ),
        "unknown": ANY,
    },
)


@settings(deadline=None, max_examples=100)
@given(DOCUMENTS)
def test_what_the_schema_of_document_004_accepts_is_accepted(document):
    """Ours is a superset."""
    assert THEIRS.is_valid(document)
    assert OPEN.is_valid(document), next(OPEN.iter_errors(document)).message


GOOD = [
    {"name": "abc", "steps": [STEP]},
    {"name": "abc", "steps": [{"id": "a", "type": "acme", "config": {"anything": 1}}], "concurrency": 5, "x-note": 1},
    {
        "name": "abc",
        "steps": [
            {
                "id": "a",
                "type": "delay",
                "config": {"duration": "5s"},
                "depends_on": [],
                "retry": {"max_retries": 2, "retry_on": "timeout"},
            }
        ],
    },
    {
        "name": "abc",
        "steps": [{"id": "a", "type": "parallel", "config": {"steps": [{"type": "delay", "config": {"duration": 1}}]}}],
    },
    {
        "name": "abc",
        "steps": [
            {"id": "a", "type": "conditional", "config": {"condition": "1", "branches": {"true": "b"}}},
            {"id": "b", "type": "delay", "config": {"duration": 1}},
        ],
    },
    {
        "name": "abc",
        "steps": [{"id": "a", "type": "conditional", "config": {"branches": [{"when": "1"}]}, "timeout": 5}],
        "concurrency": {"limit": None},
    },
]
BAD = [
    {"name": "abc", "steps": []},
    {"name": "abc", "steps": [{**STEP, "dependson": "b"}]},
    {"name": "abc", "steps": [{**STEP, "config": {}}]},
    {"name": "abc", "steps": [{**STEP, "config": {"url": 5}}]},
    {"name": "abc", "steps": [{**STEP, "retry": {"max_attempts": 0}}]},
    {"name": "abc", "steps": [{**STEP, "join": "some"}]},
    {"name": "abc", "steps": [{"id": "p", "type": "parallel", "config": {"steps": [{"type": "http", "config": {}}]}}]},
]


@pytest.mark.parametrize("document", GOOD)
def test_what_loads_is_valid_under_both_forms(document):
    """Neither form refuses what load takes."""
    check(document)
    assert OPEN.is_valid(document)
    assert STRICT.is_valid(document), next(STRICT.iter_errors(document)).message


@pytest.mark.parametrize("document", BAD)
def test_the_strict_form_flags_what_does_not_load(document):
    """An editor shows the mistake while it is typed."""
    with pytest.raises(DefinitionError):
        check(document)
    assert not STRICT.is_valid(document)
