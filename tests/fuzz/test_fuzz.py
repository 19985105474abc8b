"""Anything at all, through every door: refused in words or taken, never a traceback, a hang, or a wrong exit code.

`make test` tries a hundred cases of each, always the same; `make fuzz` ten thousand, new ones every time, and then
lets coverage guide ten thousand more (`python -m tests.fuzz.guided`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flowforge.model.load import load
from tests.fuzz import strategies, targets

CASES = int(os.environ.get("FUZZ_CASES") or 100)

fuzzed = settings(
    derandomize=CASES == 100,
    database=None,
    deadline=None,
    max_examples=CASES,
    suppress_health_check=list(HealthCheck),
    report_multiple_bugs=False,
)
pytestmark = pytest.mark.timeout(max(120, CASES))


@pytest.mark.parametrize("text", strategies.RIGHT)
def test_what_is_made_wrong_is_right_to_begin_with(text: str):
    """Otherwise everything would be refused at the door, and nothing behind it seen."""
    assert load(text, filename="right.yaml").plan.steps


@fuzzed
@given(strategies.definitions)
def test_definitions(text: str):
    targets.definition(text)


@fuzzed
@given(strategies.expressions)
def test_expressions(source: str):
    targets.expression(source)


@fuzzed
@given(
    strategies.schemas,
    strategies.json_values.map(lambda value: json.dumps(value, default=str)) | st.binary(max_size=60) | strategies.TEXT,
)
def test_inputs(schema: dict[str, Any], text: str | bytes):
    targets.run_input(schema, text)


@fuzzed
@given(strategies.fields)
def test_stream_entries(fields: dict[str, bytes]):
    targets.entry(fields)


@fuzzed
@given(strategies.commands, st.binary(max_size=40))
def test_command_lines(arguments: Sequence[str], stdin: bytes):
    targets.command(arguments, stdin)
