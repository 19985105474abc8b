"""What was asked for, how much that is, and what is left of it."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.benchmarks import __main__ as program
from tests.benchmarks import arguments, children, report
from tests.benchmarks.catalogue import MEASURES
from tests.benchmarks.history_fill import Table
from tests.benchmarks.measures.fanout import SMALL, families
from tests.benchmarks.noise import Calibration, Conditions
from tests.benchmarks.progress import Progress
from tests.benchmarks.results import Curve, Failed, Found, Goal, Row
from tests.benchmarks.sizes import FULL, QUICK, SIZES, TINY, Sizes
from tests.benchmarks.trials import Bench, Trial

TITLES = {name: title for name, (title, _) in MEASURES.items()}
ALONE = ["--no-peers"]


def test_everything_is_measured_unless_told_otherwise():
    """At full size, which takes no excuse."""
    chosen = arguments.parse(ALONE, TITLES)
    assert chosen.measures == tuple(MEASURES)
    assert (chosen.sizes, chosen.peers, chosen.json) == (FULL, False, None)
    assert chosen.workers in (1, 2)
    assert FULL.why == ""
    assert QUICK.why
    assert TINY.why


def test_some_of_it_can_be_measured():
    """In the order that was asked for."""
    chosen = arguments.parse([*ALONE, "--only", "serial,linear", "--quick", "--workers", "3", "--json", "x"], TITLES)
    assert chosen.measures == ("serial", "linear")
    assert (chosen.sizes, chosen.workers, chosen.json) == (QUICK, 3, Path("x"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--only", "speed"], "there is no measure 'speed'; there are: linear, serial, "),
        (["--workers", "0"], "at least one is needed"),
        (["--size", "huge"], "invalid choice"),
    ],
)
def test_what_cannot_be_measured_is_refused(words: list[str], said: str, capsys: pytest.CaptureFixture[str]):
    """With what there is instead."""
    with pytest.raises(SystemExit):
        arguments.parse([*ALONE, *words], TITLES)
    assert said in capsys.readouterr().err


def test_peers_that_are_not_installed_are_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Before anything is measured."""
    monkeypatch.setattr(arguments, "find_spec", lambda name: None if name == "dbos" else object())
    with pytest.raises(SystemExit):
        arguments.parse([], TITLES)
    assert "not installed: dbos; pip install 'flowforge[bench]', or --no-peers" in capsys.readouterr().err


@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
def test_runs_of_all_sizes_have_as_many_steps_in_all_and_at_a_time(sizes: Sizes):
    """Only then does the cost of a step depend on the size alone; the one to compare with is always there."""
    for kind, family in families(sizes).items():
        steps = [size.steps for size in family]
        assert SMALL in steps, kind
        assert steps == sorted(steps), kind
        total = family[-1].steps * family[-1].runs
        assert all(0.75 * total <= size.steps * size.runs <= total for size in family), kind
        assert all(0 < size.in_flight <= size.runs for size in family), kind


def test_the_largest_runs_are_those_of_the_goals():
    """Ten thousand steps at once, two thousand in a row, fifty rows of two hundred."""
    assert [family[-1].shape for family in families(FULL).values()] == ["fanout:10000", "linear:2000", "grid:50x200"]


def test_history_is_copied_whatever_columns_it_has():
    """New ids, times moved into the past, transactions before all others; everything else as it was."""
    columns = {"run_id": "uuid", "seq": "integer", "at": "timestamp with time zone", "xid": "xid8", "events": "json"}
    copy = Table("run_events", columns).copy()
    assert copy == (
        'INSERT INTO run_events ("run_id", "seq", "at", "xid", "events") '
        'SELECT c.new, t."seq", t."at" + c.shift, \'3\'::xid8, t."events" '
        "FROM copies c JOIN run_events t ON t.run_id = c.old ORDER BY c.new"
    )
    assert "JOIN runs t ON t.id = c.old" in Table("runs", {"id": "uuid"}).copy()


def trial() -> Trial:
    """Return what a bench of a hundred runs found."""
    document = {
        "runs": 100,
        "steps": 3,
        "runs_per_s": 50.0,
        "steps_per_s": 150.0,
        "settings": {"warm_up": 50},
        "cpu_seconds": {"workers": 2.0, "client": 0.5, "postgres": 1.0, "streams": None},
    }
    return Trial(document, {"rows": 1500.0})


def test_a_trial_knows_what_its_runs_cost():
    """A server of somebody else's costs nothing that could be known."""
    one = trial()
    assert (one.steps, one.steps_per_s) == (300, 150.0)
    assert one.seconds() == 3.5
    assert one.seconds("workers", "client") == 2.5
    assert one.per_run("rows") == 10.0


class FakePlace:
    """Servers with settings."""

    def settings(self) -> dict[str, Any]:
        return {"postgres": {"fsync": "on"}, "valkey": {"appendonly": "yes"}}


class FakeProgress:
    """Some time has passed."""

    seconds = 61.04


