"""Dead letters: how an entry that nobody could use is written down, capped, and read back.

A dead letter is evidence, not work: it keeps the beginning of the raw fields and why it was buried, so one
hostile entry cannot fill the server.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from .delivery import Delivery

#: Dead letters kept per stream; the oldest make room.
DEAD_LIMIT = 10_000
_MAX_VALUE = 2_048  # bytes kept of a field's value
_MAX_NAME = 128  # characters kept of a field's name
_MAX_FIELDS = 32  # fields kept of an entry
_MAX_REASON = 1_024  # characters kept of the reason

#: Original field names carry a prefix, so that they cannot be taken for ours.
_PREFIX = "field:"


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One buried entry."""

    #: its id in the dead stream
    dead_id: str
    #: id it had in its own stream
    entry_id: str
    #: why it was buried, in the words of whoever did it
    reason: str
    #: the beginning of the entry's fields, raw
    fields: Mapping[str, bytes]
    #: True when something was cut off
    truncated: bool
    #: by the clock of the stream server
    buried_at: datetime


def dead_stream(stream: str) -> str:
    """Name the stream that keeps the dead letters of *stream*."""
    return f"{stream}:dead"


def write_letter(delivery: Delivery, reason: str) -> dict[str, bytes | str | int]:
    """Lay out the fields of a dead letter."""
    kept = list(delivery.fields.items())[:_MAX_FIELDS]
    cut = len(delivery.fields) > len(kept) or any(
        len(name) > _MAX_NAME or len(value) > _MAX_VALUE for name, value in kept
    )
    letter: dict[str, bytes | str | int] = {
        "entry_id": delivery.entry_id,
        "reason": reason[:_MAX_REASON].encode(errors="backslashreplace"),
        "truncated": int(cut),
    }
    # Two long names may be cut to the same text: the later one wins, as evidence that is enough.
    return letter | {_PREFIX + name[:_MAX_NAME]: value[:_MAX_VALUE] for name, value in kept}


def read_letter(dead_id: str, fields: Mapping[str, bytes]) -> DeadLetter:
    """Read back what `write_letter` laid out; the time of burial is in the id."""
    milliseconds = int(dead_id.partition("-")[0])
    return DeadLetter(
        dead_id=dead_id,
        entry_id=fields.get("entry_id", b"").decode(errors="replace"),
        reason=fields.get("reason", b"").decode(errors="replace"),
        fields={name.removeprefix(_PREFIX): value for name, value in fields.items() if name.startswith(_PREFIX)},
        truncated=fields.get("truncated") == b"1",
        buried_at=datetime.fromtimestamp(milliseconds / 1000, UTC),
    )
