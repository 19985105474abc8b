"""The filter language and the order of the list of runs."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from flowforge.model.filter import FilterError
from flowforge_tui.runs.book import RunBook
from flowforge_tui.runs.order import BY_KEY
from flowforge_tui.runs.query import parse
from tests.support.overviews import NOW, error, run_id, several, summary


def numbers(text: str) -> list[int]:
    """Return the numbers of the runs that a filter lets through, newest first."""
    book = RunBook(100)
    book.take(several(), NOW)
    book.filter(parse(text, NOW), NOW)
    return [book.key(place).int & 0xFFFF for place in range(len(book))]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("state:failed", [40]),
        ("state:failed,done", [40, 10]),
        ("state:active", [80, 70, 60, 50, 30, 20]),
        ("!state:active", [90, 40, 10]),
        ("flow:etl", []),
        ("flow:etl*", [30]),
        ("workflow:*.approve", [60]),
        ("version:2", []),
        ("trigger:cron", [30]),
        ("label:region=eu", [30]),
        ("label.region=us", []),
        ("error:HTTP_503", [40]),
        ("error:HTTP", []),
        ("0000005a", [90]),
        ("region eu", [30]),
        ("since:4m", [90, 80, 70, 60]),
        ("until:4m30s", [20, 10]),
        ("orders !503 !state:completed", [90, 80, 70, 50]),
        ("", [90, 80, 70, 60, 50, 40, 30, 20, 10]),
    ],
)
def test_a_filter_lets_through_what_it_says(text, expected):
    assert numbers(text) == expected


@pytest.mark.parametrize(
    ("text", "problem", "hint"),
    [
        ("flw:etl", "there is no filter 'flw' (did you mean 'flow'?)", "there are: "),
        ("state:faild", "'faild' is not a status of runs", "did you mean 'failed'?"),
        ("since:yesterday", "'yesterday' is not a time", None),
    ],
)
def test_a_wrong_filter_says_what_was_probably_meant(text, problem, hint):
    with pytest.raises(FilterError) as caught:
        parse(text, NOW)
    assert caught.value.problem.startswith(problem)
    assert hint is None or (caught.value.hint or "").startswith(hint)


@pytest.mark.parametrize("text", ["step:charge=failed", "input.customer=42", "replay:@last", "parent:00000028"])
def test_what_a_line_does_not_say_is_what_the_database_found(text):
    query = parse(f"{text} state:failed", NOW)
    assert query.elsewhere
    known = {run.id: run for run in several()}
    assert not any(query.matches(run) for run in known.values())
    answered = replace(query, found=frozenset({run_id(40), run_id(30)}))
    assert [run.id for run in known.values() if answered.matches(run)] == [run_id(40)]


def test_times_of_a_filter_go_on_with_the_time():
    query = parse("since:4m", NOW)
    (run,) = [one for one in several() if one.id == run_id(60)]
    assert query.matches(run)
    assert not query.again(NOW + timedelta(minutes=1)).matches(run)


def test_an_older_state_of_a_run_does_not_replace_a_newer_one():
    book = RunBook(10)
    assert book.take([summary(1, status="completed", seq=9)], NOW)
    assert not book.take([summary(1, seq=8)], NOW)
    assert book.get(run_id(1)) == summary(1, status="completed", seq=9)


def test_a_run_that_changes_goes_where_it_belongs_now():
    book = RunBook(10)
    book.take([summary(1), summary(2, status="failed", error=error())], NOW)
    book.sort(BY_KEY["state"], descending=False, now=NOW)
    assert book.find(run_id(1)) == 1
    book.take([summary(2, status="completed", seq=2)], NOW)
    assert book.find(run_id(1)) == 0
    assert [book.find(book.key(place)) for place in range(2)] == [0, 1]


def test_only_the_newest_are_kept_and_what_has_not_ended_stays_longest():
    book = RunBook(100)
    book.take([summary(1), *(summary(no, status="completed") for no in range(2, 150))], NOW)
    assert book.known <= 100
    assert book.get(run_id(1)) is not None
    assert book.get(run_id(149)) is not None
    assert book.get(run_id(2)) is None
    assert len(book) == book.known


def test_the_same_error_is_counted_where_it_happened_lately():
    failed = [summary(no, status="failed", error=error()) for no in (1, 2, 3)]
    other = summary(4, status="failed", error=error(step="reserve"))
    book = RunBook(10)
    book.take([*failed, other], NOW)
    assert book.alike(failed[0], NOW, timedelta(minutes=10)) == 3
    assert book.latest_failure() == other
