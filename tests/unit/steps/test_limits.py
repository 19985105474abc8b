"""What may be stored."""

from __future__ import annotations

from datetime import timedelta

import pytest

from flowforge.model.json import encode
from flowforge.model.outcome import Cancelled, Completed, Failed, Released, StepError, Waiting
from flowforge.steps.limits import MAX_DETAILS, presentable, scrub, storable


def _deep(levels):
    value: list[object] = []
    for _ in range(levels):
        value = [value]
    return value


def test_an_output_comes_with_its_text():
    """Whoever stores it need not encode it again."""
    assert storable(Completed({"a": [1, "ü"]})) == (Completed({"a": [1, "ü"]}), '{"a":[1,"ü"]}')
    assert storable(Waiting(timedelta(1), {})) == (Waiting(timedelta(1), {}), "{}")


@pytest.mark.parametrize("outcome", [Cancelled(), Released()])
def test_other_outcomes_pass(outcome):
    """They carry nothing."""
    assert storable(outcome) == (outcome, None)


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), {"a": "\0"}, {"\0": 1}, "\ud800", _deep(10_000), {"a": object()}, {1, 2}]
)
def test_an_output_that_a_database_refuses_fails_the_step(value):
    """Scenario 23: a failure of the step, never a run that hangs."""
    outcome, text = storable(Completed(value))

    assert text is None
    assert isinstance(outcome, Failed)
    assert outcome.error.code == "INVALID_OUTPUT"
    assert not outcome.error.retryable


def test_an_output_beyond_the_limit_fails_the_step():
    """Scenario 23: 50 MB of JSON."""
    outcome, _ = storable(Completed("x" * 50_000_000))

    assert isinstance(outcome, Failed)
    assert outcome.error.code == "TOO_LARGE"
    assert "50,000,002 bytes" in outcome.error.message
    assert outcome.error.hint


@pytest.mark.parametrize(
    "details", ["\0\ud800", {"a": ["\0", float("nan")]}, {"x": _deep(10_000)}, {1: {2, 3}}, "y" * MAX_DETAILS * 2]
)
def test_an_error_can_always_be_stored(details):
    """Whatever texts a user's exception has."""
    error = StepError("\0", "bad \ud800" + "x" * 10_000, ("k\0",), hint="\0", details=details)
    shown = presentable(Failed(error, timedelta(1)))

    assert len(encode(shown.error.document())) <= MAX_DETAILS + 5_000
    assert shown.retry_after == timedelta(1)


def test_a_good_error_stays_as_it_is():
    """Not even a copy is made."""
    failed = Failed(StepError("X", "fine", details={"a": 1}))

    assert presentable(failed) is failed


def test_text_is_scrubbed_only_of_what_cannot_be_stored():
    """Line breaks, accents and emoji stay."""
    assert scrub("a\0b\n\tü😀") == "a\ufffdb\n\tü😀"
    assert scrub("\ud83d!") == "?!"
