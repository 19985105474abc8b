"""Requests that share a round trip: who waits for whom, and whose fault is whose."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from flowforge.engine.gathering import Gathering
from flowforge.errors import BackendError, Conflict

ROUNDS = list[list[int]]


class Office:
    """Doubles numbers, round by round, and remembers the rounds."""

    def __init__(self) -> None:
        self.rounds: ROUNDS = []
        self.open = asyncio.Event()
        self.open.set()

    async def work(self, numbers: Sequence[int]) -> list[int]:
        """Double numbers; negative ones are refused, and 13 brings the server down."""
        self.rounds.append(list(numbers))
        await self.open.wait()
        if 13 in numbers:
            raise BackendError("away")
        if any(number < 0 for number in numbers):
            raise Conflict("negative")
        return [2 * number for number in numbers]


async def asked(gathering: Gathering[int, int], *requests: Sequence[int]) -> list[object]:
    """Ask for several at once."""
    return list(await asyncio.gather(*map(gathering.do, requests), return_exceptions=True))


async def test_a_lone_request_is_served_at_once():
    office = Office()
    assert await asked(Gathering(office.work, 10), [1, 2]) == [[2, 4]]
    assert office.rounds == [[1, 2]]


async def test_requests_that_come_meanwhile_share_the_next_round():
    """None of them is answered from the round that was under way when they came."""
    office = Office()
    gathering: Gathering[int, int] = Gathering(office.work, 10)
    office.open.clear()
    first = asyncio.create_task(gathering.do([1]))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    others = [asyncio.create_task(gathering.do([number])) for number in (2, 3, 4)]
    await asyncio.sleep(0)
    office.open.set()
    assert await asyncio.gather(first, *others) == [[2], [4], [6], [8]]
    assert office.rounds == [[1], [2, 3, 4]]


async def test_a_round_holds_no_more_than_the_limit_and_keeps_what_came_together():
    office = Office()
    answers = await asked(Gathering(office.work, 3), [1, 2], [3, 4], [5], [6, 7, 8, 9])
    assert answers == [[2, 4], [6, 8], [10], [12, 14, 16, 18]]
    assert office.rounds == [[1, 2], [3, 4, 5], [6, 7, 8, 9]]


async def test_a_refused_request_fails_alone():
    """Whoever was in the same round gets an answer of its own."""
    office = Office()
    first, second, third = await asked(Gathering(office.work, 10), [1], [-1], [3])
    assert (first, third) == ([2], [6])
    assert isinstance(second, Conflict)
    assert office.rounds == [[1, -1, 3], [1], [-1], [3]]


async def test_a_server_that_is_away_is_asked_once_for_all():
    """Asking again would start again what may have been committed."""
    office = Office()
    answers = await asked(Gathering(office.work, 10), [1], [13], [3])
    assert [type(answer) for answer in answers] == [BackendError] * 3
    assert office.rounds == [[1, 13, 3]]


async def test_a_caller_that_gives_up_takes_nobody_with_it():
    office = Office()
    gathering: Gathering[int, int] = Gathering(office.work, 10)
    office.open.clear()
    one, other = asyncio.create_task(gathering.do([1])), asyncio.create_task(gathering.do([2]))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    one.cancel()
    office.open.set()
    with pytest.raises(asyncio.CancelledError):
        await one
    assert await other == [4]
    assert await gathering.do([3]) == [6]
