"""Runs from wherever a reference leads: a file needs no server, everything else a client."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from flowforge_cli import session

if TYPE_CHECKING:
    from flowforge.client import AsyncClient
    from flowforge.model.capsule import Capsule


def capsules(references: Sequence[str]) -> list[Capsule]:
    """Return what is known of runs, in order; without any server where all are files."""
    from flowforge.client import capsules

    if all(capsules.is_file(one) for one in references):
        return [capsules.read(one) for one in references]
    return session.run(lambda client: _all(client, references))


async def _all(client: AsyncClient, references: Sequence[str]) -> list[Capsule]:
    return [await client.capsule(one) for one in references]


def is_file(reference: str) -> bool:
    """Say whether a reference means a capsule's file."""
    from flowforge.client import capsules

    return capsules.is_file(reference)
