"""The service that the demo's workflow calls: it takes its time, counts its calls, and honours idempotency keys.

A call with a key it has seen is answered with the first answer and has no second effect, as a payment provider
would do it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from flowforge.local.outside import serving

#: Seconds that one effect takes: long enough to be interrupted.
SLOW = {"charge": 0.7}
QUICK = 0.02


@dataclass
class Effects:
    """What one kind of call did."""

    #: The idempotency key of every call, in order.
    keys: list[str] = field(default_factory=list)
    #: Key of each effect, and the answer it gave.
    done: dict[str, dict[str, Any]] = field(default_factory=dict)

    def document(self, step: str) -> dict[str, Any]:
        """Return the counts."""
        return {"step": step, "calls": len(self.keys), "keys": len(set(self.keys)), "effects": len(self.done)}


class Service:
    """What has been asked of the service, by step."""

    def __init__(self) -> None:
        self.effects: dict[str, Effects] = {}
        self._lock = threading.Lock()
        self._arrived: dict[str, threading.Event] = {}

    def arrived(self, step: str) -> threading.Event:
        """Return the event that is set when the first call for a step comes in."""
        with self._lock:
            return self._arrived.setdefault(step, threading.Event())

    def handle(self, step: str, key: str) -> dict[str, Any]:
        """Have the effect, unless the key has had it; return the answer."""
        with self._lock:
            effects = self.effects.setdefault(step, Effects())
            effects.keys.append(key)
            known = effects.done.get(key)
            answer = known or {"id": f"{step}-{len(effects.done) + 1}"}
            effects.done[key] = answer
        self.arrived(step).set()
        if known is not None:
            return {**answer, "repeated": True}
        time.sleep(SLOW.get(step, QUICK))
        return {**answer, "repeated": False}


@contextmanager
def running() -> Iterator[tuple[Service, str]]:
    """Run a service in a thread; yields it and its address."""
    service = Service()
    with serving(lambda step, key: (200, service.handle(step, key))) as address:
        yield service, address
