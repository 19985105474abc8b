"""A look at the streams of an installation that shares nothing with the library under test."""

from __future__ import annotations

from typing import Any

import redis

from flowforge.engine.engine import Engine
from flowforge.engine.feed import decode
from flowforge.model.documents import RunEvent
from flowforge_streams.delivery import Record

#: Lanes that tests dispatch to.
LANES = ("default", "default.python", "gpu", "gpu.python")


def entries(client: redis.Redis, key: str) -> list[dict[str, str]]:
    """Return the fields of a stream's entries, oldest first."""
    found: Any = client.xrange(key)
    return [{name.decode(): value.decode() for name, value in fields.items()} for _, fields in found]


def dispatches(client: redis.Redis, engine: Engine, lane: str = "default") -> list[tuple[str, int, int]]:
    """Return (run, step, dispatch number) of the messages in a lane."""
    found = entries(client, engine.names.lane(lane))
    return [(one["run"], int(one["step"]), int(one["dispatch_no"])) for one in found]


def published(client: redis.Redis, engine: Engine) -> list[tuple[str, int, str]]:
    """Return (run, number, type) of the events in the events stream."""
    return [(str(one.run), one.seq, one.type) for one in published_events(client, engine)]


def published_events(client: redis.Redis, engine: Engine) -> list[RunEvent]:
    """Return the events in the events stream."""
    found: Any = client.xrange(engine.names.events)
    records = [
        Record(entry.decode(), {name.decode(): value for name, value in fields.items()}) for entry, fields in found
    ]
    return [event for record in records for event in decode(record)]
