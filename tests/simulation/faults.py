"""What goes wrong at a time: to a server, to the streams, to one worker, to a run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from flowforge.model.facts import CancelRequested, PauseRequested, ResumeRequested, RetryRequested, SignalSent
from tests.simulation.fleet import SimulatedWorker
from tests.simulation.schedule import Fault

if TYPE_CHECKING:
    from tests.simulation.world import World


def strike(world: World, fault: Fault) -> None:
    """Let a fault happen."""
    world.watch.say(f"fault: {fault.kind}, of {fault.who}, {fault.much:g} s")
    if fault.kind in _OF_ALL:
        _OF_ALL[fault.kind](world, fault)
        return
    alive = [one for one in world.workers if not one.owner.dead]
    if alive:
        _OF_ONE[fault.kind](world, alive[fault.who % len(alive)], world.loop.time() + fault.much)


def _valkey_crashes(world: World, fault: Fault) -> None:
    world.streams.crash(fault.much, empty=world.chance.random() < 0.5)


def _streams_lost(world: World, group: str | None) -> None:
    for lane in world.streams.lanes():
        world.streams.log.drop(lane, group)


async def _paused(world: World, fault: Fault) -> None:
    await world.ask(fault.who, PauseRequested("ada"))
    await asyncio.sleep(fault.much)
    await world.ask(fault.who, ResumeRequested("ada"))


_OF_ALL: dict[str, Callable[[World, Fault], None]] = {
    "postgres crashes": lambda world, fault: world.server.crash(fault.much),
    "valkey crashes": _valkey_crashes,
    "flushed": lambda world, _: world.streams.log.wipe(),
    "stream lost": lambda world, _: _streams_lost(world, None),
    "group lost": lambda world, _: _streams_lost(world, "workers"),
    "repeated": lambda world, _: world.streams.repeat(),
    "lost": lambda world, _: world.streams.lose(),
    "cancelled": lambda world, fault: world.begin(world.ask(fault.who, CancelRequested("ada")), fault.kind),
    "retried": lambda world, fault: world.begin(world.ask(fault.who, RetryRequested("ada")), fault.kind),
    "paused": lambda world, fault: world.begin(_paused(world, fault), fault.kind),
    "signalled": lambda world, fault: world.begin(world.ask(fault.who, SignalSent("word", "ada")), fault.kind),
}


def _frozen(world: World, worker: SimulatedWorker, until: float) -> None:
    owner = worker.owner
    owner.frozen_until, owner.was_frozen = max(owner.frozen_until, until), True
    world.outside.froze(owner)


def _unreachable(server: str) -> Callable[[World, SimulatedWorker, float], None]:
    def strike_one(_: World, worker: SimulatedWorker, until: float) -> None:
        cut_off = worker.owner.cut_off
        cut_off[server] = max(cut_off.get(server, 0.0), until)

    return strike_one


_OF_ONE: dict[str, Callable[[World, SimulatedWorker, float], None]] = {
    "frozen": _frozen,
    "drained": lambda _, worker, __: worker.stop(),
    "postgres unreachable": _unreachable("postgres"),
    "valkey unreachable": _unreachable("valkey"),
}
