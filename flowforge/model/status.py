"""The statuses of runs and steps, and which of them are final.

The words are the source documents' own; they are the same in code, columns, events, CLI and documents.
"""

from __future__ import annotations

from enum import StrEnum


class RunStatus(StrEnum):
    """Where a run stands.

    - `pending`: accepted, waits for its gate; moved on by admission.
    - `running`: admitted; steps may be claimed.
    - `paused`: an operator holds it; nothing new starts.
    - `cancelling`: asked to stop; waits until every running attempt has acknowledged or lost its lease.
    - `compensating`: undoing what completed, in reverse order.
    - `completed`, `failed`, `cancelled`: final.
    """

    # Statuses are looked up all the time, and the hash of an Enum is a function written in Python.
    __hash__ = str.__hash__

    PENDING = "pending"
    RUNNING = "running"
    PAUSED = "paused"
    CANCELLING = "cancelling"
    COMPENSATING = "compensating"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def final(self) -> bool:
        """Whether only an explicit operator's retry can change it."""
        return self in FINAL_RUN


class StepStatus(StrEnum):
    """Where a step of a run stands.

    - `pending`: waits for dependencies (no row, or a row that counts the resolved ones).
    - `queued`: dispatched, or about to be; moved on by a claim.
    - `running`: claimed by a worker under a lease and a token.
    - `waiting`: waits for a time (retry, delay) or, later, for a signal or approval.
    - `completed`, `failed`, `cancelled`, `skipped`, `compensated`: final.
    """

    __hash__ = str.__hash__

    PENDING = "pending"
    QUEUED = "queued"
    RUNNING = "running"
    WAITING = "waiting"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"
    COMPENSATED = "compensated"

    @property
    def final(self) -> bool:
        """Whether nothing but an operator's retry or a compensation can change it."""
        return self in FINAL_STEP

    @property
    def done(self) -> bool:
        """Whether nothing is left to do for it: it was executed, left out or undone, and did not fail."""
        return self in DONE_STEP


FINAL_RUN = frozenset({RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED})
FINAL_STEP = frozenset(
    {
        StepStatus.COMPLETED,
        StepStatus.FAILED,
        StepStatus.CANCELLED,
        StepStatus.SKIPPED,
        StepStatus.COMPENSATED,
    }
)
DONE_STEP = frozenset({StepStatus.COMPLETED, StepStatus.SKIPPED, StepStatus.COMPENSATED})
