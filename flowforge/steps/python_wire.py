"""The frames between a worker and its child processes: kind, number of the call, length, payload.

A frame belongs to one call. What a function's leftover thread sends after its call is over carries an old number
and is ignored; what is no frame at all ends the child.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from dataclasses import dataclass
from enum import Enum

_HEADER = struct.Struct(">4scII")
#: Begins every frame, so that stray bytes on the socket are recognised at once.
_MAGIC = b"FFP1"

#: Bytes of a progress value.
MAX_PROGRESS = 16 * 1024
#: Bytes of an error document.
MAX_ERROR = 128 * 1024


class Kind(Enum):
    """What a frame says."""

    #: To the child: function, args, context.
    CALL = b"C"
    #: The call has arrived: from here on the function may have had its effects.
    BEGUN = b"B"
    #: A progress value.
    PROGRESS = b"P"
    #: The function's result; ends the call.
    RESULT = b"R"
    #: Why there is none, as the document of a StepError with `retry_after` in seconds; ends the call.
    ERROR = b"E"
    #: The call was not begun: source files have changed, a new child must take it.
    OUTDATED = b"O"
    #: The child leaves after this call.
    LEAVING = b"L"


class Garbage(Exception):
    """What arrived is not a frame."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One message."""

    kind: Kind
    #: Which call it belongs to, counted from 1.
    call: int
    payload: bytes = b""

    def pack(self) -> bytes:
        """Return the frame as bytes."""
        return _HEADER.pack(_MAGIC, self.kind.value, self.call, len(self.payload)) + self.payload


async def read(reader: asyncio.StreamReader, limit: int) -> Frame:
    """Read the next frame; raises Garbage, or IncompleteReadError at the end of the stream."""
    kind, call, size = _header(await reader.readexactly(_HEADER.size))
    if size > limit:
        raise Garbage(f"a frame of {size:,} bytes, the limit is {limit:,}")
    return Frame(kind, call, await reader.readexactly(size))


def receive(connection: socket.socket) -> Frame | None:
    """Read the next frame from a blocking socket; None at its end."""
    header = _exactly(connection, _HEADER.size)
    if header is None:
        return None
    kind, call, size = _header(header)
    payload = _exactly(connection, size)
    return None if payload is None else Frame(kind, call, payload)


def _header(data: bytes) -> tuple[Kind, int, int]:
    magic, kind, call, size = _HEADER.unpack(data)
    try:
        if magic == _MAGIC:
            return Kind(kind), call, size
    except ValueError:
        pass
    raise Garbage(f"{data[:20]!r} is not the beginning of a frame")


def _exactly(connection: socket.socket, size: int) -> bytes | None:
    received = bytearray()
    while len(received) < size:
        chunk = connection.recv(min(size - len(received), 1024 * 1024))
        if not chunk:
            return None
        received += chunk
    return bytes(received)
