"""Frames between a worker and its children."""

from __future__ import annotations

import asyncio
import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowforge.steps.python_wire import Frame, Garbage, Kind, read, receive

FRAMES = st.builds(Frame, st.sampled_from(Kind), st.integers(0, 2**32 - 1), st.binary(max_size=1000))


async def parse(data: bytes, limit: int = 10_000) -> Frame:
    reader = asyncio.StreamReader()
    reader.feed_data(data)
    reader.feed_eof()
    return await read(reader, limit)


@given(FRAMES)
async def test_a_frame_arrives_as_it_was_sent(frame):
    """On either side."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(frame.pack())
        assert receive(theirs) == frame
    assert await parse(frame.pack()) == frame


@given(st.binary(min_size=13, max_size=100))
async def test_stray_bytes_are_no_frame(data):
    """They are recognised at their beginning."""
    with pytest.raises(Garbage):
        await parse(data)


async def test_a_frame_that_is_too_large_is_not_read():
    """Its length is believed before a byte of it is stored."""
    with pytest.raises(Garbage, match="4,000,000,000"):
        await parse(struct.pack(">4scII", b"FFP1", b"R", 1, 4_000_000_000))


async def test_half_a_frame_is_the_end():
    """The child died while it wrote."""
    with pytest.raises(asyncio.IncompleteReadError):
        await parse(Frame(Kind.RESULT, 1, b"12345").pack()[:-1])
    ours, theirs = socket.socketpair()
    with theirs:
        with ours:
            ours.sendall(Frame(Kind.RESULT, 1, b"12345").pack()[:-1])
        assert receive(theirs) is None
