"""The audit of what Redis carries: deliveries that nobody finishes, queues without a group, letters nobody could read.

Postgres says what a delivery is about; a stream is never asked what is true.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from flowforge.engine import message
from flowforge.engine.names import GROUP, Names
from flowforge.model.audit import Violation
from flowforge.store.database import Connection
from flowforge_streams.delivery import Delivery
from flowforge_streams.standing import Pending

if TYPE_CHECKING:
    from flowforge_streams.redis_log import RedisLog

#: Pending deliveries of one queue that are looked at.
MOST = 1_000
DEAD = ":dead"

WANTED = """
SELECT u.run_id, u.step_no FROM unnest(%s::uuid[], %s::int4[], %s::int4[]) AS u (run_id, step_no, dispatch_no)
JOIN steps s ON s.run_id = u.run_id AND s.step_no = u.step_no
WHERE (s.status = 'queued' AND s.dispatch_no = u.dispatch_no) OR s.status = 'running'
"""


async def audit_streams(
    connection: Connection, streams: RedisLog, names: Names, *, patience: timedelta, at_rest: bool = False
) -> list[Violation]:
    """Check every queue of an installation; at rest nothing is in any."""
    found: list[Violation] = []
    prefix = names.lane("")
    for stream in await streams.streams(prefix):
        lane = stream.removeprefix(prefix)
        if lane.endswith(DEAD):
            count = await streams.length(stream)
            detail = f"{count} messages in lane {lane.removesuffix(DEAD)} could not be read"
            found += [Violation("letters", detail, None, lane)] if count and not at_rest else []
            continue
        if GROUP not in await streams.groups(stream):
            found.append(Violation("stream.group", f"lane {lane} has no group '{GROUP}'", None, stream))
        group = streams.group(stream, GROUP)
        pending = await group.pending(limit=MOST, min_idle=timedelta() if at_rest else patience)
        found += await _pending(connection, streams, stream, lane, pending)
        if at_rest and (length := await streams.length(stream)):
            found.append(Violation("stream.waiting", f"{length} entries are left in lane {lane}", None, stream))
    return found


async def _pending(
    connection: Connection, streams: RedisLog, stream: str, lane: str, pending: list[Pending]
) -> list[Violation]:
    """Say which deliveries nobody finishes, and whether their steps are past them."""
    if not pending:
        return []
    records = await streams.entries(stream, [one.entry_id for one in pending])
    read: list[message.Message | message.Malformed | None] = [
        None if one is None else message.decode(Delivery(stream, one.entry_id, one.fields, None, reclaimed=False))
        for one in records
    ]
    asked = [one for one in read if isinstance(one, message.Message)]
    wanted = await _wanted(connection, asked)
    found = []
    for one, told in zip(pending, read, strict=True):
        run = told.run_id if isinstance(told, message.Message) else None
        past = not (isinstance(told, message.Message) and (told.run_id, told.step) in wanted)
        what = "its step is past it" if past else "its step still needs it"
        seconds = round(one.idle.total_seconds())
        detail = f"delivery {one.entry_id} in lane {lane} is with {one.consumer}, idle for {seconds} s: {what}"
        found.append(Violation("stream.pending", detail, run, (stream, one.entry_id, past)))
    return found


async def _wanted(connection: Connection, asked: list[message.Message]) -> set[tuple[UUID, int]]:
    if not asked:
        return set()
    columns: tuple[list[Any], ...] = (
        [one.run_id for one in asked],
        [one.step for one in asked],
        [one.dispatch_no for one in asked],
    )
    return {(row[0], row[1]) for row in await (await connection.execute(WANTED, columns)).fetchall()}
