"""The expression language: what it computes, what it reads, and how it says no."""

import timeit
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowforge.errors import ExpressionError
from flowforge.model.expression import parse
from flowforge.model.plan import References
from flowforge.model.syntax import MAX_SOURCE

CONTEXT = {
    "input": {
        "amount": 1500,
        "name": " Ann ",
        "customer": None,
        "tags": ["a", "b"],
        "items": [{"price": 2.5, "qty": 2}, {"price": 1, "qty": 3}],
        "keys": 7,
        "a-b": 1,
        "é": 2,
    },
    "steps": {"reserve": {"output": {"status_code": 200, "body": {"id": 7}}, "error": None}, "skip": {"output": None}},
    "run": {"id": "0199", "attempt": 1},
}


def value(source, context=CONTEXT):
    """Evaluate *source*."""
    return parse(source).evaluate(context)


def failure(source, context=CONTEXT):
    """Return the error of *source*."""
    with pytest.raises(ExpressionError) as caught:
        parse(source).evaluate(context)
    return caught.value


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("input.amount * 1.2 > 1000 and steps.reserve.output.status_code == 200", True),
        ('{"total": sum([i.price * i.qty for i in input.items])}', {"total": 8.0}),
        ('"big" if input.amount > 1000 else "small"', "big"),
        ("sum(i.qty for i in input.items if i.qty > 2)", 3),
        ("input.keys", 7),
        ('input["a-b"] + input.é', 3),
        ("1 < 2 < 3 and not 3 < 2 < 1", True),
        ("true and not false and null is None", True),
        ("input.customer is null", True),
        ("[1, 2, 3][1:]", [2, 3]),
        ("input.name[1]", "A"),
        ("input.tags[-1]", "b"),
        ("(1, 2) == [1, 2]", True),
        ("'a' in input.tags and 'z' not in input.tags and 'amount' in input and 'n' in input.name", True),
        ("{k: v for k, v in items({'a': 1})}", {"a": 1}),
        ("[a + b for a in [1, 2] for b in [10, 20] if a != b]", [11, 21, 12, 22]),
        ("[x for x in input]", list(CONTEXT["input"])),
        ("7 // 2 + 7 % 4 + 2 ** 3 - -1", 15),
        ("'ab' * 2 + 'c'", "ababc"),
        ("[1] + [2] * 2", [1, 2, 2]),
        ("  \n 1 +\n  1 ", 2),
        ("input.amount or 5", 1500),
        ("input.customer or 'nobody'", "nobody"),
        ("item", 3),
        ("'#1'", "#1"),
    ],
)
def test_expressions_compute_json_over_json(source, expected):
    """Python's syntax, JSON's values."""
    assert value(source, {**CONTEXT, "item": 3}) == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("len(input.tags) + len('abc') + len({'a': 1})", 6),
        ("sum([1, 2]) + sum([1], 10)", 14),
        ("min(3, 1, 2) + max([1, 5])", 6),
        ("abs(-2) + round(2.6) + round(2.345, 1)", 7.3),
        ("sorted([3, 1, 2], reverse=True)", [3, 2, 1]),
        ("str(1) + str(true) + str(null) + str([1, 'x']) + str('s')", '1truenull[1, "x"]s'),
        ("int('12') + int(3.9) + float('1.5')", 16.5),
        ("[bool(''), bool('x'), any([0, 1]), all([0, 1])]", [False, True, True, False]),
        ("lower('A') + upper('b') + strip(input.name) + strip('xax', 'x')", "aBAnna"),
        ("split('a,b', ',') + split('a b')", ["a", "b", "a", "b"]),
        ("join(['a', 'b'], '-') + join('-', ['c', 'd']) + join(['e'])", "a-bc-de"),
        ("replace('aXa', 'X', '-')", "a-a"),
        (
            "[startswith('abc', 'a'), endswith('abc', 'c'), contains([1], 1), contains('abc', 'z')]",
            [True, True, True, False],
        ),
        ("keys({'a': 1}) + values({'a': 2}) + items({'a': 3})", ["a", 2, ["a", 3]]),
        ("range(3) + range(1, 7, 3) + zip([1, 2], ['a', 'b'])", [0, 1, 2, 1, 4, [1, "a"], [2, "b"]]),
    ],
)
def test_the_functions(source, expected):
    """Each listed function does what its name says."""
    assert value(source) == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("get(input.amount, 1)", 1500),
        ("get(input.missing)", None),
        ("get(input.missing.deeper.still, 'x')", "x"),
        ("get(steps.reserve.output.body.other, 0)", 0),
        ("get(steps.skip.output.body, 'skipped')", "skipped"),
        ("get(steps.unknown.output, 'skipped')", "skipped"),
        ("get(input.tags[9], 'none')", "none"),
        ("get(input.items[0].price, 0)", 2.5),
        ("get(input.amount, input.missing)", 1500),
    ],
)
def test_get_is_for_what_may_be_absent(source, expected):
    """Absence anywhere on the path gives the default, which is evaluated only then."""
    assert value(source) == expected


