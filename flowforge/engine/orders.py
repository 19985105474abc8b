"""Orders: how workers tell each other that an attempt is to stop, and that the outbox is not empty.

    commit ─▶ stops ─┬─▶ held here: interrupted                       (worker, run, step, token)
                     └─▶ control channel ─▶ whoever holds it

Invariant: an order names the token of the attempt, so one that comes late stops nothing else. Orders only shorten
polls: the heartbeat learns from Postgres what is lost here.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable
from uuid import UUID

from flowforge.engine.engine import Engine
from flowforge.engine.errands import Errands
from flowforge.engine.holdings import Holdings, Stop
from flowforge_streams.seam import Signal

log = logging.getLogger(__name__)


class Orders:
    """What one worker tells the others, and is told."""

    def __init__(
        self, engine: Engine, worker_id: str, holdings: Holdings, errands: Errands, wake: Callable[[], None]
    ) -> None:
        self._streams, self._names = engine.streams, engine.names
        self._worker_id, self._holdings, self._errands = worker_id, holdings, errands
        #: Called when others say that the outbox is not empty.
        self._wake = wake

    def give(self, stops: Iterable[tuple[str, UUID, int, int]]) -> None:
        """Stop attempts: (worker, run, step, token)."""
        for worker_id, run_id, step, token in stops:
            if worker_id == self._worker_id:
                self._stop(run_id, step, token)
            else:
                payload = json.dumps({"run": str(run_id), "step": step, "token": token})
                self._errands.send(self._streams.signals.publish(self._names.control, payload))

    async def run(self) -> None:
        """Hear the others."""
        async for signal in self._streams.signals.listen([self._names.wake, self._names.control]):
            if signal.channel == self._names.wake:
                self._wake()
            else:
                self._obey(signal)

    def _obey(self, signal: Signal) -> None:
        try:
            order = json.loads(signal.payload)
            self._stop(UUID(order["run"]), int(order["step"]), int(order["token"]))
        except (ValueError, KeyError, TypeError) as error:
            log.warning("a control message is not understood: %s", error)

    def _stop(self, run_id: UUID, step: int, token: int) -> None:
        held = self._holdings.get((run_id.int, step))
        if held is not None and held.assignment.token == token:
            held.interrupt(Stop.CANCEL)
