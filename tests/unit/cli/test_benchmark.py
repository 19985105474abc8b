"""The plans and figures of `flowforge bench`."""

from __future__ import annotations

import pytest

from flowforge.errors import UsageError
from flowforge.model.load import check
from flowforge_cli.benchmark import Plan, percentile


def plan(shape: str, runs: int | None = None, gate: int | None = None) -> Plan:
    """Return a plan."""
    return Plan.parse(shape, runs=runs, workers=1, gate=gate, batch=10, in_flight=100)


@pytest.mark.parametrize(
    ("shape", "runs", "steps"), [("linear:3", 10_000, 3), ("fanout:20", 1, 22), ("serial:50", 50, 3)]
)
def test_every_shape_is_a_valid_workflow(shape: str, runs: int, steps: int):
    """The number behind a shape means steps, children, or runs."""
    one = plan(shape)
    assert one.runs == runs
    assert len(check(one.definition()).plan.steps) == steps
    assert check(one.definition()).plan.gate is None


def test_a_gate_is_measured_when_asked_for():
    """A gated workflow is another one, with versions of its own."""
    definition = plan("linear:2", runs=7, gate=5).definition()
    compiled = check(definition).plan
    assert compiled.gate is not None
    assert compiled.gate.limit == 5
    assert definition["name"] != plan("linear:2").definition()["name"]


@pytest.mark.parametrize("shape", ["linear", "linear:0", "linear:x", "circle:3", ""])
def test_a_shape_nobody_knows_is_refused(shape: str):
    """The hint names them all."""
    with pytest.raises(UsageError, match="is not a shape") as caught:
        plan(shape)
    assert caught.value.hint == "linear:3, fanout:100 or serial:500"


def test_percentiles_are_values_that_occurred():
    """Nearest rank, also for a single value."""
    values = [float(number) for number in range(1, 101)]
    assert [percentile(values, share) for share in (0.5, 0.95, 0.99, 1.0)] == [50, 95, 99, 100]
    assert percentile([7.0], 0.5) == 7.0
