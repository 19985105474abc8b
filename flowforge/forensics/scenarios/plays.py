"""The incidents: each workflow, how its outside misbehaves, and what has to be found afterwards.

An order is reserved, charged and shipped. Sizes are small, so that each takes seconds; the causes are real: nothing is
written into the history but by the engine that lived it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple
from uuid import UUID

from flowforge.forensics.scenarios.service import Answer, Behaviour, Call, Service, serving
from flowforge.forensics.scenarios.stage import Stage

#: How long something slow takes, in seconds.
SLOW = 0.7


class Played(NamedTuple):
    """What a play leaves behind."""

    workflow: str
    runs: list[UUID]
    service: Service


def _step(step: str, *after: str, **more: Any) -> dict[str, Any]:
    config = {"method": "POST", "url": f"{{{{ input.service }}}}/{step}/{{{{ input.order }}}}", "body": {}}
    return {"id": step, "type": "http", "depends_on": list(after), "config": config, **more}


def _order(name: str, *steps: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"name": name, "concurrency": {"limit": None}, "steps": list(steps), **more}


def _inputs(address: str, orders: range, **more: Any) -> list[dict[str, Any]]:
    return [{"service": address, "order": order, **more} for order in orders]


async def _simple(stage: Stage, definition: dict[str, Any], behaviour: Behaviour, orders: int, **how: Any) -> Played:
    """Start all orders at once, and work until they have ended."""
    service = Service(behaviour, **how)
    with serving(service) as address:
        target = await stage.publish(definition)
        runs = await stage.start(target, _inputs(address, range(orders)))
        async with stage.worker():
            await stage.ended(runs)
    return Played(definition["name"], runs, service)


async def retry_storm(stage: Stage, size: int) -> Played:
    """The payment provider is down; everybody tries again at the same moments, some in vain."""

    def behaviour(call: Call) -> Answer:
        down = call.step == "charge" and (call.number <= 3 or call.order % 4 == 0)  # noqa: PLR2004 - calls
        return Answer(503, effect=False) if down else Answer()

    retry = {"max_attempts": 5, "backoff": "fixed", "initial_delay": "200ms", "jitter": False}
    steps = (_step("reserve"), _step("charge", "reserve", retry=retry), _step("ship", "charge"))
    return await _simple(stage, _order("scenario-retry-storm", *steps), behaviour, size)


async def slow_dependency(stage: Stage, size: int) -> Played:
    """The price service answers at once, until from one moment on it takes its time."""
    slow = {"now": False}

    def behaviour(call: Call) -> Answer:
        return Answer(after=SLOW if slow["now"] and call.step == "price" else 0.01)

    service = Service(behaviour)
    definition = _order("scenario-slow-dependency", _step("reserve"), _step("price", "reserve"), _step("ship", "price"))
    runs: list[UUID] = []
    with serving(service) as address:
        target = await stage.publish(definition)
        async with stage.worker():
            for part in (range(size), range(size, 2 * size)):
                runs += (started := await stage.start(target, _inputs(address, part)))
                await stage.ended(started)
                slow["now"] = True
    return Played(definition["name"], runs, service)


async def worker_lost(stage: Stage, size: int) -> Played:
    """A worker is killed while it charges; another one takes over when its leases have run out."""

    def behaviour(call: Call) -> Answer:
        return Answer(after=60.0 if call.step == "charge" and call.number == 1 else 0.0)

    service = Service(behaviour)
    definition = _order("scenario-worker-lost", _step("reserve"), _step("charge", "reserve"), _step("ship", "charge"))
    with serving(service) as address:
        target = await stage.publish(definition)
        runs = await stage.start(target, _inputs(address, range(size)))
        await stage.killed_worker(until=lambda: service.calls("charge") == size)
        async with stage.worker():
            await stage.ended(runs)
    return Played(definition["name"], runs, service)


async def gate_starvation(stage: Stage, size: int) -> Played:
    """Two large exports hold both places of the gate; small orders wait for them."""
    service = Service(lambda call: Answer(after=2 * SLOW if call.step == "export" and call.order < 2 else 0.0))  # noqa: PLR2004
    steps = (_step("export"), _step("ship", "export"))
    definition = _order("scenario-gate-starvation", *steps) | {"concurrency": {"limit": 2, "on_limit": "queue"}}
    with serving(service) as address:
        target = await stage.publish(definition)
        runs = await stage.start(target, _inputs(address, range(2)))
        runs += await stage.start(target, _inputs(address, range(2, size + 2)))
        async with stage.worker():
            await stage.ended(runs)
    return Played(definition["name"], runs, service)


async def bad_deploy(stage: Stage, size: int) -> Played:
    """A new version reads a field that most orders do not have."""
    service = Service(lambda _: Answer())
    runs: list[UUID] = []
    with serving(service) as address:
        async with stage.worker():
            for field, some in (("amount", range(size)), ("total", range(size, 2 * size))):
                total = {"id": "total", "type": "transform", "config": {"expression": f"input.{field} * 120 // 100"}}
                charge = _step("charge", "total", retry={"max_attempts": 1})
                target = await stage.publish(_order("scenario-bad-deploy", total, charge))
                inputs = _inputs(address, some, amount=100)
                inputs[0]["total"] = 100
                runs += (started := await stage.start(target, inputs))
                await stage.ended(started)
    return Played("scenario-bad-deploy", runs, service)


async def duplicate_effects(stage: Stage, size: int) -> Played:
    """The payment provider charges and answers too late; asked again, it charges again."""

    def behaviour(call: Call) -> Answer:
        late = call.step == "charge" and call.number == 1 and call.order % 2 == 0
        return Answer(after=2.0 if late else 0.0)

    retry = {"max_attempts": 3, "backoff": "fixed", "initial_delay": "100ms"}
    steps = (_step("reserve"), _step("charge", "reserve", timeout="500ms", retry=retry), _step("ship", "charge"))
    return await _simple(stage, _order("scenario-duplicate-effects", *steps), behaviour, size, honours_keys=False)


Play = Callable[[Stage, int], Awaitable[Played]]

#: By name: the play, and its size when nobody says one.
PLAYS: dict[str, tuple[Play, int]] = {
    "retry_storm": (retry_storm, 12),
    "slow_dependency": (slow_dependency, 8),
    "worker_lost": (worker_lost, 6),
    "gate_starvation": (gate_starvation, 10),
    "bad_deploy": (bad_deploy, 8),
    "duplicate_effects": (duplicate_effects, 8),
}
