"""What can happen to a run, and what is answered: the vocabulary of decisions.

Facts come from workers, timers and operators. Each gets exactly one answer; a fact that comes too late is
answered, never raised. Nobody changes one; those that come by the thousand a second are not frozen, because that
makes them three times as slow to make.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TypeAlias

from flowforge.model.drift import Expected
from flowforge.model.outcome import Outcome
from flowforge.model.state import StepState


@dataclass(frozen=True, slots=True)
class Created:
    """A run was accepted; of a replay it is known who wanted it, and why."""

    trigger: str
    actor: str | None = None
    reason: str | None = None

    @property
    def who(self) -> dict[str, str | None]:
        """Who wanted it, and why, as it is kept in the history."""
        return {} if self.actor is None else {"actor": self.actor, "reason": self.reason}


@dataclass(frozen=True, slots=True)
class Taker:
    """A worker with room for a step that becomes ready: it goes on with it without a trip through the stream."""

    worker: str
    lease: timedelta
    #: Lanes in which it has room.
    lanes: frozenset[str]
    #: Steps of the run that it has under way.
    but: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Admitted:
    """The run's gate has room, or there is none; *taker* would begin with it."""

    taker: Taker | None = None


@dataclass(slots=True)
class Claimed:
    """A worker read the dispatch of a step and wants to execute it."""

    step: int
    dispatch_no: int
    worker: str
    lease: timedelta
    #: The delivery was taken over from another consumer; only then may an ended lease be taken over too.
    reclaimed: bool = False
    #: Offered before, with an answer that was lost: the worker may own the step already.
    repeated: bool = False


@dataclass(slots=True)
class Settled:
    """An attempt ended; *token* proves that it was still the worker's."""

    step: int
    token: int
    worker: str
    lease: timedelta
    outcome: Outcome
    #: JSON text of a completed or waiting outcome's output.
    output: str | None = None
    #: Lanes in which the worker can take a ready successor right away; empty: none.
    lanes: frozenset[str] = frozenset()
    #: Between 0 and 1, for the retry delay.
    jitter: float = 0.0
    #: Offered before, with an answer that was lost: it may have taken effect already.
    repeated: bool = False


@dataclass(frozen=True, slots=True)
class Woke:
    """The sweeper looks at a run whose alarm went off: leases, timers, deadlines, lost dispatches."""

    #: Dispatch every queued step again, because the stream lost them all.
    streams_lost: bool = False
    #: The stream still holds a backlog, so an unclaimed step is late, not lost.
    backlog: bool = False
    #: Who would begin with an attempt that another worker has lost.
    taker: Taker | None = None


@dataclass(frozen=True, slots=True)
class CancelRequested:
    """Somebody wants the run to stop; with *force*, without waiting until what runs has acknowledged that."""

    actor: str
    reason: str | None = None
    force: bool = False


@dataclass(frozen=True, slots=True)
class PauseRequested:
    """Somebody wants nothing new to start in the run."""

    actor: str
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class ResumeRequested:
    """Somebody wants a paused run to go on."""

    actor: str
    reason: str | None = None
    #: When it was paused: its deadline is as much later as it stood still.
    paused_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class SkipRequested:
    """Somebody wants the run to go on without a step."""

    step: int
    actor: str
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class SignalSent:
    """Something that a step may wait for has come from outside."""

    name: str
    actor: str
    #: JSON text.
    payload: str = "null"


@dataclass(frozen=True, slots=True)
class Decided:
    """Somebody who may decide has approved or rejected what a step asks."""

    step: int
    actor: str
    approved: bool
    comment: str | None = None


@dataclass(frozen=True, slots=True)
class Woken:
    """What a step waits for may have come; *by* says what that is."""

    step: int
    by: str


@dataclass(frozen=True, slots=True)
class RetryRequested:
    """Somebody wants a failed or cancelled run to go on from what failed, or from a step."""

    actor: str
    reason: str | None = None
    #: Number of the step to start from, with everything that depends on it.
    from_step: int | None = None
    #: The version that the run was moved to for it.
    to_version: int | None = None


@dataclass(frozen=True, slots=True)
class Recorded:
    """Some steps are not executed: what they came to was recorded in another run."""

    #: Completed or skipped, with their outputs.
    steps: tuple[StepState, ...]


@dataclass(frozen=True, slots=True)
class DuplicatePrevented:
    """A second start came with an idempotency key that this run already has."""

    key: str


#: What operators and people who decide want.
Request: TypeAlias = (
    CancelRequested | PauseRequested | ResumeRequested | RetryRequested | SkipRequested | SignalSent | Decided
)


@dataclass(frozen=True, slots=True)
class Provided:
    """Somebody wants something of a run as they have seen it, and of no other."""

    request: Request
    expected: Expected


Fact: TypeAlias = (
    Created | Recorded | Admitted | Claimed | Settled | Woke | Woken | Request | Provided | DuplicatePrevented
)


class Refusal(StrEnum):
    """Why a claim or a settlement is not accepted.

    - `stale`: the dispatch, or the token, is not the newest one; drop it.
    - `leased`: another worker's lease still runs; leave the delivery pending and look again later.
    - `over`: the run takes no more work; drop it.
    - `unknown`: there is no such run or step; bury the delivery.
    - `unreadable`: this release cannot read the run's definition; leave it to one that can.
    - `paused`: the run is held; leave it to the dispatch that follows its resumption.
    """

    STALE = "stale"
    LEASED = "leased"
    OVER = "over"
    UNKNOWN = "unknown"
    UNREADABLE = "unreadable"
    PAUSED = "paused"


@dataclass(slots=True)
class Granted:
    """The attempt is the worker's: its step as claimed, with attempt, token and lease."""

    step: StepState


@dataclass(frozen=True, slots=True)
class Refused:
    """The claim or settlement was not accepted."""

    why: Refusal


@dataclass(slots=True)
class Accepted:
    """The fact took effect; *next* is the successor that the worker may go on with."""

    next: StepState | None = None


@dataclass(frozen=True, slots=True)
class Rejected:
    """The current state does not allow what an operator asked for."""

    message: str


@dataclass(frozen=True, slots=True)
class Drifted:
    """The run is not as it was when somebody looked at it; nothing was done."""

    message: str


Answer: TypeAlias = Granted | Refused | Accepted | Rejected | Drifted
