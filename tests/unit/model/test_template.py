"""Templates: values with expressions in their strings."""

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowforge.errors import ExpressionError
from flowforge.model import template
from flowforge.model.plan import References
from flowforge.model.template import TemplateError

CONTEXT = {"input": {"n": 5, "s": "x", "list": [1, "é"], "none": None, "yes": True, "f": 1.0}, "steps": {}}


def rendered(value):
    """Compile and render."""
    return template.compile(value).render(CONTEXT)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("{{ input.n }}", 5),
        ("${{ input.n }}", 5),
        ("{{input.list}}", [1, "é"]),
        ("{{ input.none }}", None),
        ("a {{ input.n }} b {{ input.s }}", "a 5 b x"),
        ("{{ input.n }}{{ input.n }}", "55"),
        (" {{ input.n }}", " 5"),
        ("$ {{ input.n }}", "$ 5"),
        ("Price: ${{ input.n }}", "Price: $5"),
        ("{{ input.yes }} {{ input.none }} {{ input.list }} {{ input.f }}.", 'true null [1, "é"] 1.0.'),
        ("{{ {'a': {'b': 1}} }}", {"a": {"b": 1}}),
        ("{{ '}}' }}", "}}"),
        ('literal {{ "{{" }} and }}', "literal {{ and }}"),
        ("{{ 'it\\'s' }}", "it's"),
        ("}} only { one }", "}} only { one }"),
        ({"a": ["{{ input.n }}", 1, {"b": "x{{ input.s }}"}], "c": None}, {"a": [5, 1, {"b": "xx"}], "c": None}),
    ],
)
def test_a_template_keeps_the_type_of_a_lone_expression_and_writes_out_the_rest(written, expected):
    """Containers become JSON, words are JSON's."""
    assert rendered(written) == expected


@pytest.mark.parametrize("value", ["text", 5, None, True, ["a", {"b": [1.5]}], {}, "{ {x} }"])
def test_a_value_without_expressions_is_returned_as_it_is(value):
    """Rendering a constant costs nothing, not even a copy."""
    compiled = template.compile(value)
    assert compiled.render({}) is value
    assert not compiled.expressions


@pytest.mark.parametrize(
    ("value", "path", "offset", "words"),
    [
        ("{{ input.n", (), 0, "never closed"),
        ("ab {{ 'x }}", (), 6, "quote"),
        ("{{ }}", (), 2, "empty"),
        ("a {{ foo() }}", (), 5, "no function"),
        ({"a": ["ok", "{{ inputs }}"]}, ("a", 1), 3, "did you mean 'input'"),
        ({"x": {"{{ input.n }}": 1}}, ("x", "{{ input.n }}"), None, "key"),
    ],
)
def test_a_bad_template_says_where(value, path, offset, words):
    """The path leads to the string, the offset into it."""
    with pytest.raises(TemplateError, match=words) as caught:
        template.compile(value)
    assert (caught.value.path, caught.value.offset) == (path, offset)


def test_the_references_of_all_expressions_are_joined():
    """Steps, secrets and input, over the whole value."""
    references = template.compile({"a": "{{ steps.x.output }}", "b": ["{{ secrets.k }} {{ input }}"]}).references
    assert references == References(input=True, steps=frozenset({"x"}), secrets=frozenset({"k"}))


def test_renamed_references_are_read_under_their_new_name():
    """A child's sibling has another name in the context."""
    compiled = template.compile("{{ steps.mail.output }}", names={"mail": "fan.mail"})
    assert compiled.render({"steps": {"fan.mail": {"output": 3}}}) == 3
    assert compiled.references.steps == {"fan.mail"}


def test_rendering_does_not_change_the_template():
    """The same template gives the same value again."""
    compiled = template.compile({"a": ["{{ input.n }}"]})
    assert compiled.render(CONTEXT) == compiled.render(CONTEXT) == {"a": [5]}
    assert compiled.value == {"a": ["{{ input.n }}"]}


def test_a_template_that_fails_quotes_its_expression():
    """The error is the expression's."""
    with pytest.raises(ExpressionError, match=r"no 'm', in: input\.m"):
        rendered("x {{ input.m }}")


def test_a_text_that_grows_without_bounds_is_refused():
    """The sum of what a template writes is capped."""
    with pytest.raises(ExpressionError, match="longer than"):
        rendered("{{ 'a' * 90000 }}" * 20)


@settings(deadline=None, max_examples=200)
@given(st.text(alphabet="{}$ '\"\\ainput.n", max_size=30))
def test_no_text_breaks_the_compiler(text):
    """Any string is a template or an ExpressionError."""
    with suppress(ExpressionError):
        template.compile(text).render(CONTEXT)


@given(st.text(max_size=30).filter(lambda text: "{{" not in text))
def test_text_without_double_braces_is_itself(text):
    """Nothing else is special."""
    assert rendered(text) == text
