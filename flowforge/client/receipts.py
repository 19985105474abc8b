"""Receipts and their keys, as they are handed to people: each receipt with the proof that vouches for it alone."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from flowforge.engine import signing
from flowforge.engine.engine import Engine
from flowforge.errors import Conflict, NotFound
from flowforge.model import merkle
from flowforge.model.documents import rfc3339
from flowforge.model.receipt import proven
from flowforge.store import receipt_keys, receipts, views, workers

#: Seconds that somebody who asks waits for a receipt that a living worker is about to make.
PATIENCE = 10.0


@dataclass(frozen=True, slots=True)
class ReceiptKey:
    """A public key of the installation."""

    id: str
    public_key: bytes
    #: Where its private half is: `database`, `setting`, or `gone`; who signs with another setting knows better.
    private: str
    created_at: datetime
    retired_at: datetime | None

    def document(self) -> dict[str, Any]:
        """Return the key as an element of `flowforge/receipt-keys/v1`."""
        from base64 import b64encode

        from flowforge.model.receipt_key import pem

        return {
            "id": self.id,
            "algorithm": "Ed25519",
            "public_key": b64encode(self.public_key).decode(),
            "pem": pem(self.public_key),
            "private": self.private,
            "created_at": rfc3339(self.created_at),
            "retired_at": rfc3339(self.retired_at),
        }


async def of_run(engine: Engine, run_id: UUID) -> list[dict[str, Any]]:
    """Return every receipt of a run, oldest first; waits a moment for one that is being made."""
    deadline, pause = time.monotonic() + PATIENCE, 0.05
    while True:
        async with engine.database.connection() as connection:
            run = await views.run(connection, run_id)
            if run is None:
                raise NotFound(f"there is no run {run_id}", hint="flowforge ps lists runs")
            due = await receipts.due(connection, run_id)
            kept = await receipts.of_run(connection, run_id)
            alive = due and any(one.status == "active" for one in await workers.all_workers(connection))
        if not due or not alive or time.monotonic() > deadline:
            break
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, 0.5)
    if not kept and not run[0].status.final:
        raise Conflict(
            f"run {run_id} is {run[0].status.value}: it gets its receipt when it has ended",
            hint=f"flowforge wait {run_id}",
        )
    if due:
        raise NotFound(f"run {run_id} has no receipt of its end yet: workers make them", hint="flowforge worker start")
    return [_document(one) for one in kept]


async def made(engine: Engine, run_id: UUID) -> list[dict[str, Any]]:
    """Return the receipts that a run has by now, oldest first."""
    async with engine.database.connection() as connection:
        return [_document(one) for one in await receipts.of_run(connection, run_id)]


def _document(kept: receipts.Kept) -> dict[str, Any]:
    tree = merkle.levels(kept.hashes)
    return proven(kept.body, merkle.path(tree, kept.position), tree[-1][0], kept.signature, kept.public_key)


async def keys(engine: Engine, *, rotate: bool = False) -> list[ReceiptKey]:
    """Return the public keys, newest first; makes the first one, or with *rotate* another one."""
    async with engine.database.transaction() as connection:
        used = await (signing.rotate if rotate else signing.signer)(connection, engine.settings)
        return [_key(row, used.id) for row in await receipt_keys.every(connection)]


def _key(row: receipt_keys.KeyRow, used: str) -> ReceiptKey:
    private = "database" if row.kept else "setting" if row.id == used else "gone" if row.retired_at else "elsewhere"
    return ReceiptKey(row.id, row.public_key, private, row.created_at, row.retired_at)
