"""Bars and axes: time as cells."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from flowforge.model.phase import Kind
from flowforge_tui.run.bars import Window, axis, bar
from flowforge_tui.run.intervals import Interval
from flowforge_tui.run.text import plain

START = datetime(2026, 1, 1, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def cells(*intervals: Interval, width: int = 10, now: float = 10, unicode: bool = True) -> str:
    window = Window(START, at(10))
    return "".join(span.text for span in bar(intervals, window, width, now=at(now), unicode=unicode))


def test_each_kind_of_time_has_a_mark_of_its_own() -> None:
    kinds = [Kind.QUEUE, Kind.EXECUTION, Kind.BACKOFF, Kind.TIMER, Kind.SIGNAL, Kind.CHILD, Kind.INFRASTRUCTURE]
    row = [Interval(kind, at(no), at(no + 1)) for no, kind in enumerate(kinds)]
    assert cells(*row) == "░█▒─═┄▚   "
    assert cells(*row, unicode=False) == ".=~-?:!   "


def test_a_failed_attempt_ends_in_a_cross() -> None:
    assert cells(Interval(Kind.EXECUTION, at(0), at(3), failed=True)) == "██x       "


def test_what_goes_on_reaches_to_now() -> None:
    one = Interval(Kind.EXECUTION, at(2), at(3), open=True)
    assert cells(one, now=6) == "  ████    "


def test_the_shortest_attempt_is_seen_beside_the_longest_wait() -> None:
    waits = Interval(Kind.QUEUE, at(0), at(5.5))
    ran = Interval(Kind.EXECUTION, at(5.5), at(5.501))
    assert cells(waits, ran) == "░░░░░█    "


def test_an_attempt_that_ends_with_the_window_is_inside_it() -> None:
    assert cells(Interval(Kind.EXECUTION, at(9), at(10), failed=True)) == "         x"
    assert cells(Interval(Kind.EXECUTION, at(10), at(10))) == "         █"


def test_what_is_outside_of_the_window_is_not_drawn() -> None:
    assert cells(Interval(Kind.EXECUTION, at(11), at(12))) == " " * 10
    assert cells(Interval(Kind.EXECUTION, at(-3), at(-1))) == " " * 10
    assert cells(Interval(Kind.EXECUTION, at(-3), at(2))) == "██        "


def test_a_bar_is_as_wide_as_it_was_asked_to_be() -> None:
    for width in (1, 7, 200):
        assert len(cells(Interval(Kind.EXECUTION, at(1), at(9)), width=width)) == width


def test_the_axis_counts_from_the_runs_beginning_in_round_steps() -> None:
    assert axis(Window(START, at(40)), START, 40).split() == ["0s", "10s", "20s", "30s"]
    assert axis(Window(at(3600), at(7200)), START, 60).split()[0] == "1h"
    assert axis(Window(START, at(0.02)), START, 40).split()[:2] == ["0s", "5ms"]


def test_the_axis_of_any_window_has_the_width_of_its_bars() -> None:
    for seconds in (0, 0.01, 3, 90, 86_400, 86_400 * 900):
        assert len(axis(Window(START, at(seconds)), START, 57)) == 57


def test_zooming_keeps_a_moment_where_it_is() -> None:
    window = Window(START, at(100)).zoomed(0.5, at(80))
    assert (window.start, window.end) == (at(40), at(90))


def test_a_window_shows_nothing_outside_of_the_run() -> None:
    whole = Window(START, at(100))
    assert Window(at(90), at(120)).within(whole) == Window(at(70), at(100))
    assert Window(at(-10), at(10)).within(whole) == Window(START, at(20))
    assert Window(at(-10), at(200)).within(whole) == whole


def test_spans_are_joined_so_that_a_bar_is_few_pieces() -> None:
    line = bar([Interval(Kind.EXECUTION, at(0), at(10))], Window(START, at(10)), 100, now=at(10))
    assert plain([line]) == "█" * 100
    assert len(line) == 1
