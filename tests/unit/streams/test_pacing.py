"""Backoff, the throttled log, and the repair of a group that keeps vanishing."""

import logging
from datetime import timedelta
from typing import Any, cast

import pytest

from flowforge_streams import Backoff, StreamRefused
from flowforge_streams.link import Link
from flowforge_streams.recreation import Recreation, create_group
from flowforge_streams.throttle import ThrottledLog


class FakeLink:
    """A link whose server answers as told."""

    def __init__(self, *answers: Any) -> None:
        self.sent: list[tuple[Any, ...]] = []
        self._answers = list(answers)

    async def call(self, *command: Any) -> Any:
        """Answer, or raise the answer."""
        self.sent.append(command)
        answer = self._answers.pop(0) if self._answers else b"OK"
        if isinstance(answer, Exception):
            raise answer
        return answer


def test_the_first_failure_costs_no_wait_and_the_others_ever_more():
    """Delays double up to the limit and never pass it."""
    backoff = Backoff(timedelta(seconds=1), timedelta(seconds=5), jitter=lambda: 1.0)
    assert [backoff.next() for _ in range(6)] == [0, 1, 2, 4, 5, 5]
    backoff.reset()
    assert backoff.next() == 0


def test_jitter_takes_away_at_most_half():
    """A fleet spreads over the second half of the delay."""
    backoff = Backoff(timedelta(seconds=1), timedelta(seconds=1), jitter=lambda: 0.0)
    assert [backoff.next() for _ in range(3)] == [0, 0.5, 0.5]


def test_a_failure_that_lasts_for_days_does_not_overflow():
    """The exponent is bounded."""
    backoff = Backoff(jitter=lambda: 1.0)
    assert [backoff.next() for _ in range(5_000)][-1] == 2.0


def test_a_throttled_log_writes_two_lines_a_second(caplog):
    """What was held back is counted in the next line."""
    now = 100.0
    log = ThrottledLog(logging.getLogger("t"), clock=lambda: now)
    for tick in range(100):
        now = 100.0 + tick / 100
        log.warning("lost %s", "s")
    now = 200.0
    log.warning("lost %s", "s")
    assert [record.getMessage() for record in caplog.records] == [
        "lost s",
        "lost s (and 49 like it)",
        "lost s (and 49 like it)",
    ]


async def test_a_busy_group_name_is_no_error():
    """Somebody else was faster."""
    busy = StreamRefused("BUSYGROUP Consumer Group name already exists", code="BUSYGROUP")
    assert not await create_group(cast("Link", FakeLink(busy)), "s", "g")


async def test_any_other_refusal_is():
    """Only BUSYGROUP is matched."""
    wrong = StreamRefused("WRONGTYPE not a stream", code="WRONGTYPE")
    with pytest.raises(StreamRefused):
        await create_group(cast("Link", FakeLink(wrong)), "s", "g")


async def test_repairs_slow_down_until_the_group_stays(caplog, monkeypatch):
    """The first is immediate; success starts the pace over; one moment gets one line in the log."""
    monkeypatch.setattr("flowforge_streams.throttle._INTERVAL", 3600.0)
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    link = FakeLink()
    backoff = Backoff(jitter=lambda: 1.0)
    recreation = Recreation(cast("Link", link), "s", "g", backoff=backoff, sleep=sleep)
    for _ in range(4):
        await recreation.repair()
    recreation.settled()
    await recreation.repair()
    assert slept == [0, 0.05, 0.1, 0.2, 0]
    assert link.sent == [("XGROUP", "CREATE", "s", "g", "0", "MKSTREAM")] * 5
    assert recreation.count == 5
    assert len(caplog.records) == 1
