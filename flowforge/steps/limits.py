"""What leaves an executor can be stored: outputs within the limits, error texts that a database accepts.

Postgres refuses NUL and lone surrogates after the fact, which would leave a step without an outcome; here they
become a failure of the step (outputs) or a replacement character (errors), before anything is written.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from flowforge.model.json import MAX_STEP_BYTES, InvalidJson, Json, encode
from flowforge.model.outcome import Completed, Expanded, Failed, Outcome, StepError, Waiting

#: Characters of an error's message, and bytes of its details.
MAX_MESSAGE = 2_000
MAX_DETAILS = 64 * 1024


def storable(outcome: Outcome, max_bytes: int = MAX_STEP_BYTES) -> tuple[Outcome, str | None]:
    """Return the outcome as it can be stored, and its output as JSON text when it has one.

    An output beyond the limits turns the outcome into a failure. The text is what belongs into the database:
    encoding it a second time is not necessary.
    """
    if isinstance(outcome, Failed):
        return presentable(outcome), None
    if not isinstance(outcome, Completed | Expanded | Waiting):
        return outcome, None
    try:
        return outcome, encode(outcome.output, max_bytes=max_bytes)
    except InvalidJson as error:
        return invalid_output(error), None


def invalid_output(error: InvalidJson, what: str = "the output") -> Failed:
    """Return the failure of a step whose output cannot be stored; trying again gives the same."""
    too_large = error.code == "TOO_LARGE"
    return Failed(
        StepError(
            code="TOO_LARGE" if too_large else "INVALID_OUTPUT",
            message=f"{what} {error.message}",
            kinds=("output",),
            retryable=False,
            hint="store large results elsewhere and pass a reference" if too_large else None,
        )
    )


def presentable(failed: Failed) -> Failed:
    """Return a failure whose texts can be stored and are of a sensible size."""
    error = failed.error
    clean = dataclasses.replace(
        error,
        code=scrub(error.code)[:100],
        message=shorten(scrub(error.message)) or error.code,
        kinds=tuple(scrub(kind)[:200] for kind in error.kinds[:50]),
        hint=None if error.hint is None else shorten(scrub(error.hint)),
        details=_details(error.details),
    )
    return failed if clean == error else dataclasses.replace(failed, error=clean)


def scrub(text: str) -> str:
    """Return *text* without the characters that Postgres cannot store."""
    if text.isascii():
        return text.replace("\0", "\ufffd")
    return text.encode("utf-8", "replace").decode().replace("\0", "\ufffd")


def shorten(text: str, limit: int = MAX_MESSAGE) -> str:
    """Return *text* cut to *limit* characters, with a mark where it was cut."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _details(details: Json) -> Json:
    if details is None:
        return None
    try:
        size = len(encode(details))
    except InvalidJson:
        details = _scrubbed(details)
        try:
            size = len(encode(details))
        except InvalidJson as error:
            return {"omitted": f"the details {error.message}"}
    return details if size <= MAX_DETAILS else {"omitted": f"the details are {size:,} bytes"}


def _scrubbed(value: Any, depth: int = 50) -> Any:
    if isinstance(value, str):
        return scrub(value)
    if depth == 0 and isinstance(value, dict | list | tuple):
        return "…"
    if isinstance(value, dict):
        return {scrub(str(key)): _scrubbed(item, depth - 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_scrubbed(item, depth - 1) for item in value]
    return value if isinstance(value, int | float | type(None)) and value == value else scrub(str(value))  # noqa: PLR0124 - NaN
