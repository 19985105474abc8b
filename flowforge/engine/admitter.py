"""The admitter: gives the room that ended runs leave at their gates to those who wait there.

While one transaction admits, freed gates collect for the next, so that a gate with a long line lets many runs in at
once. The worker whose run has ended has room itself: it begins with the runs it admits, as it goes on with a ready
successor, and spares them the trip through outbox and stream; what it can execute in the transaction that admits them
is done in it, and a run that ends there has made room again. What is forgotten here when the worker dies, the
sweeper finds.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from flowforge.engine.entries import Consequences
from flowforge.engine.ledger import Hands
from flowforge.engine.loop import Loop
from flowforge.errors import BackendError
from flowforge.model.facts import Taker

if TYPE_CHECKING:
    from flowforge.engine.worker import Worker


class Admitter(Loop):
    """Admits where its worker's commits made room."""

    #: It is nudged; only a failure leaves something to do.
    pause = 60.0

    def __init__(self, worker: Worker) -> None:
        super().__init__()
        self._worker = worker
        self._freed: set[int] = set()
        #: Steps that the transaction under way may give us.
        self.reserved = 0

    def free(self, gate_ids: Iterable[int]) -> None:
        """Look at gates soon: they may have room, or somebody new who waits."""
        self._freed.update(gate_ids)
        self.nudge()

    async def run_once(self) -> float | None:
        """Admit whoever the freed gates have room for."""
        gate_ids, self._freed = self._freed, set()
        if not gate_ids:
            return None
        worker, consequences = self._worker, Consequences()
        lanes = worker.lanes_with_room(python=False)
        taker = Taker(worker.id, worker.engine.settings.lease, lanes)
        hands = Hands(taker, max(0, worker.room()) if lanes else 0, worker.inline)
        self.reserved = hands.room
        try:
            begun = await worker.engine.ledger.admit(gate_ids, consequences, hands)
        except BackendError:
            # Nobody knows whether it was committed: what we were given then is asked for again.
            worker.attempts.recover(hands.given)
            self._freed |= gate_ids
            raise
        except BaseException:
            self._freed |= gate_ids
            raise
        finally:
            self.reserved = 0
        worker.committer.count(hands.runs)
        worker.after(consequences)
        worker.attempts.begin(begun)
        return 0
