"""The outside of a scenario: a small HTTP service on this machine that behaves as the scenario wants.

Calls are `POST /<step>/<order>`. It counts every effect with the idempotency key it was asked with; whether it honours
the key is part of the scenario.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, NamedTuple

import pandas as pd

from flowforge.local import outside


class Call(NamedTuple):
    """One call of the service."""

    step: str
    order: int
    #: Counted from 1, for this step and order.
    number: int


class Answer(NamedTuple):
    """What the service does about a call."""

    status: int = 200
    #: Seconds before it answers.
    after: float = 0.0
    #: Whether something happened, whatever the answer.
    effect: bool = True


Behaviour = Callable[[Call], Answer]


class Service:
    """What was asked of the service, and what came of it."""

    def __init__(self, behaviour: Behaviour, *, honours_keys: bool = True) -> None:
        self._behaviour, self._honours_keys = behaviour, honours_keys
        self._lock = threading.Lock()
        self._calls: Counter[tuple[str, int]] = Counter()
        self._effects: list[dict[str, Any]] = []
        self._keys: set[str] = set()
        #: Ends every pause: a scenario that is over does not wait.
        self.over = threading.Event()

    def handle(self, step: str, order: int, key: str) -> Answer:
        """Have the effect, if there is one; return the answer."""
        with self._lock:
            self._calls[step, order] += 1
            answer = self._behaviour(Call(step, order, self._calls[step, order]))
            if answer.effect and not (self._honours_keys and key in self._keys):
                self._keys.add(key)
                self._effects.append({"key": key, "step": step, "order": order, "at": datetime.now(UTC)})
        if answer.after:
            self.over.wait(answer.after)
        return answer

    def calls(self, step: str) -> int:
        """Return for how many orders a step was called."""
        with self._lock:
            return sum(1 for name, _ in self._calls if name == step)

    def effects(self) -> pd.DataFrame:
        """Return every effect, as the other side's own list."""
        with self._lock:
            return pd.DataFrame(self._effects, columns=["key", "step", "order", "at"])


@contextmanager
def serving(service: Service) -> Iterator[str]:
    """Serve until the end of the block; yields the address."""

    def respond(path: str, key: str) -> tuple[int, dict[str, Any]]:
        step, _, order = path.partition("/")
        answer = service.handle(step, int(order or 0), key)
        return answer.status, {"step": step, "order": int(order or 0)}

    with outside.serving(respond) as address:
        try:
            yield address
        finally:
            service.over.set()
