"""The errors of the stream library; nothing of the driver's own leaves this package.

A class's docstring is its default message. What is expected (an empty read, a group that has to be made
again, a busy group name) is a value or is handled here, and never an exception for the caller.
"""

from collections.abc import Sequence
from inspect import cleandoc


class StreamError(Exception):
    """Something went wrong between this process and the stream server."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or cleandoc(type(self).__doc__ or "").partition("\n")[0])


class StreamUnavailable(StreamError):
    """The stream server cannot be reached, does not answer in time, or cannot serve at the moment.

    Whether the command was executed is unknown: a publish may have been appended, a read may have left
    entries with its consumer. Publish again (readers tolerate duplicates), and call `read_own` before the
    next `read`.
    """


class StreamFull(StreamUnavailable):
    """The stream server has reached its memory limit and refuses writes."""


class StreamRefused(StreamError):
    """The stream server answered with an error; trying again as is will not help."""

    def __init__(self, message: str | None = None, *, code: str = "ERR") -> None:
        super().__init__(message)
        #: first word of the server's answer: `WRONGTYPE`, `NOPERM`, `NOGROUP`…
        self.code = code


class GroupMissing(StreamRefused):
    """The stream or its consumer group is gone: flushed, deleted, evicted, or never made."""


class PartlyPublished(StreamError):
    """Some entries of a batch were refused; the others are in their streams."""

    def __init__(self, entry_ids: Sequence[str | None], errors: Sequence[StreamError]) -> None:
        super().__init__(f"{len(errors)} of {len(entry_ids)} entries were refused: {errors[0]}")
        #: one per entry of the batch, in its order; None where the entry was refused
        self.entry_ids = tuple(entry_ids)
        #: the refusals, in the order of the batch
        self.errors = tuple(errors)


class StreamClosed(StreamError):
    """This side has closed the connection, possibly to stop a blocked read."""
