"""Finding the installation: the configured servers, or the embedded ones, started when needed."""

from __future__ import annotations

import asyncio

from flowforge.engine.engine import Endpoints
from flowforge.settings import Settings
from flowforge.store import schema
from flowforge.store.database import connect


async def endpoints(settings: Settings) -> Endpoints:
    """Return where the servers are; embedded ones run and have the current schema afterwards."""
    if settings.database_url is not None and settings.redis_url is not None:
        return Endpoints(settings.database_url, settings.redis_url)
    from flowforge import local

    home = local.default_home() if settings.home is None else local.Home(settings.home)
    found = await asyncio.to_thread(local.up, home)
    answer = Endpoints(settings.database_url or found.database_url, settings.redis_url or found.redis_url)
    if settings.database_url is None:
        await _upgrade(answer.database_url)
    return answer


async def _upgrade(url: str) -> None:
    """Give an embedded database the current schema; one that is newer is left to fail the check."""
    connection = await connect(url)
    try:
        status = await schema.status(connection)
    finally:
        await connection.close()
    if not status.ready and (status.current is None or status.current < status.head):
        await asyncio.to_thread(schema.upgrade, url)
