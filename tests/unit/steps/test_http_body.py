"""Reading responses: decompression within limits, and the JSON value of a body."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import AsyncIterator

import httpcore
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowforge.model.json import InvalidJson
from flowforge.steps.http_body import excerpt, parse, read


async def stream(data: bytes, size: int = 1000) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


def _raw_deflate(data):
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


PACKERS = {
    "": lambda data: data,
    "identity": lambda data: data,
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "deflate": zlib.compress,
    "Deflate": _raw_deflate,
    "gzip, deflate": lambda data: zlib.compress(gzip.compress(data)),
}


@pytest.mark.parametrize("encoding", PACKERS)
@pytest.mark.parametrize("size", [1, 100, 100_000])
async def test_a_body_is_decompressed(encoding, size):
    """However it arrives in pieces."""
    data = b"some text, some text, " * 30 + bytes(range(256))
    body = await read(stream(PACKERS[encoding](data), size), encoding, 10_000)

    assert body.data == data
    assert not body.truncated


@given(st.binary(max_size=300_000), st.integers(min_value=1, max_value=70_000))
async def test_a_body_larger_than_a_piece_arrives_whole(data, size):
    """Nothing stays behind inside the decompressor."""
    data = data * 3 + b"\0" * 200_000
    for encoding in ("gzip", "deflate"):
        body = await read(stream(PACKERS[encoding](data), size), encoding, len(data))
        assert body.data == data


async def test_gzip_may_come_in_several_members_and_with_padding():
    """As some servers send it."""
    data = gzip.compress(b"one ") + gzip.compress(b"two") + b"\0" * 10

    assert (await read(stream(data, 7), "gzip", 100)).data == b"one two"


@pytest.mark.parametrize("encoding", ["", "gzip", "deflate", "gzip, deflate"])
async def test_reading_stops_at_the_cap(encoding):
    """What was read until then is kept for error messages."""
    body = await read(stream(PACKERS[encoding](b"x" * 1_000_000)), encoding, 5_000)

    assert body.truncated
    assert body.data == b"x" * 5_000


async def test_a_stream_that_decompresses_to_nothing_ends_too():
    """Empty gzip members for ever would never reach a cap on content."""
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            chunk = gzip.compress(b"") * 50
            sent += len(chunk)
            yield chunk

    assert (await read(endless(), "gzip", 5_000)).truncated
    assert sent < 200_000


@pytest.mark.parametrize(
    ("data", "encoding"),
    [
        (b"not gzip at all", "gzip"),
        (gzip.compress(b"x" * 999, mtime=0)[:-9], "gzip"),
        (b"\xff\xff", "deflate"),
        (b"x", "br"),
    ],
)
async def test_a_body_that_cannot_be_decompressed_breaks_the_protocol(data, encoding):
    """It is a network failure: the next attempt may get a better answer."""
    with pytest.raises(httpcore.RemoteProtocolError):
        await read(stream(data), encoding, 1_000)


@pytest.mark.parametrize(
    ("data", "content_type", "value"),
    [
        (b"", "application/json", None),
        (b'{"a": [1, null]}', "application/json", {"a": [1, None]}),
        (b"\xef\xbb\xbf[1]", "application/json; charset=utf-8", [1]),
        (b'{"a": 1}', "application/problem+json", {"a": 1}),
        (b'{"a": 1}', "text/plain", '{"a": 1}'),
        ("größe".encode("latin-1"), "text/html; charset=ISO-8859-1", "größe"),
        ("größe".encode(), 'text/html; charset="nonsense"', "größe"),
        (b"\xff\xfeA\x00", "text/plain; charset=utf-16", "A"),
        (b"bad \xff byte", "text/plain", "bad \ufffd byte"),
        (b"<a/>", "application/xml", "<a/>"),
        (b"<a/>", "application/atom+xml", "<a/>"),
        (b"plain", "", "plain"),
        (b"\xff\x00", "", {"base64": "/wA="}),
        (b"nul \x00", "text/plain", {"base64": "bnVsIAA="}),
        (b"%PDF", "application/pdf", {"base64": "JVBERg=="}),
        (b"\x89PNG", "image/png", {"base64": "iVBORw=="}),
    ],
)
def test_a_body_becomes_a_json_value(data, content_type, value):
    """JSON is parsed, text stays text, everything else is base64."""
    assert parse(data, content_type) == value


@pytest.mark.parametrize("data", [b"{", b"NaN", b"[Infinity]", b"1e400", b"[" * 100_000, b"\xff", b"<html>"])
def test_bad_json_is_refused(data):
    """What says that it is JSON must be JSON."""
    with pytest.raises(InvalidJson):
        parse(data, "application/json")


def test_an_excerpt_is_short_text_or_nothing():
    """For the details of an error."""
    assert excerpt(b"x" * 100_000, "text/plain", 50) == "x" * 50
    assert excerpt(b"\x00\x01", "application/octet-stream") is None
    assert excerpt(b"", "") is None
