"""The list of scenarios and the tests of the fault suite know of each other."""

from __future__ import annotations

import re
from pathlib import Path

from tests.chaos.scenarios import DIFFERENCES, SCENARIOS

SUITE = Path(__file__).resolve().parents[2] / "chaos"


def test_each_of_the_forty_scenarios_has_a_test_and_each_test_a_scenario():
    """The number is in the name."""
    names = [name for path in SUITE.glob("test_*.py") for name in re.findall(r"def test_(\d\d)_", path.read_text())]
    assert sorted({int(name) for name in names}) == list(SCENARIOS) == list(range(1, 41))


def test_differences_are_of_scenarios():
    """In their order."""
    assert list(DIFFERENCES) == sorted(DIFFERENCES.keys() & SCENARIOS.keys())
