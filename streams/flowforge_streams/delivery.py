"""The values that go into and come out of streams.

Field values are bytes and stay bytes: what they mean is the business of whoever wrote them.
"""

from collections.abc import Mapping
from dataclasses import dataclass

#: Where a pass over pending entries starts, and the cursor that says it is over.
START = "0-0"


@dataclass(frozen=True, slots=True)
class Entry:
    """What to append, and to which stream."""

    #: key of the stream; it is made by the first append
    stream: str
    #: at least one; str is sent as UTF-8, int as decimal digits
    fields: Mapping[str, bytes | str | int]

    def __post_init__(self) -> None:
        if not self.fields:
            raise ValueError("a stream entry needs at least one field")


@dataclass(frozen=True, slots=True)
class Record:
    """One entry as a tail reads it: no group, no ack."""

    #: `<milliseconds>-<sequence>`, growing within a stream; read on after this one
    entry_id: str
    #: in the order they were written
    fields: Mapping[str, bytes]


@dataclass(slots=True)
class Delivery:
    """One entry handed to one consumer of a group; it stays pending until it is acked or buried.

    Not frozen, because there are thousands a second and freezing makes one three times as slow to make.

    There is no idle time here because no command of Redis 6.2 that returns bodies also returns it:
    `Group.pending` lists idle times and delivery counts for those who diagnose.
    """

    #: key of the stream it was read from
    stream: str
    #: `<milliseconds>-<sequence>`, unique within the stream
    entry_id: str
    #: names are text (bytes that are not UTF-8 appear as backslash escapes), values are raw
    fields: Mapping[str, bytes]
    #: 1 when the group saw the entry for the first time; None when it did not (the count is not told)
    delivered: int | None
    #: True when it was taken over from a consumer that let it lie
    reclaimed: bool


@dataclass(frozen=True, slots=True)
class Reclaimed:
    """What one step of a reclaim pass found."""

    #: give it to the next call; `0-0` when the pass has seen every pending entry
    cursor: str
    #: entries that now belong to the reclaiming consumer, their idle time reset
    deliveries: tuple[Delivery, ...]
    #: ids that were pending although their entry no longer exists; they are acked already
    deleted: tuple[str, ...]

    @property
    def done(self) -> bool:
        """Tell whether the pass is over."""
        return self.cursor == START
