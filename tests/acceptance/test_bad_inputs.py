"""Inputs and references that make no sense: exit code 2 or 3, one clear line, nothing stored."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.acceptance.kit.person import Operator

FLOW = """
    input_schema:
      type: object
      required: [amount]
      properties: {amount: {type: integer, minimum: 1}, note: {type: string}}
    steps: [{id: a, type: transform, config: {expression: "input.amount"}}]
"""

BAD = {
    "not JSON": ('{"amount": }', "not json"),
    "cut off": ('{"amount": 1', "not json"),
    "NaN": ('{"amount": NaN}', "nan"),
    "beyond a float": ('{"amount": 1e999}', "float"),
    "NUL": ('{"amount": 1, "note": "a\\u0000b"}', "nul"),
    "lone surrogate": ('{"amount": 1, "note": "\\ud800"}', "surrogate"),
    "required value missing": ("{}", "amount"),
    "value of the wrong type": ('{"amount": "much"}', "amount"),
    "value out of range": ('{"amount": 0}', "amount"),
    "not what the schema wants at all": ("[1, 2]", "object"),
    "nested without end": ("[" * 10_000 + "]" * 10_000, "deep"),
    "a deep value where anything goes": ('{"amount": 1, "more": ' + "[" * 300 + "]" * 300 + "}", "deep"),
}


@pytest.fixture
def flow(operator: Operator) -> str:
    """Return the name of a published workflow with an input_schema."""
    return operator.publish(operator.flow(FLOW))


@pytest.mark.parametrize(("text", "words"), BAD.values(), ids=BAD.keys())
def test_an_input_that_cannot_be_accepted_is_refused(operator: Operator, flow: str, text: str, words: str):
    """Exit code 2, and a word that says why."""
    stored = operator.stored()
    operator.shell.type("run", flow, "--input", "-", stdin=text, code=2).refused(words)
    assert operator.stored() == stored


def test_everything_that_is_wrong_with_an_input_is_told(operator: Operator, flow: str):
    """Two violations of the schema are both named."""
    result = operator.shell.type("run", flow, "--input", '{"amount": 0, "note": 7}', code=2)
    result.refused("amount", "note")


def test_an_input_of_50_megabytes_is_refused(operator: Operator, flow: str):
    """From a file and from stdin; the answer names the limit and does not repeat the input."""
    text = '{"amount": 1, "note": "' + "x" * 50_000_000 + '"}'
    path: Path = operator.folder / "large.json"
    path.write_text(text)
    stored = operator.stored()
    operator.shell.type("run", flow, "--input", f"@{path}", code=2).refused("1,048,576")
    operator.shell.type("run", flow, "--input", "-", stdin=text, code=2).refused("1,048,576")
    assert operator.stored() == stored


def test_an_input_file_that_is_not_there_or_not_text_is_refused(operator: Operator, flow: str):
    """Exit code 3 for what is not there, 2 for bytes that are no text."""
    operator.shell.type("run", flow, "--input", "@nowhere.json", code=3).refused("nowhere.json")
    path = operator.folder / "bytes.json"
    path.write_bytes(b'{"amount": 1, "note": "\xff"}')
    operator.shell.type("run", flow, "--input", f"@{path}", code=2).refused("utf-8")


@pytest.mark.usefixtures("worker")
def test_an_input_at_the_limit_is_accepted_and_arrives_whole(operator: Operator):
    """A megabyte of text passes through, escapes and astral characters included."""
    flow = operator.flow("""
        steps: [{id: size, type: transform, config: {expression: "[len(input.text), input.odd]"}}]
    """)
    path = operator.folder / "input.json"
    path.write_text('{"text": "' + "x" * 1_000_000 + '", "odd": "\\ud83d\\ude00 \\"quoted\\" \\u2028"}')
    document = operator.run(flow, "--input", f"@{path}")
    assert document["output"]["size"]["result"] == [1_000_000, '\U0001f600 "quoted" \u2028']


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("show", "0123456789abcdef"), 3, "0123456789abcdef"),
        (("show", "00000000-0000-7000-8000-000000000000"), 3, "00000000"),
        (("show", "xyz"), 2, "xyz"),
        (("show", "ab"), 2, "ab"),
        (("wait", "0123456789abcdef"), 3, "0123"),
        (("cancel", "0123456789abcdef"), 3, "0123"),
        (("retry", "0123456789abcdef"), 3, "0123"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_run_that_does_not_exist_is_not_found(operator: Operator, words: tuple[str, ...], code: int, says: str):
    """Exit code 3; what cannot be an id at all is a usage error."""
    operator.shell.type(*words, code=code).refused(says)


@pytest.mark.usefixtures("worker")
def test_the_beginning_of_an_id_that_two_runs_share_is_ambiguous(operator: Operator):
    """Exit code 2 with the ids that it may mean; the whole id and a unique suffix both work."""
    flow = operator.flow('steps: [{id: a, type: transform, config: {expression: "1"}}]\n')
    runs = operator.start_many(flow, [{}] * 3)
    # Version 7 ids begin with the time: runs of one moment share their first digits.
    operator.shell.type("show", str(runs[0])[:8], code=2).refused("several runs")
    assert operator.shell.type("show", str(runs[0]), "--json").document["id"] == str(runs[0])
    assert operator.shell.type("show", str(runs[0])[-12:], "--json").document["id"] == str(runs[0])


def test_a_setting_that_makes_no_sense_is_refused_with_its_source(operator: Operator):
    """Exit code 2, naming the variable."""
    operator.shell.type("ps", code=2, lease="soon").refused("FLOWFORGE_LEASE")
    operator.shell.type("ps", code=2, concurrency="0").refused("FLOWFORGE_CONCURRENCY")
