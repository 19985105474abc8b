"""The dispatch message: all that travels through Redis, and how a stranger's message is recognised.

It names an attempt to be made and carries no payload; what it says is checked against Postgres by the claim.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

from flowforge.model.ids import from_number
from flowforge_streams.delivery import Delivery, Entry

if TYPE_CHECKING:
    from flowforge.store.outbox import Row

VERSION = b"1"
_HEX = re.compile(rb"[0-9a-f]{32}").fullmatch
_LONGEST_VERSION = 4
#: The id of a delivery that comes straight from the outbox: there is no entry to acknowledge.
NO_ENTRY = "0-0"


@dataclass(slots=True)
class Message:
    """A dispatch as read from a stream; nobody changes one, and there is one for every claim."""

    run_id: UUID
    step: int
    dispatch_no: int
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class Malformed:
    """A message that is not ours to understand."""

    reason: str


def encode(stream: str, row: Row) -> Entry:
    """Make the stream entry of a dispatch."""
    fields: dict[str, bytes | str | int] = {
        "v": VERSION,
        "run": row.run_id.hex,
        "step": row.step,
        "dispatch_no": row.dispatch_no,
    }
    if row.traceparent is not None:
        fields["traceparent"] = row.traceparent
    return Entry(stream, fields)


def direct(stream: str, row: Row) -> Delivery:
    """Make the delivery of a dispatch that no stream has carried."""
    fields = {
        name: value if isinstance(value, bytes) else str(value).encode()
        for name, value in encode(stream, row).fields.items()
    }
    return Delivery(stream, NO_ENTRY, fields, delivered=1, reclaimed=False)


def is_newer(delivery: Delivery) -> bool:
    """Say whether a delivery was written by a release that came after this one."""
    version = delivery.fields.get("v", b"")
    return version.isdigit() and len(version) <= _LONGEST_VERSION and int(version) > int(VERSION)


def decode(delivery: Delivery) -> Message | Malformed:
    """Read a delivery; never raises, whatever somebody put into the stream."""
    fields = delivery.fields
    version = fields.get("v")
    if version != VERSION:
        return Malformed(f"unknown message version {(version or b'')[:20]!r}")
    try:
        run, step, dispatch_no = fields["run"], int(fields["step"]), int(fields["dispatch_no"])
        if not _HEX(run):
            return Malformed("malformed message: the run's id is not 32 hexadecimal digits")
        run_id = from_number(int(run, 16))
        traceparent = fields.get("traceparent")
        trace = None if traceparent is None else traceparent.decode("ascii")
    except (KeyError, ValueError) as error:
        return Malformed(f"malformed message: {type(error).__name__} {error}"[:200])
    # Postgres integers: anything else cannot be ours, and must not become an error of the whole claim.
    if not (0 <= step < 2**31 and 0 <= dispatch_no < 2**31):
        return Malformed("malformed message: number out of range")
    return Message(run_id, step, dispatch_no, trace)
