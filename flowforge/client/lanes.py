"""What lies in the streams of lanes: asked for by length first, because of many lanes most are empty."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from flowforge.engine.engine import Engine
from flowforge.engine.names import GROUP
from flowforge.model.circumstances import LaneFacts, Surroundings
from flowforge_streams.errors import StreamError
from flowforge_streams.letters import dead_stream


async def with_streams(engine: Engine, around: Surroundings, lanes: Iterable[str]) -> Surroundings:
    """Return surroundings with what lies in the streams of some lanes, or why that cannot be known."""
    address, found, names = engine.streams.address, dict(around.lanes), sorted(lanes)
    try:
        lengths = await engine.streams.lengths([engine.names.lane(lane) for lane in names])
        for lane, length in zip(names, lengths, strict=True):
            # Most streams of many are empty: nothing waits in those, and nothing is taken from them.
            waiting, pending = await _depth(engine, lane) if length else (0, 0)
            found[lane] = replace(found.get(lane, LaneFacts()), waiting=waiting, pending=pending)
    except StreamError as error:
        reason = str(error).strip().partition("\n")[0].rstrip(".")
        return replace(around, lanes=found, streams=address, streams_down=reason)
    return replace(around, lanes=found, streams=address)


async def _depth(engine: Engine, lane: str) -> tuple[int, int]:
    group = engine.streams.group(engine.names.lane(lane), GROUP)
    try:
        depth = await group.depth()
    finally:
        await group.close()
    return depth.waiting, depth.pending


async def dead_letters(engine: Engine, lanes: Iterable[str]) -> dict[str, int]:
    """Return how many dead letters queues have, those that have any; raises StreamError."""
    names = sorted(lanes)
    counts: dict[str, int] = {}
    lengths = await engine.streams.lengths([dead_stream(engine.names.lane(lane)) for lane in names])
    for lane, length in zip(names, lengths, strict=True):
        if length:
            queue = lane.removesuffix(".python")
            counts[queue] = counts.get(queue, 0) + length
    return counts
