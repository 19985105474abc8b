"""What the driver raises becomes one of our errors, by what the caller can do about it."""

import pytest
from redis import exceptions as driver

from flowforge_streams import (
    GroupMissing,
    PartlyPublished,
    StreamClosed,
    StreamError,
    StreamFull,
    StreamRefused,
    StreamUnavailable,
)
from flowforge_streams.refusal import translated


def test_the_docstring_is_the_default_message():
    """Every error documents itself once, in one line."""
    assert str(StreamClosed()) == "This side has closed the connection, possibly to stop a blocked read."
    assert "\n" not in str(StreamUnavailable())
    assert str(StreamError("mine")) == "mine"


@pytest.mark.parametrize(
    ("raised", "expected", "code"),
    [
        (driver.ConnectionError("refused"), StreamUnavailable, None),
        (driver.TimeoutError("late"), StreamUnavailable, None),
        (TimeoutError(), StreamUnavailable, None),
        (driver.BusyLoadingError("loading"), StreamUnavailable, None),
        (driver.ReadOnlyError("replica", status_code="READONLY"), StreamUnavailable, None),
        (driver.ResponseError("MISCONF Errors writing to the AOF file"), StreamUnavailable, None),
        (driver.OutOfMemoryError("used memory > 'maxmemory'", status_code="OOM"), StreamFull, None),
        (driver.ResponseError("NOGROUP No such key"), GroupMissing, "NOGROUP"),
        (driver.ResponseError("UNBLOCKED the stream key no longer exists"), GroupMissing, "UNBLOCKED"),
        (driver.ResponseError("WRONGTYPE Operation against a key"), StreamRefused, "WRONGTYPE"),
        (driver.NoPermissionError("no", status_code="NOPERM"), StreamRefused, "NOPERM"),
        (driver.AuthenticationError("WRONGPASS"), StreamRefused, "NOAUTH"),
    ],
)
def test_errors_of_the_driver_are_sorted(raised, expected, code):
    """Unavailable passes by itself, refused does not, and a missing group is repaired."""
    error = translated(raised)
    assert type(error) is expected
    assert getattr(error, "code", None) == code


def test_a_wrong_password_over_a_unix_socket_is_recognised():
    """The driver hides it in the cause of a ConnectionError."""
    wrapped = driver.ConnectionError("hidden")
    wrapped.__cause__ = driver.AuthenticationError("invalid password")
    assert type(translated(wrapped)) is StreamRefused


def test_a_partly_published_batch_names_what_got_through():
    """The relay deletes those and keeps the others."""
    error = PartlyPublished(["1-1", None], [StreamRefused("no")])
    assert error.entry_ids == ("1-1", None)
    assert str(error) == "1 of 2 entries were refused: no"
