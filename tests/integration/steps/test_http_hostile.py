"""The http step against servers that mean it no good (reliability.md, scenario 22)."""

from __future__ import annotations

import asyncio
import gzip
import socket
import tracemalloc
import zlib

import pytest

from flowforge.model.outcome import Failed
from tests.integration.steps.support import assignment, response
from tests.unit.steps.support import details_of

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


@pytest.mark.parametrize("where", ["head", "body", "redirect"])
async def test_a_server_that_drips_is_left_at_the_deadline(serve, http, where):
    """One byte now and then holds a call for ever where only silence is timed."""

    async def answer(request, writer):
        if where == "redirect" and request.target == "/":
            writer.write(response("", "302 Found", Location="/slow"))
            return
        writer.write(HEAD + b"Content-Length: 100000\r\n\r\n" if where == "body" else b"HTTP/1.1 200 ")
        while True:
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.01)

    server = await serve(answer)
    outcome = await http({}, assigned=assignment("http", {"url": server.url()}, timeout="300ms"))

    assert isinstance(outcome, Failed)
    assert outcome.error.code == "TIMEOUT"
    assert outcome.error.message == "timed out after 0.3 s"
    assert outcome.error.retryable


async def test_a_server_that_says_nothing_is_left_at_the_deadline(serve, http):
    """Also one that accepts and never answers."""
    server = await serve(lambda request, writer: asyncio.Event().wait())
    outcome = await http({}, assigned=assignment("http", {"url": server.url()}, timeout="200ms"))

    assert isinstance(outcome, Failed)
    assert outcome.error.code == "TIMEOUT"


async def test_a_body_of_ten_gigabytes_is_not_read(serve, http):
    """Reading stops at the cap; memory stays where it was."""
    sent = 0

    async def answer(request, writer):
        nonlocal sent
        writer.write(HEAD + b"Content-Length: 10000000000\r\n\r\n")
        while True:
            writer.write(b" " * 65536)
            await writer.drain()
            sent += 65536

    server = await serve(answer)
    tracemalloc.start()
    outcome = await http({"url": server.url()}, max_response_bytes=1_000_000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert isinstance(outcome, Failed)
    assert outcome.error.code == "TOO_LARGE"
    assert not outcome.error.retryable
    assert "1,000,000 bytes" in outcome.error.message
    assert sent < 100_000_000
    assert peak < 30_000_000


@pytest.mark.parametrize("layers", [1, 2])
async def test_a_gzip_bomb_is_stopped_by_what_it_becomes(serve, http, layers):
    """200 MB from 200 kB, or all of it from a kilobyte that was compressed twice."""
    bomb = _zeros(200_000_000)
    if layers == 2:
        bomb = gzip.compress(bomb)
    server = await serve(response(bomb, Content_Encoding=", ".join(["gzip"] * layers)))
    tracemalloc.start()
    outcome = await http({"url": server.url()})
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert isinstance(outcome, Failed)
    assert outcome.error.code == "TOO_LARGE"
    assert peak < 30_000_000


def _zeros(size: int) -> bytes:
    packer = zlib.compressobj(9, wbits=zlib.MAX_WBITS | 16)
    chunk = bytes(10_000_000)
    return b"".join(packer.compress(chunk) for _ in range(size // len(chunk))) + packer.flush()


async def test_a_step_can_ask_for_less_but_not_for_more(serve, http):
    """The installation's cap is the last word."""
    server = await serve(response(b"x" * 2000))

    less = await http({"url": server.url(), "max_bytes": 1000})
    more = await http({"url": server.url(), "max_bytes": 5000}, max_response_bytes=1500)
    assert isinstance(less, Failed)
    assert isinstance(more, Failed)
    assert "larger than 1,000 bytes" in less.error.message
    assert "larger than 1,500 bytes" in more.error.message


async def test_redirects_without_end_are_given_up(serve, http):
    """Five are followed."""
    server = await serve(response("", "302 Found", Location="/again"))
    outcome = await http({"url": server.url()})

    assert isinstance(outcome, Failed)
    assert outcome.error.code == "TOO_MANY_REDIRECTS"
    assert not outcome.error.retryable
    assert len(server.requests) == 6


@pytest.mark.parametrize("place", ["file:///etc/passwd", "gopher://127.0.0.1/", "http://[", "javascript:x"])
async def test_a_redirect_to_something_else_is_not_followed(serve, http, place):
    """Only http and https are."""
    server = await serve(response("", "302 Found", Location=place))
    outcome = await http({"url": server.url()})

    assert isinstance(outcome, Failed)
    assert outcome.error.code == "BAD_REDIRECT"


@pytest.mark.parametrize(
    "body", [b"NaN", b'{"a": 1e400}', b'{"a": "\\u0000"}', b'"\\ud800"', b"[" * 10_000 + b"]" * 10_000, b"{", b"\xff"]
)
async def test_json_that_cannot_be_stored_fails_the_step(serve, http, body):
    """Scenario 23: before it comes near a database."""
    server = await serve(response(body, Content_Type="application/json"))
    outcome = await http({"url": server.url()})

    assert isinstance(outcome, Failed)
    assert outcome.error.code == "INVALID_OUTPUT"
    assert not outcome.error.retryable


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nnope",
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * 200_000,
        b"",
    ],
)
async def test_a_server_that_breaks_the_protocol_is_a_network_failure(serve, http, answer):
    """The next attempt may find it in better health."""

    async def broken(request, writer):
        writer.write(answer)
        await writer.drain()
        writer.close()

    server = await serve(broken)
    outcome = await http({"url": server.url()})

    assert isinstance(outcome, Failed)
    assert outcome.error.code == "NETWORK"
    assert "network" in outcome.error.kinds
    assert outcome.error.retryable


async def test_a_connection_that_is_refused_is_a_network_failure(http):
    """Nobody listens there."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        outcome = await http({"url": f"http://127.0.0.1:{unused.getsockname()[1]}/"})

    assert isinstance(outcome, Failed)
    assert outcome.error.code == "NETWORK"


async def test_an_error_of_a_server_may_be_as_long_as_it_likes(serve, http):
    """Its status counts, and the beginning of its body is kept."""
    server = await serve(response(b"y" * 3_000_000, "500 Internal Server Error"))
    outcome = await http({"url": server.url()})

    assert isinstance(outcome, Failed)
    assert outcome.error.code == "HTTP_500"
    assert details_of(outcome)["body"] == "y" * 2000
