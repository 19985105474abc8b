"""Counting, listing and retiring."""

from datetime import timedelta

from flowforge_streams import Depth, Entry

HOUR = timedelta(hours=1)


async def test_depth_counts_what_waits_and_what_is_pending(backend, log, group, stream):
    """Acked entries count nowhere."""
    await log.publish([Entry(stream, {"n": n}) for n in range(10)])
    deliveries = await group.read("a", count=4)
    await group.ack([delivery.entry_id for delivery in deliveries[:1]])
    await backend.age(group, by=HOUR)
    depth = await group.depth()
    assert (depth.length, depth.pending, depth.waiting) == (9, 3, 6)
    assert HOUR <= depth.oldest_idle < 2 * HOUR
    assert depth.lag == (None if backend.kind == "redis-6.2" else 6)


async def test_the_depth_of_a_stream_that_does_not_exist_is_nothing(log, stream):
    """Asking makes neither a stream nor a group."""
    group = log.group(stream, "workers")
    assert await group.depth() == Depth(length=0, pending=0, lag=None, oldest_idle=None)
    assert await group.consumers() == []


async def test_pending_entries_are_listed_with_their_consumer_and_count(backend, log, group, stream):
    """Lowest id first, bounded, and only the idle ones when asked so."""
    ids = await log.publish([Entry(stream, {"n": n}) for n in range(3)])
    await group.read("a", count=2)
    await backend.age(group, by=HOUR)
    await group.read("b", count=1)
    listed = await group.pending(limit=10)
    assert [(one.entry_id, one.consumer, one.delivered) for one in listed] == [
        (ids[0], "a", 1),
        (ids[1], "a", 1),
        (ids[2], "b", 1),
    ]
    assert [one.entry_id for one in await group.pending(limit=1)] == ids[:1]
    assert [one.entry_id for one in await group.pending(limit=10, min_idle=HOUR)] == ids[:2]


async def test_a_consumer_is_known_once_it_has_read(log, group, stream):
    """It is listed with what it has pending."""
    await log.publish([Entry(stream, {"n": 1})])
    await group.read("a", count=1)
    await group.read("b", count=1)
    known = {consumer.name: consumer.pending for consumer in await group.consumers()}
    assert known["a"] == 1
    assert known.get("b", 0) == 0


async def test_a_consumer_with_pending_entries_is_not_retired(log, group, stream):
    """Retiring it would destroy them; after they were claimed away it goes."""
    await log.publish([Entry(stream, {"n": 1})])
    await group.read("old", count=1)
    assert not await group.retire("old")
    assert len(await group.pending(limit=1)) == 1
    await group.reclaim("new", min_idle=timedelta(0), count=1)
    assert await group.retire("old")
    assert [consumer.name for consumer in await group.consumers()] == ["new"]
    assert len(await group.pending(limit=1)) == 1


async def test_a_consumer_that_was_seen_lately_is_not_retired(log, group, stream):
    """The least idle time is checked in the same step."""
    await log.publish([Entry(stream, {"n": 1})])
    (delivery,) = await group.read("a", count=1)
    await group.ack([delivery.entry_id])
    assert not await group.retire("a", min_idle=HOUR)
    assert await group.retire("a")


async def test_retiring_a_stranger_finds_it_gone(group):
    """There is nothing to do for a name the group has never seen."""
    assert await group.retire("nobody")


async def test_the_eviction_policy_is_told(log):
    """A fresh server evicts nothing."""
    policy = await log.check_eviction_policy()
    assert (policy.policy, policy.limit, policy.safe) == ("noeviction", 0, True)
