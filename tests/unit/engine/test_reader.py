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
        self.reader = Reader(self.group, "old", lambda: 100, self.take, self.lost)
        self.reclaimer = Reclaimer(self.group, "old", LEASE, lambda: 100, self.take)

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
