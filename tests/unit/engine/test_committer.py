"""The committer: whether work waits for a worker shows in the size of its transactions."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from types import SimpleNamespace
from typing import Any, cast
from uuid import uuid4

from flowforge.engine.committer import CROWD, Committer
from flowforge.engine.entries import Entry


class Ledger:
    """Applies anything."""

    async def apply(self, entries: list[Entry], **how: object) -> tuple[list[Any], object]:
        return [None] * len(entries), None


async def committed(committer: Committer, *sizes: int) -> None:
    """Let transactions of some sizes pass."""
    service = asyncio.create_task(committer.run())
    for size in sizes:
        for _ in range(size):
            committer.submit(cast("Entry", SimpleNamespace(run_id=uuid4())), lambda _: None)
        await committer.drained()
    service.cancel()
    with suppress(asyncio.CancelledError):
        await service


async def test_a_worker_that_keeps_up_is_not_pressed():
    committer = Committer(cast("Any", Ledger()), lambda _: None)
    assert not committer.pressed()
    await committed(committer, 1, 2, CROWD - 1)
    assert not committer.pressed()


async def test_a_worker_whose_transactions_are_crowded_is_pressed_until_they_are_not():
    committer = Committer(cast("Any", Ledger()), lambda _: None)
    await committed(committer, CROWD, CROWD + 20)
    assert committer.pressed()
    assert not committer.pressed()
