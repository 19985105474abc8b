"""What keeps the screens up to date when servers are slow or silent."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

from flowforge.model.overview import Pulse
from flowforge_tui.live.live import OLD, Live
from tests.support.dashboard import QUICK, opened, screen_text, settled
from tests.support.eventually import eventually
from tests.support.fake_client import FakeClient
from tests.support.overviews import NOW, SECOND, several


class Hand:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> Any:
        return self.now


class Slow(FakeClient):
    """Answers what was true when it was asked, and takes its time over it."""

    def __init__(self, clock: Hand, takes: timedelta) -> None:
        super().__init__(several())
        self.clock, self.takes = clock, takes

    async def pulse(self) -> Pulse:
        at = self.clock.now
        self.clock.now += self.takes
        return replace(await super().pulse(), at=at)


async def test_an_answer_that_was_long_on_its_way_does_not_set_the_clock_back():
    clock = Hand()
    live = Live(Slow(clock, 4 * SECOND), replace(QUICK, clock=clock))  # type: ignore[arg-type]
    await live.look()
    assert live.now() == clock.now


async def test_a_clock_that_is_wrong_is_set_right():
    clock = Hand()
    client = FakeClient(several())
    clock.now = NOW - timedelta(minutes=3)
    live = Live(client, replace(QUICK, clock=clock))  # type: ignore[arg-type]
    await live.look()
    assert live.now() == NOW


async def test_servers_that_hang_are_said_to_and_the_age_goes_on():
    clock, client = Hand(), FakeClient(several())
    async with opened(client, options=replace(QUICK, clock=clock)) as (app, pilot):
        answers = asyncio.Event()

        async def hang(*_: Any) -> Any:
            await answers.wait()
            return []

        client.pulse = client.summaries = hang  # type: ignore[method-assign,assignment]
        await asyncio.sleep(0)
        clock.now = NOW + OLD + 3 * SECOND
        await eventually(lambda: "pg 18.4 does not answer" in screen_text(app))
        assert "13s ago" in screen_text(app)
        del client.pulse, client.summaries
        answers.set()
        await eventually(lambda: "does not answer" not in screen_text(app))
        await settled(pilot)
