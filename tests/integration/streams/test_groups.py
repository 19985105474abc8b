"""Reading and acking: what every group does on a good day."""

import asyncio
from datetime import timedelta

import pytest

from flowforge_streams import START, Entry, StreamClosed

#: Longer than any test takes: a read that ends earlier was woken.
LONG = timedelta(minutes=10)


async def test_a_published_entry_is_delivered_once(log, group, stream):
    """A second read finds nothing, and the delivery says all there is to say."""
    (entry_id,) = await log.publish([Entry(stream, {"order": "42", "n": 7, "raw": b"x"})])
    (delivery,) = await group.read("a", count=10)
    assert (delivery.stream, delivery.entry_id) == (stream, entry_id)
    assert delivery.fields == {"order": b"42", "n": b"7", "raw": b"x"}
    assert (delivery.delivered, delivery.reclaimed) == (1, False)
    assert await group.read("b", count=10) == []


async def test_field_values_are_bytes_and_stay_as_they_are(log, group, stream):
    """Nulls, line ends and bytes that are not UTF-8 survive; so does an empty value."""
    value = bytes(range(256)) + b"\r\n$-1\r\n"
    await log.publish([Entry(stream, {"raw": value, "empty": b"", "naïve": "é"})])
    (delivery,) = await group.read("a", count=1)
    assert delivery.fields == {"raw": value, "empty": b"", "naïve": "é".encode()}


async def test_entries_come_in_the_order_of_publication(log, group, stream):
    """Count bounds a read, and the next one goes on where it ended."""
    ids = await log.publish([Entry(stream, {"n": n}) for n in range(25)])
    read = [await group.read("a", count=10) for _ in range(3)]
    assert [len(batch) for batch in read] == [10, 10, 5]
    assert [delivery.entry_id for batch in read for delivery in batch] == ids


async def test_consumers_share_the_entries_of_a_group(log, group, stream):
    """No entry goes to two consumers."""
    ids = await log.publish([Entry(stream, {"n": n}) for n in range(10)])
    first = await group.read("a", count=4)
    second = await group.read("b", count=10)
    assert [delivery.entry_id for delivery in first + second] == ids


async def test_a_group_made_late_starts_at_the_beginning(log, stream):
    """What was published before the group existed is not skipped."""
    (entry_id,) = await log.publish([Entry(stream, {"n": 1})])
    late = log.group(stream, "late")
    await late.ensure()
    assert [delivery.entry_id for delivery in await late.read("a", count=10)] == [entry_id]


async def test_making_a_group_twice_changes_nothing(log, group, stream):
    """The position of the group is kept."""
    await log.publish([Entry(stream, {"n": 1})])
    await group.read("a", count=10)
    await group.ensure()
    assert await group.read("a", count=10) == []
    assert group.recreated == 0


async def test_a_blocked_read_wakes_when_an_entry_arrives(backend, log, group, stream):
    """Waiting ends with the publication, not with the block."""
    reading = asyncio.create_task(group.read("a", count=10, block=LONG))
    await backend.until_blocked()
    (entry_id,) = await log.publish([Entry(stream, {"n": 1})])
    async with asyncio.timeout(60):
        assert [delivery.entry_id for delivery in await reading] == [entry_id]


async def test_a_blocked_read_ends_with_nothing_when_its_block_is_over(group):
    """Nothing is an empty list, even when the wait is less than the server's smallest unit."""
    assert await group.read("a", count=10, block=timedelta(milliseconds=20)) == []
    assert await group.read("a", count=10, block=timedelta(microseconds=10)) == []
    assert await group.read("a", count=10, block=timedelta(0)) == []


async def test_a_waiting_reader_delays_no_other_call(backend, log, group, stream):
    """Acks, claims and publications do not queue behind a blocked read of the same group."""
    await log.publish([Entry(stream, {"n": 1})])
    (delivery,) = await group.read("a", count=1)
    reading = asyncio.create_task(group.read("a", count=1, block=LONG))
    await backend.until_blocked()
    async with asyncio.timeout(60):
        assert await group.ack([delivery.entry_id]) == 1
        await log.publish([Entry(stream, {"n": 2})])
        assert len(await reading) == 1


async def test_closing_a_group_ends_its_blocked_read(backend, group):
    """The read raises StreamClosed at once, and so does the next one."""
    reading = asyncio.create_task(group.read("a", count=10, block=LONG))
    await backend.until_blocked()
    await group.close()
    async with asyncio.timeout(60):
        with pytest.raises(StreamClosed):
            await reading
    with pytest.raises(StreamClosed):
        await group.read("a", count=10)


async def test_ack_takes_an_entry_off_the_pending_list_and_out_of_the_stream(log, group, stream):
    """Nothing of an acked entry is left on the server."""
    await log.publish([Entry(stream, {"n": n}) for n in range(3)])
    deliveries = await group.read("a", count=3)
    assert await group.ack([delivery.entry_id for delivery in deliveries]) == 3
    assert await group.pending(limit=10) == []
    assert (await group.depth()).length == 0


async def test_acking_what_is_not_pending_counts_for_nothing(log, group, stream):
    """A late, repeated or empty ack is harmless."""
    await log.publish([Entry(stream, {"n": 1})])
    (delivery,) = await group.read("a", count=1)
    assert await group.ack([delivery.entry_id]) == 1
    assert await group.ack([delivery.entry_id, "1-1"]) == 0
    assert await group.ack([]) == 0


async def test_thousands_are_acked_in_one_call(log, group, stream):
    """A batch larger than what one command may carry is cut up and counted as a whole."""
    await log.publish([Entry(stream, {"n": n}) for n in range(2_500)])
    deliveries = await group.read("a", count=3_000)
    assert await group.ack([delivery.entry_id for delivery in deliveries]) == 2_500


async def test_a_consumer_reads_its_own_pending_entries_again(log, group, stream):
    """After a restart it finds what it had, in order, by pages, and nothing of others."""
    ids = await log.publish([Entry(stream, {"n": n}) for n in range(6)])
    await group.read("a", count=5)
    await group.read("b", count=1)
    page = await group.read_own("a", count=3)
    assert [delivery.entry_id for delivery in page] == ids[:3]
    assert page[0].fields == {"n": b"0"}
    assert page[0].delivered is None
    rest = await group.read_own("a", count=3, after=page[-1].entry_id)
    assert [delivery.entry_id for delivery in rest] == ids[3:5]
    assert await group.read_own("a", count=3, after=rest[-1].entry_id) == []


async def test_own_entries_that_were_deleted_are_skipped_and_acked(backend, log, group, stream):
    """A whole page of deleted entries does not look like the end."""
    ids = await log.publish([Entry(stream, {"n": n}) for n in range(5)])
    await group.read("a", count=5)
    for entry_id in ids[:3]:
        backend.erase(stream, entry_id)
    walked: list[str] = []
    while page := await group.read_own("a", count=2, after=walked[-1] if walked else START):
        walked += [delivery.entry_id for delivery in page]
    assert walked == ids[3:]
    assert [one.entry_id for one in await group.pending(limit=10)] == ids[3:]