def test_get_does_not_hide_mistakes():
    """A number has no keys, and that is not absence."""
    assert "is a number" in str(failure("get(input.amount.x, 1)"))


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("input.amout", "'input' has no 'amout' (did you mean 'amount'?)"),
        ("input.customer.name", "'input.customer' is null, it has no 'name'"),
        ("input.tags.first", "'input.tags' is a list, it has no 'first'"),
        ("input.tags[5]", "has no item 5, it has 2"),
        ("input.tags['x']", "is a list"),
        ("input[0]", "a key of 'input' is text, not a number"),
        ("steps.gone.output", "'steps' has no 'gone'"),
        ("item.x", "there is no 'item' here"),
        ("1 / 0", "divides by zero"),
        ("1 + 'a'", "'+' does not work between a number and text"),
        ("'a' < 1", "does not work between"),
        ("true + 1", "'+' needs a number, not true"),
        ("-'a'", "a sign needs a number"),
        ("len(1)", "len() needs text, a list or a mapping"),
        ("len()", "wrong number of arguments"),
        ("int('x')", "invalid literal"),
        ("'%s' % 1", "'%' does not work"),
        ("{1: 2}", "a key is text, not a number"),
        ("[x for x in 5]", "'for' needs a list"),
        ("[a for a, b in [[1]]]", "cannot take"),
        ("sorted([1, 'a'])", "does not work between"),
    ],
)
def test_what_fails_says_why_and_quotes_the_expression(source, words):
    """The message names what is missing or wrong, and the expression it happened in."""
    error = failure(source)
    assert words in str(error)
    assert source in str(error)
    assert error.source == source


@pytest.mark.parametrize(
    ("source", "offset", "words"),
    [
        ("", 0, "empty"),
        ("   ", 0, "empty"),
        ("1 +", None, "not an expression"),
        ("(1", 0, "never closed"),
        ("1) + (2", None, ""),
        ("1 && 2", 2, "write 'and'"),
        ("a || b", 2, "write 'or'"),
        ("!input.x", 0, "write 'not'"),
        ("1 === 1", 2, "write '=='"),
        ("input.x = 1", None, "'=='"),
        ("x := 1", None, ""),
        ("(x := 1)", 1, "assign"),
        ("inputs.x", 0, "there is no 'inputs' (did you mean 'input'?)"),
        ("1 + foo(2)", 4, "no function 'foo'"),
        ("lenn([])", 0, "did you mean 'len'?"),
        ("len", 0, "write len(...)"),
        ("input.name.upper()", 0, "write upper(...)"),
        ("input.f(1)", 0, "no methods"),
        ("(len)(1)(2)", None, "only functions"),
        ("steps", 0, "by name"),
        ("steps[input.x].output", 6, "fixed name"),
        ("steps.a.body", 0, "did you mean 'output.body'?"),
        ("secrets", 0, "by name"),
        ("secrets['a' + 'b']", 8, "fixed name"),
        ("f'{input}'", 0, "f-strings"),
        ("lambda: 1", 0, "lambda"),
        ("{1, 2}", 0, "sets"),
        ("{{input.x}} > 1", 0, "no braces"),
        ("[*input.tags]", 1, "unpack"),
        ("{**input}", 3, "unpack"),
        ("1 & 2", 0, "write 'and'"),
        ("~1", 0, "not part"),
        ("b'x'", 0, "only text"),
        ("1j", 0, "only text"),
        ("...", 0, "only text"),
        ("1e999", 0, "beyond the range"),
        ("'\\ud800'", 0, "surrogate"),
        ("input.x is 5", 11, "write '=='"),
        ("[1 for input in []]", 7, "has a meaning already"),
        ("[1 for len in []]", 7, "has a meaning already"),
        ("[1 for input.x in []]", None, "needs a name"),
        ("sorted([1], key=len)", 16, "no argument by name"),
        ("get('input.x')", 4, "without quotes"),
        ("get()", 0, "a path and a default"),
        ("1 # one", 2, "no comments"),
        ("1; 2", None, ""),
        ("import os", None, ""),
        ("await x", None, ""),
        ("x" * (MAX_SOURCE + 1), 0, "longer than"),
        ("1" + "+1" * 1000, 0, "nested too deeply"),
        ("(" * 500 + "1" + ")" * 500, None, "nested too deeply"),
        ("-" * 3000 + "1", 0, ""),
        ("é.x", 0, "there is no 'é'"),
        ("'é' + foo", 6, "there is no 'foo'"),
        ("'ééé' +  \n inputs", 11, "there is no 'inputs'"),
    ],
)
def test_what_cannot_be_right_is_refused_when_it_is_parsed(source, offset, words):
    """With the offset of the fault, in characters of the source as written."""
    with pytest.raises(ExpressionError) as caught:
        parse(source)
    assert words in str(caught.value)
    assert offset is None or caught.value.offset == offset