class FakeBench:
    """What a report reads of a bench."""

    place, progress, sizes, workers = FakePlace(), FakeProgress(), TINY, 2
    trials = [{"measure": "linear", "side": "flowforge"}]  # noqa: RUF012
    settings = {"dbos": {"processes": 2}}  # noqa: RUF012
    failures = {"serial": "it ended with 1"}  # noqa: RUF012


@pytest.fixture
def made(tmp_path: Path) -> report.Report:
    """A report of one measure that was taken on a noisy machine, and of one that failed."""
    one = report.Report(tmp_path / "now", FakeBench(), {"cores": 2, "processor": "some"}, {"flowforge": "1"})  # type: ignore[arg-type]
    one.found["linear"] = Found(
        [Row("linear", "linear:3", 6_000.0, "runs/s", Goal(5_000, higher=True))],
        [Curve("workers", "linear:3", [(1.0, 3_000.0)])],
        {"linear:3": [6_000.0, 4_000.0]},
    )
    quiet = Calibration(20.0, 0.5)
    one.conditions["linear"] = Conditions(quiet, quiet, 0.0, 0.5, 0.0)
    return one


def test_a_report_is_written_as_data_and_as_a_table(made: report.Report, tmp_path: Path):
    """With the machine, the versions, and the settings of every side."""
    made.save(tmp_path / "copy.json")
    document = json.loads((made.folder / report.DATA).read_text())
    assert json.loads((tmp_path / "copy.json").read_text()) == document
    assert document["schema"] == "flowforge/benchmarks/v1"
    assert document["settings"].keys() == {"flowforge", "postgres", "valkey", "dbos"}
    (row,) = document["rows"]
    assert (row["value"], row["met"], row["goal"]["bound"]) == (6_000.0, True, 5_000)
    assert document["failures"] == {"serial": "it ended with 1"}
    assert document["trials"] == FakeBench.trials
    assert (made.folder / report.MARKDOWN).read_text().startswith("| measure | FlowForge | goal | met |")


def test_a_report_says_what_to_distrust_and_what_is_missing(made: report.Report):
    """Lines fit a terminal."""
    text = "\n".join(made.text())
    assert "6,000 runs/s ~" in text
    assert "~ distrust the figures of 'linear': other processes used 50% of the machine; repetitions" in text
    assert "not measured: 'serial': it ended with 1" in text
    assert "noise: 1 of 1 measures are in doubt (~)" in text
    assert TINY.why in text
    assert max(map(len, text.splitlines())) <= report.WIDTH


def test_a_quiet_machine_is_called_quiet(made: report.Report):
    """So that nobody has to conclude it from silence."""
    quiet = Calibration(20.0, 0.5)
    made.conditions["linear"] = Conditions(quiet, quiet, 0.0, 0.01, 0.0)
    made.found["linear"].repeated.clear()
    assert made.doubts == {}
    assert made.verdict() == "noise: the machine was quiet"


@pytest.fixture
def bench() -> Bench:
    """A bench whose servers nobody asks anything."""
    place: Any = SimpleNamespace(redis_url="unix://x", environment={}, settings=dict)
    return Bench(place, TINY, workers=1, peers=True, progress=Progress())


def test_a_peer_that_fails_takes_nothing_of_ours_with_it(bench: Bench, monkeypatch: pytest.MonkeyPatch):
    """Its figures are missing, and the reason is told."""

    def failing(*_: Any) -> Any:
        raise Failed("celery ended with 1")

    monkeypatch.setattr(children, "document", failing)
    bench.measure = "linear"
    assert bench.peer("celery", "linear", 10) is None
    assert bench.failures == {"linear, celery": "celery ended with 1"}


def test_a_measure_that_fails_does_not_keep_others_from_being_taken(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """What there is is shown and written."""

    def bad(_: Bench) -> Found:
        raise Failed("the worker is not there")

    measures = {"bad": ("fails", bad), "good": ("works", lambda _: Found([Row("good", "a figure", 1.0, "ms")]))}
    quiet = Calibration(20.0, 0.5)
    monkeypatch.setattr(program, "MEASURES", measures)
    monkeypatch.setattr(program, "_watched", lambda bench, measure: (Conditions(quiet, quiet, 0, 0, 0), measure(bench)))
    monkeypatch.setattr(program, "_described", lambda _: ({"cores": 2, "processor": "some"}, {"flowforge": "1"}))
    chosen = arguments.Arguments(("bad", "good"), TINY, peers=False, workers=1, results=tmp_path, json=None)
    program._run(bench, chosen)
    assert bench.failures == {"bad": "the worker is not there"}
    said = capsys.readouterr()
    assert "a figure" in said.out
    assert "not measured: 'bad': the worker is not there" in said.out
    (written,) = tmp_path.glob(f"*/{report.DATA}")
    assert [row["key"] for row in json.loads(written.read_text())["rows"]] == ["good"]
