"""Taking over what a dead consumer left, and keeping what a living one has."""

from datetime import timedelta

from flowforge_streams import START, Entry

MINUTE = timedelta(minutes=1)


async def published(log, stream, count):
    """Publish *count* entries and return their ids."""
    return await log.publish([Entry(stream, {"n": n}) for n in range(count)])


async def test_an_idle_entry_goes_to_the_consumer_that_reclaims_it(backend, log, group, stream):
    """It comes with its body, marked as reclaimed, and its idle time starts again."""
    (entry_id,) = await published(log, stream, 1)
    await group.read("dead", count=1)
    await backend.age(group, by=MINUTE)
    reclaimed = await group.reclaim("alive", min_idle=MINUTE, count=10)
    (delivery,) = reclaimed.deliveries
    assert (delivery.entry_id, delivery.fields) == (entry_id, {"n": b"0"})
    assert (delivery.reclaimed, delivery.delivered) == (True, None)
    assert reclaimed.done
    (pending,) = await group.pending(limit=10)
    assert (pending.consumer, pending.delivered) == ("alive", 2)
    assert pending.idle < MINUTE


async def test_an_entry_that_is_not_idle_for_long_enough_stays(backend, log, group, stream):
    """The idle time alone decides; a whole pass finds nothing."""
    await published(log, stream, 1)
    await group.read("alive", count=1)
    await backend.age(group, by=MINUTE)
    reclaimed = await group.reclaim("other", min_idle=2 * MINUTE, count=10)
    assert (reclaimed.deliveries, reclaimed.done) == ((), True)
    (pending,) = await group.pending(limit=10)
    assert pending.consumer == "alive"


async def test_a_touched_entry_is_not_reclaimed(backend, log, group, stream):
    """Touching resets the idle time and leaves the delivery count."""
    first, second = await published(log, stream, 2)
    await group.read("alive", count=2)
    await backend.age(group, by=MINUTE)
    assert await group.touch("alive", [first]) == [first]
    reclaimed = await group.reclaim("other", min_idle=MINUTE, count=10)
    assert [delivery.entry_id for delivery in reclaimed.deliveries] == [second]
    kept = (await group.pending(limit=10))[0]
    assert (kept.entry_id, kept.consumer, kept.delivered) == (first, "alive", 1)


async def test_what_is_handed_back_can_be_reclaimed_at_once(backend, log, group, stream):
    """Whoever cannot handle an entry need not let others wait until it has lain for long enough."""
    first, second = await published(log, stream, 2)
    await group.read("old", count=2)
    assert await group.hand_back("old", [first]) == [first]
    reclaimed = await group.reclaim("new", min_idle=MINUTE, count=10)
    assert [delivery.entry_id for delivery in reclaimed.deliveries] == [first]
    assert {one.entry_id: one.consumer for one in await group.pending(limit=10)} == {first: "new", second: "old"}
    assert await group.hand_back("old", []) == []
    backend.drop(stream)
    assert await group.hand_back("old", [second]) == []


async def test_touch_tells_which_entries_are_still_pending(backend, log, group, stream):
    """What was acked is left out, and so is everything once the group is gone."""
    first, second = await published(log, stream, 2)
    await group.read("a", count=2)
    await group.ack([first])
    assert await group.touch("a", [first, second]) == [second]
    assert await group.touch("a", []) == []
    backend.drop(stream)
    assert await group.touch("a", [second]) == []


async def test_touching_takes_an_entry_back_from_whoever_reclaimed_it(backend, log, group, stream):
    """The trap the seam warns of: ownership of a pending entry is not a lock."""
    (entry_id,) = await published(log, stream, 1)
    await group.read("zombie", count=1)
    await backend.age(group, by=MINUTE)
    await group.reclaim("successor", min_idle=MINUTE, count=1)
    assert await group.touch("zombie", [entry_id]) == [entry_id]
    (pending,) = await group.pending(limit=1)
    assert pending.consumer == "zombie"


async def test_a_pass_goes_on_beyond_the_window_of_one_call(backend, log, group, stream):
    """One call looks at ten times its count; the cursor leads to what lies further on."""
    ids = await published(log, stream, 60)
    await group.read("dead", count=60)
    await backend.age(group, by=MINUTE)
    await group.touch("alive", ids[:50])
    first = await group.reclaim("other", min_idle=MINUTE, count=2)
    assert (first.deliveries, first.done) == ((), False)

    found, cursor, calls = [], START, 0
    while True:
        step = await group.reclaim("other", min_idle=MINUTE, count=2, cursor=cursor)
        found += [delivery.entry_id for delivery in step.deliveries]
        cursor, calls = step.cursor, calls + 1
        if step.done:
            break
    assert found == ids[50:]
    assert calls <= 9


async def test_reclaiming_takes_no_more_than_asked_for(backend, log, group, stream):
    """The rest is for the next call, from the cursor."""
    ids = await published(log, stream, 5)
    await group.read("dead", count=5)
    await backend.age(group, by=MINUTE)
    first = await group.reclaim("other", min_idle=MINUTE, count=3)
    assert [delivery.entry_id for delivery in first.deliveries] == ids[:3]
    second = await group.reclaim("other", min_idle=MINUTE, count=3, cursor=first.cursor)
    assert [delivery.entry_id for delivery in second.deliveries] == ids[3:]
    assert second.done


async def test_a_deleted_entry_is_left_out_and_leaves_the_pending_list(backend, log, group, stream):
    """Redis 6.2 hands such ghosts on without a name; they must not come up for ever."""
    ids = await published(log, stream, 4)
    await group.read("dead", count=4)
    await backend.age(group, by=MINUTE)
    backend.erase(stream, ids[1])
    backend.erase(stream, ids[3])
    reclaimed = await group.reclaim("other", min_idle=MINUTE, count=10)
    assert [delivery.entry_id for delivery in reclaimed.deliveries] == [ids[0], ids[2]]
    assert sorted(reclaimed.deleted) == [ids[1], ids[3]]
    assert [one.entry_id for one in await group.pending(limit=10)] == [ids[0], ids[2]]


async def test_laying_ghosts_spares_what_the_reclaimer_is_working_on(backend, log, group, stream):
    """Entries it already had keep their place; only the deleted one is acked."""
    ids = await published(log, stream, 3)
    await group.read("other", count=2)
    await group.read("dead", count=1)
    await backend.age(group, by=MINUTE)
    await group.touch("other", ids[:2])
    backend.erase(stream, ids[2])
    reclaimed = await group.reclaim("other", min_idle=MINUTE, count=10)
    assert (reclaimed.deliveries, reclaimed.deleted) == ((), (ids[2],))
    assert [one.entry_id for one in await group.pending(limit=10)] == ids[:2]


async def test_ghosts_behind_the_cursor_are_laid_as_well(backend, log, group, stream):
    """A pass in small steps over deleted entries leaves nothing pending."""
    ids = await published(log, stream, 12)
    await group.read("dead", count=12)
    await backend.age(group, by=MINUTE)
    for entry_id in ids:
        backend.erase(stream, entry_id)
    deleted, cursor = [], START
    while True:
        step = await group.reclaim("other", min_idle=MINUTE, count=2, cursor=cursor)
        deleted += step.deleted
        cursor = step.cursor
        if step.done:
            break
    assert sorted(deleted) == sorted(ids)
    assert await group.pending(limit=20) == []
