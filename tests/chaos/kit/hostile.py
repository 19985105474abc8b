"""Answers of servers that mean harm: they never end, grow without limit, or send their caller round in circles."""

from __future__ import annotations

import zlib
from contextlib import suppress
from dataclasses import dataclass
from itertools import count

from tests.acceptance.kit.sink import Handler

#: Where even a caller without any limit would have run out of memory.
_ENOUGH = 4_000


def _start(handler: Handler, **headers: str) -> None:
    handler.send_response(200)
    handler.send_header("Connection", "close")
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-").title(), value)
    handler.end_headers()
    handler.close_connection = True


def gzip_bomb(handler: Handler) -> None:
    """Send a little that becomes a lot."""
    _start(handler, content_encoding="gzip", content_type="application/json")
    squeeze = zlib.compressobj(9, zlib.DEFLATED, zlib.MAX_WBITS | 16)
    zeros = b"0" * 1_000_000
    with suppress(OSError):
        for _ in range(_ENOUGH):
            handler.wfile.write(squeeze.compress(zeros))


def endless(handler: Handler) -> None:
    """Send a body of many gigabytes."""
    _start(handler, content_type="text/plain")
    piece = b"x" * 1_000_000
    with suppress(OSError):
        for _ in range(_ENOUGH):
            handler.wfile.write(piece)


def endless_headers(handler: Handler) -> None:
    """Begin an answer that never gets to its body."""
    with suppress(OSError):
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
        for number in count():
            handler.wfile.write(f"x-{number}: {'y' * 1000}\r\n".encode())


@dataclass(frozen=True, slots=True)
class Circles:
    """Sends the caller to the same place again, which looks like another one each time."""

    url: str

    def __call__(self, handler: Handler) -> None:
        number = int(handler.path.rpartition("?")[2] or 0) + 1 if "?" in handler.path else 1
        handler.reply(302, {}, {"Location": f"{self.url}?{number}"})
