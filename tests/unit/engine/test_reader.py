"""Reading a lane: what is taken, what is left to others, and what is said when a group had to be made again."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import timedelta
from uuid import uuid4

import pytest

from flowforge.engine import reader
from flowforge.engine.message import Malformed, decode
from flowforge.engine.reader import Reader, Reclaimer
from flowforge_streams import Entry, MemoryLog
from flowforge_streams.delivery import Delivery

LEASE = timedelta(seconds=30)


def message(version: str) -> Entry:
    """Make a message of a release."""
    return Entry("lane", {"v": version, "run": uuid4().hex, "step": 0, "dispatch_no": 1})


class Lane:
    """A lane read by a release that knows version 1."""

    def __init__(self) -> None:
        # Ids are made from the clock: entries are from today.
        self.log = MemoryLog(clock=time.time)
        self.group = self.log.group("lane", "workers")
        self.taken: list[Delivery] = []
        self.losses = 0
        #: How much room there is, one look after the other; then there is plenty.
        self.rooms: list[int] = []
        self.reader = Reader(self.group, "old", self.room, self.take, self.lost)
        self.reclaimer = Reclaimer(self.group, "old", LEASE, self.room, self.take)

    def room(self) -> int:
        return self.rooms.pop(0) if self.rooms else 100

    def take(self, deliveries: Sequence[Delivery]) -> None:
        self.taken += deliveries

    def lost(self) -> None:
        self.losses += 1

    async def read(self) -> None:
        """Look at what is pending, then at what is new."""
        for _ in range(2):
            await self.reader.run_once()


@pytest.fixture
async def lane(monkeypatch: pytest.MonkeyPatch) -> Lane:
    monkeypatch.setattr(reader, "BLOCK", timedelta(0))
    one = Lane()
    await one.group.ensure()
    return one


async def test_messages_of_a_newer_release_are_left_to_its_workers(lane: Lane):
    """Neither taken nor buried: whoever reclaims next has them at once, and ours are taken all the same."""
    newer, known = await lane.log.publish([message("2"), message("1")])
    await lane.read()
    assert [one.entry_id for one in lane.taken] == [known]
    found = await lane.group.reclaim("new", min_idle=LEASE, count=10)
    assert [one.entry_id for one in found.deliveries] == [newer]
    assert await lane.group.dead() == []


async def test_reclaiming_them_leaves_them_to_others_again(lane: Lane):
    """A release that cannot read them must not keep them by looking at them."""
    (newer,) = await lane.log.publish([message("9999")])
    await lane.read()
    await lane.reclaimer.run_once()
    assert lane.taken == []
    found = await lane.group.reclaim("new", min_idle=LEASE, count=10)
    assert [one.entry_id for one in found.deliveries] == [newer]


async def test_what_nobody_wanted_for_long_is_not_kept_for_ever(lane: Lane, monkeypatch: pytest.MonkeyPatch):
    """After a downgrade nobody will ever read them: they come up as malformed, which buries them."""
    monkeypatch.setattr(reader, "GIVE_UP_AFTER", timedelta(seconds=-5))
    await lane.log.publish([message("2")])
    await lane.read()
    (delivery,) = lane.taken
    assert isinstance(decode(delivery), Malformed)


@pytest.mark.parametrize("version", ["0", "-1", "2.0", "two", "", "99999", "1" * 5000])
async def test_what_is_no_version_is_nobodys(lane: Lane, version: str):
    """It is taken, to be buried."""
    await lane.log.publish([message(version)])
    await lane.read()
    assert len(lane.taken) == 1


async def test_a_group_that_had_to_be_made_again_is_reported_once(lane: Lane):
    """What was in the stream may be lost: every queued step has to be dispatched again."""
    await lane.read()
    assert lane.losses == 0
    lane.log.drop("lane")
    await lane.read()
    await lane.read()
    assert lane.losses == 1


async def test_what_others_left_no_room_for_waits_until_there_is_some(lane: Lane):
    """Two lanes are waited for at the same time, and the other one's deliveries came first."""
    await lane.reader.run_once()
    published = await lane.log.publish([message("1") for _ in range(3)])
    lane.rooms = [3, 1]
    await lane.reader.run_once()
    assert [one.entry_id for one in lane.taken] == published[:1]
    lane.rooms = [0]
    await lane.reader.run_once()
    found = await lane.group.reclaim("other", min_idle=LEASE, count=10)
    assert (len(lane.taken), len(found.deliveries)) == (1, 0)
    await lane.reader.run_once()
    assert [one.entry_id for one in lane.taken] == published


@pytest.mark.parametrize("ends", [True, False])
async def test_what_finds_no_room_for_long_is_left_to_others(lane: Lane, monkeypatch: pytest.MonkeyPatch, ends: bool):
    """So it is when the worker leaves."""
    monkeypatch.setattr(reader, "PATIENCE", timedelta(0))
    await lane.reader.run_once()
    published = await lane.log.publish([message("1")])
    lane.rooms = [1, 0, 0]
    await lane.reader.run_once()
    if ends:
        lane.reader.stop()
        await lane.reader.run()
    else:
        await lane.reader.run_once()
    found = await lane.group.reclaim("other", min_idle=LEASE, count=10)
    assert [one.entry_id for one in found.deliveries] == published
    assert lane.taken == []


async def test_reclaiming_takes_no_more_than_there_is_room_for(lane: Lane):
    """Whoever looks next has the rest at once."""
    published = await lane.log.publish([message("1") for _ in range(3)])
    for delivery in await lane.group.read("dead", count=10):
        await lane.group.hand_back("dead", [delivery.entry_id])
    lane.rooms = [3, 2]
    await lane.reclaimer.run_once()
    assert [one.entry_id for one in lane.taken] == published[:2]
    found = await lane.group.reclaim("other", min_idle=LEASE, count=10)
    assert [one.entry_id for one in found.deliveries] == published[2:]
