"""The rescuer: what a worker offers while it sweeps, and how it begins with what others have lost.

    lease over ─▶ sweep ─▶ the sweeping worker has room: it begins       one commit, no stream
                     └───▶ it has none: outbox, relay, stream            as any other dispatch

Whoever finds a lost attempt has just spoken to Postgres and lives; the stream may be away, and a dispatch may be read
by a worker that is frozen. So a takeover takes no longer than the lease and a sweep. Invariant: it never offers to
begin with a step that is under way here, because two attempts of one step must not share a worker.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING
from uuid import UUID

from flowforge.engine.entries import Applied
from flowforge.engine.ledger import Hands
from flowforge.model.facts import Taker

if TYPE_CHECKING:
    from flowforge.engine.worker import Worker

_NO_LANES: frozenset[str] = frozenset()


class Rescuer:
    """The hands of one worker's sweeper."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        #: Steps, and child processes, that the transaction under way may take.
        self.reserved = 0
        self.reserved_python = 0

    def offer(self, run_ids: Sequence[UUID]) -> tuple[Hands, list[Taker | None]]:
        """Keep room for a step of each run, as far as there is any; return who would begin with it, run by run."""
        worker, takers = self._worker, list[Taker | None]()
        room, python, busy = max(0, worker.room()), max(0, worker.python_room()), worker.holdings.steps()
        lease = worker.engine.settings.lease
        for run_id in run_ids:
            lanes = worker.lanes_with_room(python=python > self.reserved_python)
            if self.reserved >= room or not lanes:
                takers.append(None)
                continue
            takers.append(Taker(worker.id, lease, lanes, frozenset(busy.get(run_id.int, ()))))
            self.reserved += 1
            self.reserved_python += python > self.reserved_python
        return Hands(Taker(worker.id, lease, _NO_LANES), self.reserved), takers

    def begin(self, applied: Sequence[Applied]) -> None:
        """Begin with what was given."""
        self._worker.attempts.begin([one for one in applied if one.assignment is not None])

    def recover(self, hands: Hands) -> None:
        """Ask for what may have been given in a transaction whose answer was lost."""
        self._worker.attempts.recover(hands.given)

    def close(self) -> None:
        """Keep no room any more."""
        self.reserved = self.reserved_python = 0
