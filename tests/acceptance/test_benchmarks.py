"""`make bench` and `make bench-model` as they are run, only smaller: what they say, never how fast anything was."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.support.once import made_once

ROOT = Path(__file__).resolve().parent.parent.parent
BENCH = [sys.executable, "-m", "tests.benchmarks", "--size", "tiny", "--no-peers"]
MODEL = [sys.executable, "-m", "tests.benchmarks.model", "--size", "tiny"]
CHOSEN = ("linear", "gate", "idle", "dashboard", "statements", "shapes", "history")
#: A hang guard: servers, workers and clients of a benchmark are more than one test, and share a busy machine.
pytestmark = [pytest.mark.thorough, pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the results of one small benchmark, as data and as it was printed beside them."""

    def measure(folder: Path) -> None:
        where = ["--results", str(folder / "results"), "--json", str(folder / "copy.json")]
        words = [*BENCH, "--only", ",".join(CHOSEN), *where]
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr
        (folder / "said.txt").write_text(done.stdout)

    return made_once(tmp_path_factory, "bench", measure)


@pytest.fixture(scope="module")
def measured(results: Path) -> tuple[dict[str, Any], str]:
    """What the benchmark left behind, as data, and what it printed."""
    return json.loads((results / "copy.json").read_text()), (results / "said.txt").read_text()


@pytest.mark.slow
def test_every_measure_is_taken_with_its_goal(measured: tuple[dict[str, Any], str]):
    """Each row says what it is compared with; nothing failed; machine, versions and settings stand beside it."""
    document, _ = measured
    assert document["schema"] == "flowforge/benchmarks/v1"
    assert (document["size"], document["failures"]) == ("tiny", {})
    assert set(document["conditions"]) == set(CHOSEN)
    rows = {row["key"]: row for row in document["rows"]}
    expected = {"linear", "linear.cpu.python", "linear.memory", "gate", "idle.cpu", "idle.statements", "history"}
    assert expected <= set(rows)
    for key in ("linear", "gate", "idle.cpu", "history"):
        assert rows[key]["goal"]["bound"] is not None
        assert isinstance(rows[key]["value"], int | float)
    assert document["settings"]["postgres"]["fsync"] == "on"
    assert {"flowforge", "python", "postgres", "valkey"} <= set(document["versions"])
    assert document["machine"]["cores"] >= 1


@pytest.mark.slow
def test_the_gate_is_proved_from_what_was_committed(measured: tuple[dict[str, Any], str]):
    """Every commit was looked at."""
    document, _ = measured
    (most,) = (row for row in document["rows"] if row["key"] == "gate.most")
    assert 0 < most["value"] <= 100
    assert most["met"] is True
    assert "in the order of commits" in most["detail"]


@pytest.mark.slow
def test_history_was_there_before_the_last_trial(measured: tuple[dict[str, Any], str]):
    """The curve goes from an empty database to a full one."""
    document, _ = measured
    (curve,) = (one for one in document["curves"] if one["picture"] == "history")
    assert [count for count, _ in curve["points"]] == [0, 500]


@pytest.mark.slow
def test_results_are_a_table_and_files(measured: tuple[dict[str, Any], str], results: Path):
    """The folder holds the same data, the table for a README, and pictures where they can be drawn."""
    document, said = measured
    (folder,) = (path for path in (results / "results").iterdir() if path.is_dir())
    assert json.loads((folder / "result.json").read_text()) == document
    assert (folder / "table.md").read_text().startswith("| measure | FlowForge | goal | met |")
    assert (folder / "history.png").exists() == (find_spec("matplotlib") is not None)
    header, _, first, *_ = said.splitlines()
    assert header.split() == ["measure", "FlowForge", "goal", "met"]
    assert first.startswith("linear:3, 60 runs")
    assert "size tiny: " in said
    assert "noise: " in said


@pytest.mark.slow
def test_the_model_is_made_of_the_newest_result(measured: tuple[dict[str, Any], str], results: Path):
    """Nothing has to be measured again."""
    words = ["--results", str(results / "results"), "--rates", "5000,50000", "--json"]
    done = subprocess.run([*MODEL, *words], cwd=ROOT, capture_output=True, text=True, timeout=100, check=True)
    assert "measuring" not in done.stderr
    document = json.loads(done.stdout)
    assert document["schema"] == "flowforge/benchmark-model/v1"
    few, many = document["needs"]
    assert (few["runs_per_s"], many["runs_per_s"]) == (5_000, 50_000)
    assert many["wal_mb_per_s"] == pytest.approx(10 * few["wal_mb_per_s"])
    assert len(document["limits"]) == 3


@contextmanager
def begun(*words: str) -> Iterator[subprocess.Popen[str]]:
    """Start a benchmark; it is gone afterwards."""
    with subprocess.Popen([*BENCH, *words], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as one:
        try:
            yield one
        finally:
            one.terminate()


@pytest.mark.slow
def test_an_interruption_leaves_nothing_behind(tmp_path: Path):
    """Ctrl-C while something is measured: servers and workers are stopped, and the home is removed."""
    with begun("--only", "linear", "--results", str(tmp_path)) as process:
        assert process.stderr is not None
        lines = iter(process.stderr.readline, "")
        home = Path(next(line for line in lines if "the servers are up in" in line).split()[-1])
        assert home.is_dir()
        next(line for line in lines if "== linear" in line)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=100)
    assert process.returncode == 130
    assert "interrupted; servers and workers are stopped" in said
    assert not home.parent.exists()
