"""The plans and figures of `flowforge bench`."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any

import pytest

from flowforge.engine.starting import uuid7
from flowforge.errors import UsageError
from flowforge.model.documents import RunFilter
from flowforge.model.load import check
from flowforge_cli import accounting
from flowforge_cli.accounting import Meter, Usage, family_seconds
from flowforge_cli.benchmark import Benchmark, percentile
from flowforge_cli.benchmark_plan import Plan


def plan(shape: str, **changes: Any) -> Plan:
    """Return a plan."""
    return Plan.parse(shape, **{"runs": None, "workers": 1, "gate": None, "batch": 10, "in_flight": 100} | changes)


@pytest.mark.parametrize(
    ("shape", "runs", "steps"),
    [("linear:3", 10_000, 3), ("fanout:20", 1, 22), ("grid:4x5", 1, 20), ("grid:3x1", 1, 3), ("serial:50", 50, 3)],
)
def test_every_shape_is_a_valid_workflow(shape: str, runs: int, steps: int):
    """The numbers behind a shape mean steps, children, rows and columns, or runs."""
    one = plan(shape)
    assert (one.shape, one.runs) == (shape, runs)
    assert len(check(one.definition()).plan.steps) == steps
    assert check(one.definition()).plan.gate is None


def test_a_step_of_a_grid_waits_for_two_of_the_row_above():
    """The step above it, and that one's neighbour; the last column's neighbour is the first."""
    steps = {step["id"]: step["depends_on"] for step in plan("grid:3x3").definition()["steps"]}
    assert [steps[f"r0c{column}"] for column in range(3)] == [[], [], []]
    assert steps["r2c0"] == ["r1c0", "r1c1"]
    assert steps["r2c2"] == ["r1c0", "r1c2"]


def test_a_gate_is_measured_when_asked_for():
    """A gated workflow is another one, with versions of its own."""
    definition = plan("linear:2", runs=7, gate=5).definition()
    compiled = check(definition).plan
    assert compiled.gate is not None
    assert compiled.gate.limit == 5
    assert definition["name"] != plan("linear:2").definition()["name"]


@pytest.mark.parametrize(
    "shape", ["linear", "linear:0", "linear:x", "linear:2x3", "circle:3", "grid:4", "grid:0x3", "grid:1x2x3", ""]
)
def test_a_shape_nobody_knows_is_refused(shape: str):
    """The hint names them all."""
    with pytest.raises(UsageError, match="is not a shape") as caught:
        plan(shape)
    assert caught.value.hint == "linear:3, fanout:100, grid:10x10 or serial:500"


def test_large_runs_are_started_fewer_at_a_time():
    """A transaction stays of one size, and so does the warm-up, in which every worker has a part."""
    shapes = ("linear:3", "fanout:1000", "grid:200x100")
    assert [plan(shape, batch=None, in_flight=500).batch for shape in shapes] == [200, 20, 1]
    assert [plan(shape, workers=3).warm_up for shape in shapes] == [50, 3, 3]
    assert plan("linear:3", batch=7).batch == 7
    assert plan("linear:3", batch=7, in_flight=1).batch == 1


def test_percentiles_are_values_that_occurred():
    """Nearest rank, also for a single value."""
    values = [float(number) for number in range(1, 101)]
    assert [percentile(values, share) for share in (0.5, 0.95, 0.99, 1.0)] == [50, 95, 99, 100]
    assert percentile([7.0], 0.5) == 7.0


def test_a_family_is_a_process_with_its_descendants_and_its_dead():
    """Grandchildren count, strangers do not, and a head that is gone counts nothing."""
    processes = {
        1: Usage(0, own=100.0, buried=100.0, resident_mb=1.0),
        10: Usage(1, own=1.0, buried=2.0, resident_mb=1.0),
        11: Usage(10, own=4.0, buried=0.0, resident_mb=1.0),
        12: Usage(11, own=8.0, buried=0.0, resident_mb=1.0),
        20: Usage(1, own=16.0, buried=0.0, resident_mb=1.0),
    }
    assert family_seconds([10], processes) == 15.0
    assert family_seconds([10, 20, 99], processes) == 31.0


class FakeClient:
    """A client whose installation has runs of before."""

    def __init__(self) -> None:
        self.all = [SimpleNamespace(id=uuid7()) for _ in range(3)]

    def prepare(self, version: Any, value: Any) -> Any:
        self.all.append(SimpleNamespace(id=uuid7(), input=value))
        return SimpleNamespace(run_id=self.all[-1].id)

    async def runs(self, wanted: RunFilter) -> list[Any]:
        assert wanted.workflow == "bench-linear-2"
        return self.all[: -wanted.limit - 1 : -1]


async def test_the_measured_runs_are_the_newest_down_to_the_first():
    """Those of the warm-up, and of another measurement, are not among them."""
    client = FakeClient()
    bench = Benchmark(client, plan("linear:2", runs=4), lambda *_: None)  # type: ignore[arg-type]
    version: Any = SimpleNamespace(plan=SimpleNamespace(name="bench-linear-2"))
    for no in range(2):
        bench._prepare(version, no)
    assert [run.input for run in await bench._rows(version)] == [{"n": 1}, {"n": 0}]
    for no in range(2, 4):
        bench._prepare(version, no)
    assert [run.input for run in await bench._rows(version)] == [{"n": 3}, {"n": 2}, {"n": 1}, {"n": 0}]
    bench._workers.stop(0)


@pytest.mark.skipif(not accounting.available(), reason="the system does not tell what processes use")
def test_the_meter_reads_what_processes_have_used():
    """It never goes backwards."""
    meter = Meter({"me": (os.getpid(),)})
    first = meter.read()["me"]
    assert 0 < first <= meter.read()["me"]
    assert accounting.resident_mb([os.getpid()])[0] > 1
    assert accounting.usage(2**22 + 1) is None
