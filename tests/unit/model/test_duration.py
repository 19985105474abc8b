"""Durations as people write them."""

from contextlib import suppress
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowforge.model import duration


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("500ms", 0.5), ("1s", 1), ("1.5h", 5400), ("2d", 172_800), ("1m30s", 90), ("1m 30s", 90), ("0s", 0),
        ("PT30S", 30), ("pt1h30m", 5400), ("P1DT2H", 93_600), ("P1W", 604_800), (1500, 1.5), (300_000, 300), (0, 0),
        (timedelta(seconds=3), 3),
    ],
)  # fmt: skip
def test_every_spelling_means_the_same_everywhere(written, seconds):
    """Text has units, a number is milliseconds, ISO 8601 works."""
    assert duration.parse(written) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "written",
    ["", "5", "5x", "s", "-5s", "1s2", "PT", "P", "P1Y", "P1DT", "five", -1, float("nan"), float("inf"), True, None,
     [], "9" * 200 + "s", "100000d", "١s"],
)  # fmt: skip
def test_what_is_no_duration_is_refused_with_a_sentence(written):
    """Every refusal is a ValueError that says something."""
    with pytest.raises(ValueError, match=r"duration|unit"):
        duration.parse(written)


def test_a_number_without_unit_is_told_what_to_write():
    """The commonest mistake gets the answer."""
    with pytest.raises(ValueError, match="write 30s, or 30ms"):
        duration.parse("30")


@given(st.integers(0, 10**11))
def test_the_text_form_means_the_same_duration(milliseconds):
    """Text is the inverse of parse, to the millisecond."""
    value = timedelta(milliseconds=milliseconds)
    assert duration.parse(duration.text(value)) == value


@given(st.text(max_size=30))
def test_no_text_breaks_the_parser(text):
    """Any text is a duration or a ValueError."""
    with suppress(ValueError):
        duration.parse(text)
