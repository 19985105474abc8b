"""No wait is rounded to 0, which would mean for ever."""

from datetime import timedelta

import pytest

from flowforge_streams import waiting


@pytest.mark.parametrize(
    ("duration", "expected"),
    [
        (timedelta(microseconds=1), 1),
        (timedelta(milliseconds=1), 1),
        (timedelta(milliseconds=1, microseconds=1), 2),
        (timedelta(seconds=2), 2_000),
        (timedelta(0), 0),
        (timedelta(seconds=-1), 0),
    ],
)
def test_durations_are_rounded_up(duration, expected):
    """A short wait must not become 0, which means for ever."""
    assert waiting.milliseconds(duration) == expected


@pytest.mark.parametrize("seconds", [2e-7, 1e-12, 0.0004, 0.001])
def test_the_shortest_wait_blocks_for_a_millisecond(seconds):
    """What is left of a block may be less than a microsecond."""
    assert waiting.block_words(seconds) == ("BLOCK", 1)


@pytest.mark.parametrize("seconds", [0.0, -1.0])
def test_a_wait_that_is_over_does_not_block(seconds):
    """The word is left out."""
    assert waiting.block_words(seconds) == ()
