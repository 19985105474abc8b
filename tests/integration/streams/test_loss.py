"""Losing a group, a stream, or everything: reading goes on, and the loss can be noticed."""

import asyncio
import logging
from datetime import timedelta

import pytest

from flowforge_streams import Entry

LONG = timedelta(minutes=10)


@pytest.fixture(params=["everything", "stream", "group"])
def lose(request, backend, group):
    """Give each way of losing the group."""

    def lost():
        if request.param == "everything":
            backend.flush()
        elif request.param == "stream":
            backend.drop(group.stream)
        else:
            backend.drop(group.stream, group.name)

    return lost


async def test_reading_goes_on_after_a_loss(log, group, stream, lose):
    """The group is made again from the start, so what was published since is not skipped."""
    lose()
    (entry_id,) = await log.publish([Entry(stream, {"n": 1})])
    assert [delivery.entry_id for delivery in await group.read("a", count=10)] == [entry_id]
    assert group.recreated == 1


async def test_a_blocked_read_survives_a_loss(backend, log, group, stream, lose):
    """Whatever happens to the group under it, the next entry arrives within the same read."""
    reading = asyncio.create_task(group.read("a", count=10, block=LONG))
    await backend.until_blocked()
    lose()
    (entry_id,) = await log.publish([Entry(stream, {"n": 1})])
    async with asyncio.timeout(60):
        assert [delivery.entry_id for delivery in await reading] == [entry_id]


async def test_a_blocked_read_survives_losses_that_follow_each_other(backend, log, group, stream, lose):
    """A reader that is alone with a vanishing group returns early rather than never."""
    for n in range(3):
        reading = asyncio.create_task(group.read("a", count=10, block=timedelta(seconds=2)))
        await backend.until_blocked()
        lose()
        await log.publish([Entry(stream, {"n": n})])
        async with asyncio.timeout(60):
            found = await reading
        assert {delivery.fields["n"] for delivery in found} <= {b"0", b"1", b"2"}
    assert group.recreated >= 1


async def test_every_call_bears_a_missing_group(log, group, stream, lose):
    """Nothing pending is nothing pending: no call fails because the group is gone."""
    await log.publish([Entry(stream, {"n": 1})])
    (delivery,) = await group.read("a", count=1)
    lose()
    assert await group.ack([delivery.entry_id]) == 0
    assert await group.touch("a", [delivery.entry_id]) == []
    assert await group.pending(limit=1) == []
    assert await group.consumers() == []
    assert await group.retire("a")
    assert (await group.depth()).pending == 0
    assert await group.read_own("a", count=1) == []
    lose()
    assert (await group.reclaim("a", min_idle=timedelta(0), count=1)).deliveries == ()


async def test_the_loss_of_a_group_alone_delivers_again_what_was_not_acked(backend, log, group, stream):
    """At least once: an entry read before the loss comes again, an acked one does not."""
    first, second = await log.publish([Entry(stream, {"n": n}) for n in range(2)])
    await group.read("a", count=2)
    await group.ack([first])
    backend.drop(stream, group.name)
    assert [delivery.entry_id for delivery in await group.read("b", count=10)] == [second]


async def test_the_epoch_changes_when_everything_is_lost(backend, log, stream):
    """It is the same for every call until then, and again afterwards."""
    before = await log.epoch()
    await log.publish([Entry(stream, {"n": 1})])
    assert await log.epoch() == before
    backend.flush()
    after = await log.epoch()
    assert after != before
    assert await log.epoch() == after


async def test_a_group_that_keeps_vanishing_does_not_flood_the_log(backend, group, caplog, monkeypatch):
    """However often it is made again, one moment gets one line."""
    monkeypatch.setattr("flowforge_streams.throttle._INTERVAL", 3600.0)
    with caplog.at_level(logging.WARNING, logger="flowforge_streams"):
        for _ in range(4):
            backend.drop(group.stream, group.name)
            assert await group.read("a", count=1) == []
    assert group.recreated == 4
    assert len(caplog.records) <= 1
