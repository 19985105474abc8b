"""Three bugs that the simulation has to find, each put into the real code for as long as a test wants it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from flowforge.engine.attempts import Attempts
from flowforge.engine.holdings import Held
from flowforge.model import decide
from flowforge.model.facts import Answer, Settled
from flowforge.model.outcome import Outcome
from flowforge.model.turn import Turn
from flowforge.store import transitions
from tests.simulation import statements
from tests.simulation.postgres import Session


@contextmanager
def _in_place(owner: Any, name: str, stand_in: Callable[..., Any]) -> Iterator[None]:
    real = getattr(owner, name)
    setattr(owner, name, stand_in)
    try:
        yield
    finally:
        setattr(owner, name, real)


def settle_without_the_token() -> Any:
    """Accept whatever a worker says of a step that runs, whoever it was given to."""
    real = decide._settled

    def settled(turn: Turn, fact: Settled) -> Answer:
        state = turn.steps.get(fact.step)
        return real(turn, fact if state is None else replace(fact, token=state.token))

    return _in_place(decide, "_settled", settled)


def join_without_the_guard() -> Any:
    """Write a decision although somebody else has changed the run since it was made."""

    async def write(session: Session, turns: Sequence[Turn]) -> transitions.Written:
        runs = session._server.tables.runs
        for turn in turns:
            if (run := runs.get(turn.before.id)) is not None:
                turn.before = turn.before._replace(revision=run.state.revision)
        return await statements.write(session, turns)

    return _in_place(transitions, "write", write)


def ack_before_commit() -> Any:
    """Acknowledge a delivery as soon as its attempt has ended."""
    real = Attempts._settle

    def settle(self: Attempts, held: Held, outcome: Outcome) -> None:
        self._worker.acker.ack(held.delivery)
        real(self, held, outcome)

    return _in_place(Attempts, "_settle", settle)


PLANTED = {
    "settle without the token": settle_without_the_token,
    "join decided without the guard": join_without_the_guard,
    "ack before commit": ack_before_commit,
}
