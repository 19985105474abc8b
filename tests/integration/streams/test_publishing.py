"""Publishing, and tailing what was published."""

import asyncio
from datetime import timedelta

import pytest

from flowforge_streams import START, Entry, PartlyPublished, StreamClosed, StreamRefused, connect

#: Longer than any test takes: a read that ends earlier was woken.
LONG = timedelta(minutes=10)


async def test_one_call_publishes_to_many_streams(log, stream):
    """Ids come back in the order of the entries, and each entry is in its own stream."""
    entries = [Entry(f"{stream}:{n % 3}", {"n": n}) for n in range(9)]
    ids = await log.publish(entries)
    for k in range(3):
        records = await log.tail(f"{stream}:{k}").read(START, count=10)
        assert [record.entry_id for record in records] == ids[k::3]
        assert [record.fields["n"] for record in records] == [str(n).encode() for n in range(k, 9, 3)]


async def test_publishing_nothing_is_no_call(log):
    """An empty batch is what a relay has most of the time."""
    assert await log.publish([]) == []


async def test_thousands_are_published_in_one_call(log, stream):
    """Ids are unique and grow."""
    ids = await log.publish([Entry(stream, {"n": n, "text": "x" * 50}) for n in range(3_000)])
    numbers = [tuple(map(int, entry_id.split("-"))) for entry_id in ids]
    assert len(set(numbers)) == 3_000
    assert numbers == sorted(numbers)


async def test_an_entry_has_at_least_one_field():
    """The server would refuse it; here it is refused where it is made."""
    with pytest.raises(ValueError, match="at least one field"):
        Entry("s", {})


async def test_a_stream_of_events_is_trimmed_to_about_its_limit(log, stream):
    """The newest entries stay; the server trims whole blocks, so some more may stay too."""
    ids = await log.publish([Entry(stream, {"n": n}) for n in range(1_000)], max_len=200)
    records = await log.tail(stream).read(START, count=2_000)
    assert 200 <= len(records) <= 400
    assert records[-1].entry_id == ids[-1]


async def test_a_refused_entry_does_not_hide_the_others(server, stream):
    """The error tells which entries are in their streams."""
    server.admin.set(f"{stream}:text", "not a stream")
    async with connect(server.url) as log:
        batch = [Entry(stream, {"n": 1}), Entry(f"{stream}:text", {"n": 2}), Entry(stream, {"n": 3})]
        with pytest.raises(PartlyPublished) as caught:
            await log.publish(batch)
        records = await log.tail(stream).read(START, count=10)
        assert caught.value.entry_ids == (records[0].entry_id, None, records[1].entry_id)
        with pytest.raises(StreamRefused) as refused:
            await log.publish(batch[1:2])
        assert refused.value.code == "WRONGTYPE"


async def test_a_tail_reads_on_from_an_id(log, stream):
    """Every tail sees every entry, in pages, and nothing has to be acked."""
    ids = await log.publish([Entry(stream, {"n": n}) for n in range(5)])
    tail = log.tail(stream)
    page = await tail.read(START, count=3)
    assert [record.entry_id for record in page] == ids[:3]
    assert [record.entry_id for record in await tail.read(ids[2], count=3)] == ids[3:]
    assert await tail.read(ids[4], count=3) == []
    assert len(await log.tail(stream).read(START, count=10)) == 5


async def test_a_tail_may_start_at_the_end(backend, log, stream):
    """The end is the last id ever appended, also when its entry is gone, and the start of no stream."""
    tail = log.tail(stream)
    assert await tail.end() == START
    ids = await log.publish([Entry(stream, {"n": n}) for n in range(2)])
    backend.erase(stream, ids[1])
    assert await tail.end() == ids[1]
    (later,) = await log.publish([Entry(stream, {"n": 3})])
    assert [record.entry_id for record in await tail.read(ids[1], count=10)] == [later]


async def test_a_waiting_tail_wakes_when_an_entry_arrives(backend, log, stream):
    """Waiting ends with the publication; a wait that is over ends with nothing."""
    tail = log.tail(stream)
    assert await tail.read(START, count=10, block=timedelta(milliseconds=10)) == []
    reading = asyncio.create_task(tail.read(START, count=10, block=LONG))
    await backend.until_blocked()
    (entry_id,) = await log.publish([Entry(stream, {"n": 1})])
    async with asyncio.timeout(60):
        assert [record.entry_id for record in await reading] == [entry_id]


async def test_closing_a_tail_ends_its_blocked_read(backend, log, stream):
    """The read raises StreamClosed at once."""
    tail = log.tail(stream)
    reading = asyncio.create_task(tail.read(START, count=10, block=LONG))
    await backend.until_blocked()
    await tail.close()
    async with asyncio.timeout(60):
        with pytest.raises(StreamClosed):
            await reading
