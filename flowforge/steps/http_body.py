"""Response bodies: decompressed and counted as they arrive, then turned into JSON values.

Never holds more than the cap and one chunk, whatever the other side sends: a gzip bomb is stopped by the bytes
it becomes, an endless empty stream by the bytes it is.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import AsyncIterable, Iterator
from dataclasses import dataclass

import httpcore

from flowforge.errors import FlowforgeError
from flowforge.model.json import Json, decode

#: Bytes that one call of the decompressor may give.
_PIECE = 64 * 1024
#: What the wire may carry beyond the cap: compression makes small bodies a little longer.
_SLACK = 64 * 1024
_ZLIB_HEADER = 2

_TEXT_TYPES = ("xml", "javascript", "ecmascript", "x-www-form-urlencoded", "yaml", "csv", "graphql", "x-ndjson")


class BodyTooLarge(FlowforgeError):
    """The response is larger than allowed."""


@dataclass(slots=True)
class Body:
    """What was read of a response."""

    data: bytes
    #: Whether reading stopped at the cap.
    truncated: bool = False


async def read(stream: AsyncIterable[bytes], encoding: str, max_bytes: int) -> Body:
    """Read a response's stream up to *max_bytes* of decompressed content."""
    decoders = [_Inflate(name) for name in reversed(_encodings(encoding))]
    content, raw = bytearray(), 0
    async for chunk in stream:
        raw += len(chunk)
        for piece in _through(chunk, decoders):
            content += piece
            if len(content) > max_bytes:
                return Body(bytes(content[:max_bytes]), truncated=True)
        if raw > max_bytes + _SLACK:
            return Body(bytes(content), truncated=True)
    if raw and any(not decoder.complete for decoder in decoders):
        raise httpcore.RemoteProtocolError("the compressed response ends too early")
    return Body(bytes(content))


def parse(body: bytes, content_type: str) -> Json:
    """Return a body as JSON value: parsed JSON, text, `{"base64": …}` for anything else, null when empty."""
    if not body:
        return None
    kind, charset = _split(content_type)
    if kind.endswith(("/json", "+json")):
        return decode(body)
    if not kind or kind.startswith("text/") or kind.rpartition("/")[2].rpartition("+")[2] in _TEXT_TYPES:
        text = _text(body, charset, strict=not kind)
        if text is not None:
            return text
    return {"base64": base64.b64encode(body).decode()}


def excerpt(body: bytes, content_type: str, limit: int = 2_000) -> str | None:
    """Return the beginning of a body for an error's details; None when it is not text."""
    text = _text(body[: 4 * limit], _split(content_type)[1], strict=False)
    return None if not text else text[:limit]


def _text(body: bytes, charset: str, *, strict: bool) -> str | None:
    """Decode text; None when it is none: Postgres stores no NUL."""
    try:
        text = body.decode(charset, "strict" if strict else "replace")
    except (LookupError, UnicodeDecodeError):
        if strict:
            return None
        text = body.decode("utf-8", "replace")
    return None if "\0" in text else text.removeprefix("\ufeff").encode("utf-8", "replace").decode()


def _split(content_type: str) -> tuple[str, str]:
    kind, *parameters = content_type.lower().split(";")
    for parameter in parameters:
        name, _, value = parameter.strip().partition("=")
        if name == "charset" and value:
            return kind.strip(), value.strip("\"' ")
    return kind.strip(), "utf-8"


def _encodings(header: str) -> list[str]:
    names = [name.strip().lower() for name in header.split(",")]
    return [name for name in names if name not in {"", "identity"}]


def _through(chunk: bytes, decoders: list[_Inflate]) -> Iterator[bytes]:
    """Send a chunk through all decoders, a piece at a time."""
    if not decoders:
        yield chunk
        return
    for piece in decoders[0].feed(chunk):
        yield from _through(piece, decoders[1:])


class _Inflate:
    """Decompresses gzip (also of several members) and deflate (with or without the zlib header)."""

    def __init__(self, name: str) -> None:
        if name not in {"gzip", "x-gzip", "deflate"}:
            raise httpcore.RemoteProtocolError(f"the response is compressed with '{name[:40]}', unasked")
        self._gzip = name != "deflate"
        self._inflater = zlib.decompressobj(zlib.MAX_WBITS | 16)
        # The first bytes of a deflate stream tell whether it has the header that it should have.
        self._head: bytes | None = None if self._gzip else b""

    @property
    def complete(self) -> bool:
        return self._inflater.eof

    def feed(self, data: bytes) -> Iterator[bytes]:
        if self._head is not None:
            data = self._head = self._head + data
            if len(data) < _ZLIB_HEADER:
                return
            headed = data[0] & 0x0F == zlib.DEFLATED and int.from_bytes(data[:_ZLIB_HEADER]) % 31 == 0
            self._inflater = zlib.decompressobj(zlib.MAX_WBITS if headed else -zlib.MAX_WBITS)
            self._head = None
        full = False
        while data or full:
            if self._inflater.eof:
                # Another gzip member, or padding that some servers add.
                if not self._gzip or not data.strip(b"\0"):
                    return
                self._inflater = zlib.decompressobj(zlib.MAX_WBITS | 16)
            piece = self._decompress(data)
            data = self._inflater.unconsumed_tail or self._inflater.unused_data
            # A full piece may leave more inside the decompressor, though all input is taken.
            full = len(piece) == _PIECE
            if piece:
                yield piece

    def _decompress(self, data: bytes) -> bytes:
        try:
            return self._inflater.decompress(data, _PIECE)
        except zlib.error as error:
            raise httpcore.RemoteProtocolError(f"the response cannot be decompressed: {error}") from None
