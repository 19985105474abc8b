"""Long lists in portions: first which rows there are, in order, at one moment; then the rows, some hundred at a time.

A list that is read so begins at once, takes little memory however long it is, and keeps no transaction open while
whoever reads it thinks. What is gone by the time its portion is read is left out.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from flowforge.store.database import Connection, Database

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")

#: Rows of the first portion, and of every other.
FIRST, TOGETHER = 100, 1_000


async def portions(
    database: Database,
    keys: Sequence[K],
    read: Callable[[Connection, Sequence[K]], Awaitable[Mapping[K, T]]],
    *,
    together: int = TOGETHER,
) -> AsyncIterator[list[T]]:
    """Yield the rows of some keys, in the order of the keys; *read* returns those of one portion, by key."""
    for some in cut(keys, together):
        async with database.connection() as connection:
            found = await read(connection, some)
        yield [found[key] for key in some if key in found]


def cut(keys: Sequence[K], together: int = TOGETHER) -> list[Sequence[K]]:
    """Return the portions of some keys: a short one, to begin with, then longer ones."""
    ends = [*range(FIRST, len(keys), together), len(keys)]
    return [keys[start:end] for start, end in pairwise([0, *ends]) if start < end]
