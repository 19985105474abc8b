"""The key of an installation: given by the setting `receipt_key`, or made on first use and kept in the database.

All workers sign with the same key without being told of it. Whoever may read the table `receipt_keys` could sign as
well; where that is too many, the key is given to the workers, and the database knows the public half alone.
"""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from flowforge.errors import Conflict, UsageError
from flowforge.settings import Settings
from flowforge.store import receipt_keys
from flowforge.store.database import Connection

if TYPE_CHECKING:
    from flowforge.model.receipt_key import Signer


async def signer(connection: Connection, settings: Settings) -> Signer:
    """Return the key to sign with; its public half is known to the installation from then on."""
    from flowforge.model.receipt_key import Signer

    if settings.receipt_key is not None:
        given = _given(settings.receipt_key.get_secret_value())
        await receipt_keys.keep(connection, given.id, given.public_key)
        return given
    seed = await receipt_keys.active(connection)
    if seed is None:
        new = os.urandom(32)
        made = Signer(new)
        await receipt_keys.keep(connection, made.id, made.public_key, new)
        # Somebody else's may have been quicker.
        seed = await receipt_keys.active(connection)
        assert seed is not None
    return _signer(seed)


async def rotate(connection: Connection, settings: Settings) -> Signer:
    """Sign with a new key from now on, and forget the old private one; the caller's transaction holds both."""
    if settings.receipt_key is not None:
        raise Conflict(
            "the key is given by the setting receipt_key, so FlowForge cannot make another one",
            hint="change the setting of every worker; public keys of before stay known",
        )
    await receipt_keys.retire(connection)
    return await signer(connection, settings)


def _given(text: str) -> Signer:
    if not text.startswith("@"):
        return _read(text)
    path = Path(text[1:])
    try:
        return _read(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"the private key of receipts cannot be read from {path}: {error}") from None


@lru_cache(maxsize=4)
def _read(text: str) -> Signer:
    from flowforge.model.receipt_key import seed_of

    return _signer(seed_of(text))


@lru_cache(maxsize=4)
def _signer(seed: bytes) -> Signer:
    from flowforge.model.receipt_key import Signer

    return Signer(seed)
