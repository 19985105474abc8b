"""A process that dies at every named point: whatever has happened by then, its successor finishes the work. Scenario 2."""

from __future__ import annotations

import signal

import pytest

from flowforge.engine.crash import POINTS
from tests.chaos.kit.world import World

#: Attempts that a worker may have under way when it dies.
CONCURRENCY = 8


@pytest.mark.parametrize("point", POINTS)
def test_02_a_worker_that_dies_at_a_named_point_loses_nothing(world: World, point: str):
    """A first worker has died already, so that there are leases to rescue and deliveries to reclaim as well."""
    how = {"lease": "3s", "concurrency": str(CONCURRENCY)}
    first = world.worker(**how)
    world.load(84, longest=0.8)
    world.happened(world.random.randint(5, 40))
    first.kill()
    if point.startswith("degraded"):
        world.valkey.config_set("maxmemory", "1")
    try:
        victim = world.worker(ready=False, **how, crash_at=f"{point}:{world.random.randint(1, 3)}")
        assert victim.process.wait(timeout=120) == -signal.SIGKILL, victim.said[-2000:]
    finally:
        world.valkey.config_set("maxmemory", "0")
    world.some_workers(2, lease="20s")
    world.verify(crashes=2 * CONCURRENCY, repeated=2 * CONCURRENCY)
