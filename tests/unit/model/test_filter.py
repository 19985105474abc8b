"""The filter language: what terms mean, how they add up, and what is said about those that mean nothing."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowforge.errors import UsageError
from flowforge.model import filter as language
from flowforge.model.documents import RunFilter
from flowforge.model.filter import FilterError, parse
from flowforge.model.status import RunStatus, StepStatus

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)


def test_the_whole_language_in_one_line():
    """Every term adds a condition, and all have to hold."""
    text = "state:failed flow:etl since:1h label.team=a error:HTTP_503 step:charge=failed input.customer=42 word !text"
    assert parse(text, NOW) == RunFilter(
        statuses=(RunStatus.FAILED,),
        workflow="etl",
        since=NOW - timedelta(hours=1),
        labels=(("team", "a"),),
        error="HTTP_503",
        steps=(("charge", StepStatus.FAILED),),
        fields=(("input.customer", "42"),),
        words=("word",),
        without=("text",),
    )


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("status:failed,running", "state:running state:failed,running"),
        ("workflow:etl@3", "flow:etl version:3"),
        ("label:team=a", "label.team=a"),
        ('label:team="a b"', 'label.team="a b"'),
        ("STATE:Done", "state:completed"),
        ("!state:failed,cancelled", "!state:failed !state:cancelled"),
        ("", "   "),
        ("since:2w", "since:14d"),
        ("step:a=done", "step:a=completed"),
    ],
)
def test_some_things_can_be_written_in_two_ways(text, same):
    """With the same meaning; the order of statuses has none."""
    one, other = parse(text, NOW), parse(same, NOW)
    assert set(one.statuses) == set(other.statuses) or text == "status:failed,running"
    assert replace(one, statuses=()) == replace(other, statuses=())


def test_asking_twice_for_states_asks_for_both_at_once():
    """Terms narrow, never widen; what nothing can be is refused."""
    assert parse("state:failed,running state:active", NOW).statuses == (RunStatus.RUNNING,)
    with pytest.raises(FilterError, match="at the same time"):
        parse("state:failed state:active", NOW)
    with pytest.raises(FilterError, match="no state is left"):
        parse("!state:active !state:done,failed,cancelled", NOW)


def test_quotes_keep_blanks_and_signs_together():
    """Also those that are escaped; an exclamation mark inside is a letter."""
    assert parse(r'"two words" "a:b" "say \"hi\""', NOW).words == ("two words", "a:b", 'say "hi"')
    assert parse('!"two words"', NOW).without == ("two words",)
    assert parse('input.name="Ada Lovelace"', NOW).fields == (("input.name", "Ada Lovelace"),)


def test_a_filter_is_added_to_what_is_asked_for_already():
    """Options of a command and its --query are one filter."""
    start = RunFilter(workflow="etl", limit=7)
    assert parse("state:failed", NOW, start) == RunFilter(workflow="etl", limit=7, statuses=(RunStatus.FAILED,))


@pytest.mark.parametrize(
    ("text", "position", "length", "said"),
    [
        ("flow:etl stat:failed", 9, 11, "there is no filter 'stat' (did you mean 'state'?)"),
        ("state:faild", 0, 11, "'faild' is not a status of runs"),
        ("since:soon", 0, 10, "'soon' is not a time"),
        ("word  step:charge", 6, 11, "'charge' is not a step and its state"),
        ("step:charge=broken", 0, 18, "'broken' is not a state of steps"),
        ("version:x", 0, 9, "'x' is not the number of a version"),
        ("input.a..b=1", 0, 12, "'input.a..b' is not the path of a field"),
        ("state:", 0, 6, "'state:' needs a value"),
        ("!flow:etl", 0, 9, "only words and states can be excluded"),
        ("a !", 2, 1, "'!' needs a word behind it"),
        ("label:team", 0, 10, "'team' is not a label"),
        ("replay:xyz", 0, 10, "'xyz' is not a run"),
        ('a "b', 2, 2, "the quote is not closed"),
        ('flow:"b', 5, 2, "the quote is not closed"),
    ],
)
def test_errors_say_where_and_what_was_meant(text, position, length, said):
    """With a caret under the term."""
    with pytest.raises(FilterError) as caught:
        parse(text, NOW)
    assert (caught.value.position, caught.value.length) == (position, length)
    assert said in caught.value.problem
    assert caught.value.message.splitlines()[2] == "  " + " " * position + "^" * length


def test_suggestions_are_in_the_hint():
    """Of statuses as of steps' states."""
    with pytest.raises(FilterError) as caught:
        parse("state:faild", NOW)
    assert caught.value.hint == "did you mean 'failed'?"


def test_an_endless_filter_is_refused():
    """Before anything looks at it."""
    with pytest.raises(UsageError, match="at most"):
        parse("a " * 2_000, NOW)


@given(st.text(max_size=80))
def test_any_text_is_a_filter_or_a_usage_error(text):
    """Nothing else comes out, whatever is typed."""
    with suppress(UsageError):
        assert isinstance(parse(text, NOW), RunFilter)


@given(st.sampled_from(language.NAMES), st.text(max_size=20))
def test_any_value_of_a_term_is_understood_or_refused(name, value):
    """As a term of its own too, which is how options come in."""
    with suppress(ValueError):
        assert isinstance(language.term(RunFilter(), name, value, NOW), RunFilter)
