"""A run's input against its schema."""

import pytest

from flowforge.errors import InputError
from flowforge.model.inputs import check_schema, validate

SCHEMA = {
    "type": "object",
    "required": ["order_id", "amount"],
    "properties": {
        "amount": {"type": "number", "minimum": 0},
        "items": {"type": "array", "items": {"$ref": "#/$defs/item"}},
    },
    "$defs": {"item": {"type": "object", "required": ["sku"]}},
}


def test_a_good_input_passes():
    """And so does any without a schema."""
    validate(SCHEMA, {"order_id": 1, "amount": 5, "items": [{"sku": "x"}]})
    validate(None, "anything")


def test_every_violation_is_named_by_its_path():
    """In one error."""
    with pytest.raises(InputError) as caught:
        validate(SCHEMA, {"amount": -1, "items": [{"sku": 1}, {}]})
    message = str(caught.value)
    assert "input: 'order_id' is a required property" in message
    assert "input.amount: -1 is less than the minimum of 0" in message
    assert "input.items[1]: 'sku' is a required property" in message


def test_what_an_input_is_made_of_is_said():
    """What has to be there first; a schema without properties says nothing."""
    schema = {"type": "object", "required": ["b"], "properties": {"a": {}, "b": {}}}
    with pytest.raises(InputError) as refused:
        validate(schema, {})
    assert refused.value.hint == "it takes b, a (optional)"
    with pytest.raises(InputError) as refused:
        validate({"type": "object"}, [])
    assert refused.value.hint is None


def test_many_violations_are_counted():
    """The message stays readable."""
    with pytest.raises(InputError, match="and 90 more"):
        validate({"items": {"type": "string"}}, list(range(100)))


def test_a_schema_that_never_ends_is_an_error_and_no_crash():
    """A schema may refer to itself."""
    endless = {"$ref": "#"}
    assert check_schema(endless) == []
    with pytest.raises(InputError, match="never ends"):
        validate(endless, {})


def test_nothing_is_fetched():
    """References lead inside the schema or nowhere."""
    (finding,) = check_schema({"properties": {"a": {"$ref": "https://example.com/schema"}}})
    assert finding.path == ("input_schema", "properties", "a", "$ref")
    with pytest.raises(InputError, match="refers to what is not there"):
        validate({"$ref": "https://example.com/schema"}, 1)


@pytest.mark.parametrize(
    ("schema", "count"),
    [
        ({"type": "strin"}, 1),
        ({"minimum": "x"}, 1),
        (
            {"$schema": "http://json-schema.org/draft-07/schema#", "definitions": {"a": {}}, "$ref": "#/definitions/a"},
            0,
        ),
        ({"$defs": {"a/b": {}}, "$ref": "#/$defs/a~1b"}, 0),
        ({"allOf": [{}], "$ref": "#/allOf/0"}, 0),
        ({"$ref": "#/allOf/0"}, 1),
        ({"const": {"$ref": "https://data"}}, 0),
        ({}, 0),
    ],
)
def test_schemas_are_checked_when_they_are_published(schema, count):
    """Valid, and complete in themselves."""
    assert len(check_schema(schema)) == count
