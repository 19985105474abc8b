"""The cost model: lines through what was measured, and what follows from them."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks import model, report
from tests.benchmarks.model_fit import Assumptions, Cost, Point, alone, fit, limits, missing, needs, points
from tests.benchmarks.results import Failed


def trial(measure: str, steps: int, **changes: Any) -> dict[str, Any]:
    """Return a trial in which a run costs 20 µs and 40 µs a step to the workers, and half of that to Postgres."""
    runs, cost = 1_000, (20 + 40 * steps) * 1e-6
    return {
        "side": "flowforge",
        "measure": measure,
        "shape": f"linear:{steps}",
        "steps": steps,
        "runs": runs,
        "settings": {"warm_up": 50},
        "cpu_seconds": {
            "workers": cost * runs,
            "postgres": cost / 2 * runs,
            "streams": 10e-6 * runs,
            "client": 5e-6 * runs,
        },
        "counted": {"wal_bytes": 1_000.0 * (runs + 50), "rows": 2.0 * steps * (runs + 50)},
    } | changes


TRIALS = [trial("linear", 3), trial("linear", 3), trial("shapes", 1), trial("shapes", 10)]


def test_a_cost_is_a_constant_and_a_share_for_every_step():
    """Counted are all runs, the warm-up's included; processor time is of the measured ones."""
    costs = fit(points(TRIALS))
    assert costs["workers"].constant == pytest.approx(20)
    assert costs["workers"].step == pytest.approx(40)
    assert costs["workers"].of(3) == pytest.approx(140)
    assert costs["wal_bytes"].of(7) == pytest.approx(1_000)
    assert costs["rows"].of(3) == pytest.approx(6)


def test_noise_never_makes_a_cost_negative():
    """A line that would start below nothing goes through it; one that would fall is flat."""
    rising = fit([Point(1, {"workers": 10.0}), Point(10, {"workers": 200.0})])["workers"]
    assert (rising.constant, rising.step > 0) == (0, True)
    falling = fit([Point(1, {"workers": 20.0}), Point(10, {"workers": 10.0})])["workers"]
    assert (falling.constant, falling.step) == (15.0, 0.0)
    assert fit([Point(3, {"workers": 120.0})])["workers"] == Cost(0.0, 40.0)


def test_only_ungated_chains_at_full_speed_say_what_a_run_costs():
    """Trials of other measures, and of peers, are left aside; one that counts statements says nothing about time."""
    others = [trial("gate", 3), trial("linear", 3, shape="fanout:3"), {"side": "dbos", "measure": "linear"}]
    assert points(others) == []
    (counted,) = points([trial("statements", 3, counted={"statements": 2_100.0})])
    assert counted.costs == {"statements": 2.0}


def test_what_is_missing_is_measured():
    """Chains of three, of other lengths, and the statements."""
    assert missing([]) == ["linear", "shapes", "statements"]
    assert missing(points(TRIALS)) == ["statements"]
    assert missing(points([*TRIALS, trial("statements", 3, counted={"statements": 2_100.0})])) == []


COSTS = {
    "workers": Cost(20, 40),
    "client": Cost(20, 0),
    "postgres": Cost(40, 20),
    "streams": Cost(5, 5),
    "wal_bytes": Cost(1_000, 1_000),
}


def test_needs_follow_from_costs():
    """Cores at the assumed utilisation, whole processes, servers of the assumed size."""
    need = needs(COSTS, 50_000, Assumptions(utilisation=0.5, postgres_cores=8, wal_mb_per_s=500))
    assert need["worker_cores"] == pytest.approx(14.0)
    assert need["worker_processes"] == 14
    assert need["postgres_cores"] == pytest.approx(10.0)
    assert need["postgres_servers"] == 2
    assert need["stream_shards"] == 2
    assert need["wal_mb_per_s"] == pytest.approx(200)
    assert need["statements_per_s"] == 0
    by_wal = needs(COSTS, 50_000, Assumptions(utilisation=0.5, postgres_cores=64, wal_mb_per_s=50))
    assert by_wal["postgres_servers"] == 4


def test_what_is_full_first_comes_first():
    """A part that costs nothing is never full."""
    found = limits(COSTS, Assumptions(utilisation=0.5, postgres_cores=4, wal_mb_per_s=100))
    assert [round(one.runs_per_s) for one in found] == [20_000, 25_000, 25_000]
    assert found[0].part == "one Postgres of 4 cores"
    free = limits({"postgres": Cost(100, 0)}, Assumptions(postgres_cores=2))
    assert free[0].part == "one Postgres of 2 cores"
    assert free[-1].runs_per_s == math.inf
    assert alone(COSTS, 2, 3) == pytest.approx(2e6 / (140 + 20 + 100 + 20))


def test_the_model_is_data_and_text():
    """One column for each rate, one line for each need."""
    document = model.model(COSTS, [5_000, 50_000], Assumptions(), cores=2)
    assert document["schema"] == "flowforge/benchmark-model/v1"
    assert [needed["runs_per_s"] for needed in document["needs"]] == [5_000, 50_000]
    assert set(document["needs"][0]) == {"runs_per_s", *model.TITLES}
    text = "\n".join(model.text(document))
    assert "5,000 runs/s  50,000 runs/s" in text
    assert "what is full first" in text
    assert max(map(len, text.splitlines())) <= 120


def test_the_model_takes_the_newest_result_that_has_everything(tmp_path: Path):
    """Failing that, the newest; a file that is something else is refused."""
    assert model.newest(tmp_path) is None
    counted = trial("statements", 3, counted={"statements": 2_100.0})
    paths = [
        result(tmp_path / "2026-01-01", [*TRIALS, counted]),
        result(tmp_path / "2026-01-02", TRIALS),
        result(tmp_path / "2026-01-03", []),
    ]
    assert model.newest(tmp_path) == paths[0]
    paths[0].unlink()
    assert model.newest(tmp_path) == paths[2]
    paths[1].write_text("{}")
    with pytest.raises(Failed, match="is not a result of make bench"):
        model.newest(tmp_path)


def result(folder: Path, trials: list[dict[str, Any]]) -> Path:
    """Write a result of make bench."""
    folder.mkdir()
    path = folder / report.DATA
    path.write_text(json.dumps({"schema": report.SCHEMA, "trials": trials}))
    return path
