"""The server's clock as one process knows it: never ahead, never back, not for long."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from flowforge.store import clock as module
from flowforge.store.clock import FRESH, LONGEST_WAY, Clock

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


class Watch:
    """The monotonic clock, moved by hand."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def monotonic(self) -> float:
        """Return its time."""
        return self.seconds


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    """Put the monotonic clock into a test's hand."""
    made = Watch()
    monkeypatch.setattr(module, "time", made)
    return made


def test_nothing_is_known_before_the_first_look():
    assert Clock().now() is None


def test_a_look_is_carried_on_and_then_forgotten(watch: Watch):
    """The two clocks may run at different speeds, so a look is good for a moment."""
    clock = Clock()
    clock.see(NOON, clock.asks())
    assert clock.now() == NOON
    watch.seconds += FRESH / 2
    assert clock.now() == NOON + timedelta(seconds=FRESH / 2)
    watch.seconds += FRESH
    assert clock.now() is None


def test_an_answer_that_was_long_on_its_way_does_not_turn_the_clock_back(watch: Watch):
    clock = Clock()
    clock.see(NOON, clock.asks())
    watch.seconds += 0.5
    clock.see(NOON + timedelta(seconds=0.2), clock.asks())
    assert clock.now() == NOON + timedelta(seconds=0.5)


def test_an_answer_that_was_long_on_its_way_says_nothing(watch: Watch):
    """Carried on from its arrival, it would date what follows too early."""
    clock = Clock()
    asked = clock.asks()
    watch.seconds += 2 * LONGEST_WAY
    clock.see(NOON, asked)
    assert clock.now() is None


def test_an_answer_that_was_quicker_moves_it_on(watch: Watch):
    clock = Clock()
    clock.see(NOON, clock.asks())
    watch.seconds += 0.5
    clock.see(NOON + timedelta(seconds=0.7), clock.asks())
    assert clock.now() == NOON + timedelta(seconds=0.7)
