"""What an attempt decided, as a value: executors return one, the engine settles it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeAlias

from flowforge.model.json import Json

#: Code of the error of a step that an operator skipped: the run goes on without it, and so does what it lies in.
SKIPPED = "SKIPPED_BY_OPERATOR"


@dataclass(frozen=True, slots=True)
class StepError:
    """Why an attempt failed, with all that retry rules and people need to know."""

    #: Upper-case word for machines: HTTP_503, TIMEOUT, NETWORK, PYTHON_ERROR, INVALID_OUTPUT …
    code: str
    #: One line for people.
    message: str
    #: Every name that `retry_on` may match, beside the code: network, timeout, http_5xx, ValueError …
    kinds: tuple[str, ...] = ()
    #: Whether trying again can help; False ends the step unless its `retry_on` names the error.
    retryable: bool = True
    #: What the person may do next.
    hint: str | None = None
    #: Anything else worth keeping: traceback, response excerpt; a JSON value.
    details: Json = None

    def document(self, step: str | None = None, attempt: int | None = None) -> dict[str, Any]:
        """Return the error object of the contract (surfaces.md section 2)."""
        document: dict[str, Any] = {"code": self.code, "message": self.message, "step": step, "attempt": attempt}
        document |= {"retryable": self.retryable, "hint": self.hint}
        if self.kinds:
            document["kinds"] = list(self.kinds)
        if self.details is not None:
            document["details"] = self.details
        return document

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> StepError:
        """Rebuild an error from its document."""
        return cls(
            code=document["code"],
            message=document["message"],
            kinds=tuple(document.get("kinds", ())),
            retryable=document.get("retryable", True),
            hint=document.get("hint"),
            details=document.get("details"),
        )


@dataclass(frozen=True, slots=True)
class Completed:
    """The step did its work.

    *output* is its JSON result. A conditional also says which *branch* label it took (None: none of them).
    """

    output: Json
    branch: str | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """The attempt failed; the retry policy decides whether there is another one."""

    error: StepError
    #: The earliest time for another attempt that the other side asked for (HTTP Retry-After).
    retry_after: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Waiting:
    """The step goes on at a time, after a duration on the database's clock or at an instant, or when something comes.

    A step whose type wakes (`StepPlan.wakes`) is executed again then; any other one completes by itself. *output* is
    kept until then: what a delay completes with, or what the step wants to know when it is executed again.
    """

    #: None: it waits for as long as it takes.
    due: timedelta | datetime | None
    output: Json = None
    #: Name of the signal that it waits for.
    signal: str | None = None
    #: How many people have to approve.
    approvals: int | None = None


@dataclass(frozen=True, slots=True)
class Expanded:
    """A foreach knows its items: it goes on when they are done. *output* is kept until then, and holds the items."""

    output: Json
    count: int


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The attempt was stopped because its run or step is being cancelled."""


@dataclass(frozen=True, slots=True)
class Released:
    """The worker gives the attempt back unfinished (drain); it does not count against the retry policy."""


@dataclass(frozen=True, slots=True)
class Deferred:
    """The worker cannot run this step now, for a reason that is not the step's; it is tried again later.

    Not counted as an attempt. The error says what it waits for.
    """

    error: StepError
    delay: timedelta


Outcome: TypeAlias = Completed | Failed | Waiting | Expanded | Cancelled | Released | Deferred