def test_references_are_known_without_evaluating():
    """The engine loads what an expression mentions, and nothing else."""
    parsed = parse('steps.a.output.x + steps["fan.mail"].output + secrets.key + [i for i in input.items][0]')
    assert parsed.references == References(True, frozenset({"a", "fan.mail"}), frozenset({"key"}))
    assert parse("1 + 1").references == References()
    assert parse("get(steps.a.output.x, steps.b.error)").references.steps == {"a", "b"}
    assert parse("input['steps']").references.steps == set()
    assert parse("run.id").roots == {"run"}


def test_a_renamed_expression_reads_other_steps():
    """A child's `steps.mail` is `fan.mail` in the context; the source stays as written."""
    parsed = parse("steps.mail.output + steps['mail'].output + steps.other.output")
    renamed = parsed.renamed({"mail": "fan.mail", "other": "other"})
    assert renamed.references.steps == {"fan.mail", "other"}
    assert renamed.evaluate({"steps": {"fan.mail": {"output": 1}, "other": {"output": 3}}}) == 5
    assert renamed.source == parsed.source
    assert parsed.references.steps == {"mail", "other"}


def test_comprehension_names_do_not_leak():
    """Names bound in a comprehension end with it, also after an error."""
    with pytest.raises(ExpressionError, match="no 'x'"):
        parse("[x for x in [1]][0] + x")
    failure("[x.a for x in [1]]")
    assert value("[[y for y in x] for x in [[1], [2]]]") == [[1], [2]]


def test_a_parsed_expression_is_cached():
    """Equal sources share one tree."""
    assert parse("1 + 2") is parse("1 + 2")


def test_evaluation_does_not_change_the_context():
    """Values are read, never written."""
    context = {"input": {"a": [3, 1, 2]}}
    assert value("sorted(input.a)", context) == [1, 2, 3]
    assert context == {"input": {"a": [3, 1, 2]}}


def test_a_condition_costs_microseconds_however_large_the_context_is():
    """What is not touched costs nothing."""
    large = {**CONTEXT, "input": {"amount": 5, "rows": [{"n": no} for no in range(100_000)]}}
    parsed = parse("input.amount * 2 > 3 and input.amount != 7")
    assert timeit.timeit(lambda: parsed.evaluate(large), number=1000) / 1000 < 100e-6


WORDS = st.sampled_from(
    ["input", "steps", ".a", ".output", "[0]",
      "['x']", "(", ")", "[", "]", "{", "}", ",", ":", "1", "2.5", "'s'", " + ",
     " * ", " ** ", " % ", " in ", " not ", " and ", " or ", " if ", " else ", " for x in ", "x", "len", "range", "sum",
     "str", "get", "sorted", "join", "replace", "__class__", ".__globals__", "lambda", "**", "9999999", "true", "null",
     "==", " < ", " is ", "\n", "#", "f'{x}'", "\\", '"', "'", "é", "\0", "\ud800"]
)  # fmt: skip


@settings(deadline=None, max_examples=200)
@given(st.lists(WORDS, max_size=14).map("".join) | st.text(max_size=40))
def test_no_text_breaks_the_language(source):
    """Random text is a value or an ExpressionError, soon."""
    with suppress(ExpressionError):
        parse(source).evaluate(CONTEXT)


OPERANDS = st.sampled_from(
    ["input.amount", "input.tags", "input.name", "2", "'ab'", "[1, 2]", "null", "1e300", "99999999"]
)
OPERATORS = st.sampled_from(["+", "-", "*", "/", "//", "%", "**", "==", "<", "in", "and", "or"])


@settings(deadline=None, max_examples=80)
@given(
    st.recursive(OPERANDS, lambda inner: st.tuples(inner, OPERATORS, inner).map(lambda t: f"({t[0]} {t[1]} {t[2]})"))
)
def test_well_formed_expressions_end_in_json_or_an_error(source):
    """Arithmetic between anything and anything stays inside the limits."""
    try:
        result = parse(source).evaluate(CONTEXT)
    except ExpressionError:
        return
    assert result is None or isinstance(result, str | int | float | bool | list | dict)
