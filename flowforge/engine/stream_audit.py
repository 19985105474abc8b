"""The audit of what Redis carries: deliveries that nobody finishes, queues without a group, letters nobody could read.

Postgres says what a delivery is about, and is asked after the stream: a stream is never asked what is true.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeAlias
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

#: The lanes in whose streams something is.
Carried: TypeAlias = frozenset[str]

WANTED = """
SELECT u.run_id, u.step_no FROM unnest(%s::uuid[], %s::int4[], %s::int4[]) AS u (run_id, step_no, dispatch_no)
JOIN steps s ON s.run_id = u.run_id AND s.step_no = u.step_no
WHERE (s.status = 'queued' AND s.dispatch_no = u.dispatch_no) OR s.status = 'running'
"""


async def audit_streams(
    connection: Connection, streams: RedisLog, names: Names, *, patience: float
) -> tuple[Carried, list[Violation]]:
    """Check every queue of an installation; return the lanes in which something is, and what is wrong.

    Whatever is found may be on its way; *patience* is how many seconds a delivery must have lain still.
    """
    carried: set[str] = set()
    found: list[Violation] = []
    prefix = names.lane("")
    for stream in await streams.streams(prefix):
        lane = stream.removeprefix(prefix)
        length = await streams.length(stream)
        if lane.endswith(DEAD):
            detail = f"{length} messages in lane {lane.removesuffix(DEAD)} could not be read"
            found += [Violation("letters", detail, None, lane)] if length else []
            continue
        if length:
            carried.add(lane)
        if GROUP not in await streams.groups(stream):
            found.append(Violation("stream.group", f"lane {lane} has no group '{GROUP}'", None, stream))
            continue
        pending = await streams.group(stream, GROUP).pending(limit=MOST, min_idle=timedelta(seconds=patience))
        found += await _pending(connection, streams, stream, lane, pending)
    return frozenset(carried), found


async def _pending(
    connection: Connection, streams: RedisLog, stream: str, lane: str, pending: list[Pending]
) -> list[Violation]:
    """Return the deliveries that their steps are past.

    One that its step still needs is work like any other, whoever has it: the step's row says whether it is overdue,
    and how long it has lain still says nothing, because a worker that leaves hands back what it had as if for a day.
    One of a newer release is for that release's workers.
    """
    if not pending:
        return []
    records = await streams.entries(stream, [one.entry_id for one in pending])
    deliveries = [
        None if one is None else Delivery(stream, one.entry_id, one.fields, None, reclaimed=False) for one in records
    ]
    read = [None if one is None or message.is_newer(one) else message.decode(one) for one in deliveries]
    wanted = await _wanted(connection, [one for one in read if isinstance(one, message.Message)])
    found = []
    for one, delivery, told in zip(pending, deliveries, read, strict=True):
        newer = delivery is not None and message.is_newer(delivery)
        run = told.run_id if isinstance(told, message.Message) else None
        if newer or (isinstance(told, message.Message) and (told.run_id, told.step) in wanted):
            continue
        detail = f"delivery {one.entry_id} in lane {lane} is with {one.consumer}: its step is past it"
        found.append(Violation("stream.pending", detail, run, (stream, one.entry_id)))
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
