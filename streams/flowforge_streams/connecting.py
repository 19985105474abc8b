"""The way in: a URL becomes a log. Nothing is sent before the first call, so a server may start later."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .redis_log import RedisLog


def connect(
    url: str,
    *,
    timeout: timedelta = timedelta(seconds=5),
    connections: int = 4,
    epoch_key: str = "flowforge_streams:epoch",
    client_name: str | None = None,
) -> RedisLog:
    """Open the server at *url*: `redis://host:port/db`, `rediss://…` or `unix:///path/sock?db=0`.

    *timeout* is how long any answer may take (a blocking read: on top of its block), and must exceed two
    seconds in production, because servers overrun a block under load. *connections* are those for commands;
    each group and each tail has one more for its reads.
    """
    from .link import Endpoint
    from .redis_log import RedisLog

    endpoint = Endpoint(url, timeout=timeout, client_name=client_name)
    return RedisLog(endpoint, connections=connections, epoch_key=epoch_key)
