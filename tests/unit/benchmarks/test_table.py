"""Goals, ratios and the table that shows them."""

from __future__ import annotations

import pytest

from tests.benchmarks import table
from tests.benchmarks.figures import growth, number, percentiles, shown, spread
from tests.benchmarks.results import Goal, Row, better

FAST = Goal(5_000, higher=True, times={"dbos": 25, "celery": 12})
SHORT = Goal(5, times={"dbos": 1.0, "celery": 1.0})


@pytest.mark.parametrize(
    ("value", "peers", "met"),
    [
        (5_000, {"dbos": 200, "celery": 400}, True),
        (4_999, {"dbos": 1, "celery": 1}, False),
        (6_000, {"dbos": 241, "celery": 1}, False),
        (6_000, {"dbos": 1, "celery": 501}, False),
        (6_000, {"dbos": 240, "celery": 500}, True),
        (6_000, {"dbos": 1}, None),
        (4_000, {}, False),
        (None, {}, None),
    ],
)
def test_a_throughput_has_to_reach_its_bound_and_its_ratio_to_every_peer(
    value: float | None, peers: dict[str, float], met: bool | None
):
    """What was not measured cannot be met, but a bound that is missed is missed."""
    assert Row("linear", "linear:3", value, "runs/s", FAST, peers).met is met


@pytest.mark.parametrize(
    ("value", "peers", "met"),
    [
        (4.0, {"dbos": 7.0, "celery": 4.0}, True),
        (4.0, {"dbos": 7.0, "celery": 3.9}, False),
        (5.1, {"dbos": 7.0, "celery": 7.0}, False),
    ],
)
def test_a_time_has_to_be_below_its_bound_and_every_peers(value: float, peers: dict[str, float], met: bool):
    """Less is better here."""
    assert Row("serial", "serial:3", value, "ms", SHORT, peers).met is met


def test_a_figure_without_a_goal_is_neither_met_nor_missed():
    """It stands in the table for its own sake."""
    assert Row("start.p50", "start", 3.0, "ms").met is None


def test_ratios_say_how_many_times_better_whichever_way_is_better():
    """More runs, or less time."""
    assert better(6_000, 200, higher=True) == 30
    assert better(2.0, 8.0, higher=False) == 4
    assert better(1.0, 0.0, higher=True) == float("inf")
    row = Row("serial", "serial:3", 4.0, "ms", SHORT, {"dbos": 8.0})
    assert row.ratios == {"dbos": 2.0}
    assert row.document()["times_better"] == {"dbos": 2.0}


ROWS = [
    Row("linear", "linear:3", 6_200.0, "runs/s", FAST, {"dbos": 124.0, "celery": 310.0}, "2 workers"),
    Row("memory", "memory", 81.2, "MB", Goal(150)),
    Row("start.p50", "start, p50", 3.21, "ms"),
]


def test_the_table_shows_goals_peers_and_ratios_and_marks_what_is_in_doubt():
    """The wanted ratio stands behind the one that was reached; remarks stand below."""
    header, rule, linear, memory, start, empty, remark = table.text(ROWS, {"linear"})
    assert header.split() == ["measure", "FlowForge", "goal", "met", "DBOS", "Celery", "x", "DBOS", "x", "Celery"]
    assert set(rule) == {"-"}
    assert "6,200 runs/s ~" in linear
    assert "≥ 5,000 runs/s" in linear
    assert "yes" in linear
    assert linear.endswith("50 (≥ 25)  20 (≥ 12)")
    assert "≤ 150 MB" in memory
    assert memory.split()[-5:] == ["yes", "-", "-", "-", "-"]
    assert "3.21 ms" in start
    assert (empty, remark) == ("", "  linear:3: 2 workers")


def test_columns_of_peers_that_were_not_measured_are_left_out():
    """Also when a goal would have wanted them."""
    alone = [Row("linear", "linear:3", 6_200.0, "runs/s", FAST)]
    assert table.text(alone)[0].split() == ["measure", "FlowForge", "goal"]
    assert table.markdown(alone)[0] == "| measure | FlowForge | goal |"


def test_the_table_can_be_pasted_into_a_readme():
    """Figures stand right."""
    header, rule, linear, *_ = table.markdown(ROWS)
    assert header == "| measure | FlowForge | goal | met | DBOS | Celery | x DBOS | x Celery |"
    assert rule == "| --- | ---: | --- | --- | ---: | ---: | ---: | ---: |"
    assert linear == (
        "| linear:3 | 6,200 runs/s | ≥ 5,000 runs/s | yes | 124 runs/s | 310 runs/s | 50 (≥ 25) | 20 (≥ 12) |"
    )


def test_figures_have_about_three_digits():
    """Whole numbers are counts and stay as they are."""
    assert [number(value) for value in (0.0, 0.123, 1.234, 12.34, 1234.5, 60)] == [
        "0",
        "0.12",
        "1.23",
        "12.3",
        "1,234",
        "60",
    ]
    assert [shown(value, "%") for value in (0.0123, 0.86, 1.9)] == ["1.2 %", "86 %", "190 %"]
    assert shown(None, "ms") == "-"


def test_percentiles_spread_and_growth_describe_repeated_values():
    """The first quarter of memory samples is for warming up; a single value has no spread."""
    assert percentiles([float(no) for no in range(1, 101)]) == {"p50": 50, "p95": 95, "p99": 99}
    assert spread([90.0, 100.0, 110.0]) == pytest.approx(0.2)
    assert spread([100.0]) is None
    assert growth([10, 50, 60, 60, 60, 60, 63, 63]) == pytest.approx(63 / 60 - 1)
    assert growth([10, 100]) == 0.0
