"""A process that dies at every named point: whatever has happened by then, others finish the work. Scenario 2."""

from __future__ import annotations

import signal
from typing import Any

import pytest

from flowforge.engine.crash import POINTS
from tests.chaos.kit.world import World

CONCURRENCY = 8
#: Attempts that two workers may have under way when they die.
LOST = 2 * CONCURRENCY
#: What a dead worker had is reclaimed in one pass, so this point may be reached but once.
ONCE = {"reclaimer.after_reclaim"}


@pytest.mark.parametrize("point", POINTS)
def test_02_a_worker_that_dies_at_a_named_point_loses_nothing(world: World, point: str):
    """A first worker has died already, so that there are leases to rescue and deliveries to reclaim as well."""
    how: dict[str, Any] = {"lease": "3s", "redispatch_after": "5s", "concurrency": str(CONCURRENCY)}
    first = world.worker(**how)
    world.load(84, longest=0.8)
    world.happened(world.random.randint(5, 40))
    first.kill()
    if point.startswith("degraded"):
        world.valkey.config_set("maxmemory", "1")
    try:
        times = 1 if point in ONCE else world.random.randint(1, 3)
        victim = world.worker(ready=False, **how, crash_at=f"{point}:{times}")
        assert victim.process.wait(timeout=120) == -signal.SIGKILL, victim.said[-2000:]
    finally:
        world.valkey.config_set("maxmemory", "0")
    world.some_workers(2, lease="8s", redispatch_after="5s")
    world.verify(crashes=LOST, repeated=LOST)
