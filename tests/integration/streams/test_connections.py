"""Connections: replies belong to whoever asked, and nothing is left open."""

import asyncio
import subprocess
import sys
from datetime import timedelta

import pytest

from flowforge_streams import Entry, StreamRefused, connect


async def test_a_cancelled_call_gives_its_reply_to_nobody_else(server, stream):
    """After any number of cancellations, every call gets its own answer."""
    async with connect(server.url, connections=1) as log:
        tail = log.tail(stream)
        await log.publish([Entry(stream, {"n": 0})])
        for n in range(1, 20):
            cancelled = asyncio.create_task(log.epoch())
            for _ in range(n % 7):
                await asyncio.sleep(0)
            cancelled.cancel()
            await asyncio.gather(cancelled, return_exceptions=True)
            (entry_id,) = await log.publish([Entry(stream, {"n": n})])
            assert await tail.end() == entry_id


async def test_a_cancelled_read_leaves_its_group_usable(server, stream, eventually):
    """What the lost reply had in it is with the consumer still."""
    async with connect(server.url) as log:
        group = log.group(stream, "workers")
        await group.ensure()
        reading = asyncio.create_task(group.read("a", count=1, block=timedelta(minutes=10)))

        async def is_blocked():
            return server.admin.info("clients")["blocked_clients"] > 0

        await eventually(is_blocked)
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        (entry_id,) = await log.publish([Entry(stream, {"n": 1})])

        async def arrived():
            found = await group.read_own("a", count=1) or await group.read("a", count=1)
            return [delivery.entry_id for delivery in found] == [entry_id]

        await eventually(arrived)


async def test_calls_beyond_the_number_of_connections_wait_for_their_turn(server, stream):
    """A hundred at once over two connections all get their own answer."""
    async with connect(server.url, connections=2, client_name=stream.replace(":", "-")) as log:
        published = await asyncio.gather(*(log.publish([Entry(stream, {"n": n})]) for n in range(100)))
        assert len({entry_id for (entry_id,) in published}) == 100
        assert sum(one["name"] == stream.replace(":", "-") for one in server.admin.client_list()) <= 2


async def test_a_closed_log_leaves_no_connection_behind(server, stream, eventually):
    """Groups, tails and commands: the server sees them all go."""
    async with connect(server.url, client_name=stream.replace(":", "-")) as log:
        await log.group(stream, "workers").read("a", count=1)
        await log.tail(stream).read("0-0", count=1)
        assert sum(one["name"] == stream.replace(":", "-") for one in server.admin.client_list()) == 3

    async def all_gone():
        return not any(one["name"] == stream.replace(":", "-") for one in server.admin.client_list())

    await eventually(all_gone)


async def test_a_server_that_wants_a_password_refuses(own_server, stream):
    """Trying again would not help, so it is not called unavailable; the password goes into the URL."""
    own_server.admin.config_set("requirepass", "sesame")
    async with connect(own_server.url) as log:
        with pytest.raises(StreamRefused):
            await log.publish([Entry(stream, {"n": 1})])
    async with connect(f"{own_server.url}&password=wrong") as log:
        with pytest.raises(StreamRefused):
            await log.publish([Entry(stream, {"n": 1})])
    async with connect(f"{own_server.url}&password=sesame") as log:
        assert len(await log.publish([Entry(stream, {"n": 1})])) == 1


async def test_a_value_that_is_no_text_is_the_callers_mistake(server, stream):
    """It is a TypeError, nothing is sent, and the connection can be used again."""
    async with connect(server.url, connections=1) as log:
        with pytest.raises(TypeError):
            await log.publish([Entry(stream, {"n": 1}), Entry(stream, {"n": None})])  # type: ignore[dict-item]
        assert await log.tail(stream).end() == "0-0"


def test_the_library_loads_nothing_of_flowforge():
    """It is usable alone: redis and the standard library are all it needs."""
    code = "import sys, flowforge_streams; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"flowforge", "sqlalchemy", "psycopg", "pydantic"} & set(done.stdout.split())
