"""The python step: a function of the user's, executed in a child process that can be killed."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from flowforge.model.json import InvalidJson, decode, encode
from flowforge.model.outcome import Completed, Failed, Outcome, StepError
from flowforge.steps.failures import ConfigError, rendered
from flowforge.steps.limits import invalid_output
from flowforge.steps.python_pool import Pool
from flowforge.steps.python_process import Crashed, Listener
from flowforge.steps.python_wire import Frame, Kind

if TYPE_CHECKING:
    from datetime import timedelta

    from flowforge.steps.base import Assignment, Report
    from flowforge.steps.settings import StepSettings

_NAME = r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*"
_FUNCTION = re.compile(f"{_NAME}:{_NAME}")


class Python:
    """Calls `function` with `args` and gives what it returns."""

    def __init__(self, settings: StepSettings) -> None:
        self._settings = settings
        self._pool: Pool | None = None

    async def run(self, assignment: Assignment, report: Report) -> Outcome:
        """Return the function's result, or why there is none."""
        request = _request(assignment)
        if self._pool is None:
            self._pool = Pool(self._settings)
        listener = Listener(progress=lambda payload: _progress(report, payload), log=report.log)
        try:
            reply = await self._pool.call(request, listener, self._grace(assignment.step.timeout))
        except Crashed as crash:
            return Failed(crash.error)
        except OSError as error:
            message = f"no child process can be started: {error}"
            return Failed(StepError("SPAWN_FAILED", message, ("crash", "spawn")))
        return _outcome(reply)

    async def close(self) -> None:
        """End all child processes."""
        if self._pool is not None:
            await self._pool.close()

    def _grace(self, timeout: timedelta) -> float:
        """Return the seconds between asking and killing: a step that is to end soon is not waited for long."""
        return min(self._settings.kill_grace, timeout).total_seconds()


def _request(assignment: Assignment) -> bytes:
    config = rendered(assignment)
    function = config.get("function")
    if not isinstance(function, str) or not _FUNCTION.fullmatch(function):
        raise ConfigError(f"'function': {str(function)[:100]!r} is not of the form module:function")
    args = config.get("args")
    if args is None:
        args = {}
    if not isinstance(args, dict | list):
        raise ConfigError("'args' must be a mapping of names, or a list")
    context = {
        "run_id": str(assignment.run_id),
        "workflow": assignment.workflow,
        "version": assignment.version,
        "step": assignment.step.id,
        "attempt": assignment.attempt,
        "token": assignment.token,
        "idempotency_key": assignment.idempotency_key,
        "traceparent": assignment.traceparent,
    }
    try:
        return encode({"function": function, "args": args, "context": context}).encode()
    except InvalidJson as error:
        raise ConfigError(f"'args' {error.message}") from None


def _progress(report: Report, payload: bytes) -> None:
    try:
        value: Any = decode(payload)
    except InvalidJson:  # only a function that writes frames itself sends such a thing
        return
    report.progress(value)


def _outcome(reply: Frame) -> Outcome:
    if reply.kind is Kind.RESULT:
        try:
            return Completed(decode(reply.payload))
        except InvalidJson as error:
            return invalid_output(error, "the result")
    try:
        document = decode(reply.payload)
        assert isinstance(document, dict)
        seconds = document.pop("retry_after", None)
        return Failed(StepError.from_document(document), None if seconds is None else _wait(seconds))
    except (InvalidJson, AssertionError, KeyError, TypeError, ValueError, OverflowError):
        return Failed(StepError("CRASHED", "the child process sent an error that cannot be read", ("crash",)))


def _wait(seconds: Any) -> timedelta:
    from datetime import timedelta

    return timedelta(seconds=seconds)
