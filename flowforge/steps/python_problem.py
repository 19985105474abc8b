"""From what a user's function raised to the step's error: code, kinds, one line, and the frames that are the user's."""

from __future__ import annotations

import asyncio
import json
import sys
import traceback
from datetime import timedelta
from types import TracebackType
from typing import Any

from flowforge.model.outcome import Failed, StepError
from flowforge.steps.context import StepCancelled, StepContext, StepFailure
from flowforge.steps.limits import presentable

#: Characters of a traceback that are kept, from its end.
_TRACEBACK = 16_000


class Problem(Exception):
    """The call has no result."""

    def __init__(self, error: StepError, retry_after: timedelta | None = None, *, fatal: bool = False) -> None:
        super().__init__(error.message)
        self.failed = presentable(Failed(error, retry_after))
        #: Whether the process should not take another call.
        self.fatal = fatal

    def encode(self) -> bytes:
        """Return the error document, with the wait in seconds."""
        document = self.failed.error.document()
        if self.failed.retry_after is not None:
            document["retry_after"] = self.failed.retry_after.total_seconds()
        return json.dumps(document).encode()


def not_imported(module: str, error: BaseException) -> Problem:
    """Return the problem of a module that cannot be imported: only a change of the code helps."""
    missing = isinstance(error, ModuleNotFoundError) and error.name and f"{module}.".startswith(f"{error.name}.")
    if missing:
        message = f"there is no module '{error.name}'"  # type: ignore[attr-defined]
    else:
        message = f"module '{module}' cannot be imported: {_line(error)}"
    searched = [folder for folder in sys.path if folder and not folder.startswith((sys.prefix, sys.base_prefix))]
    return Problem(
        StepError(
            code="IMPORT_ERROR",
            message=message,
            kinds=("import", *_names(type(error))),
            retryable=False,
            hint=f"functions are searched in FLOWFORGE_PATH, the worker's folder and PYTHONPATH: {', '.join(searched)}",
            details=None if missing else {"traceback": _traceback(error)},
        )
    )


def raised(error: BaseException, context: StepContext) -> Problem:
    """Return the problem for what the user's function raised."""
    if context.cancelled and isinstance(error, StepCancelled | asyncio.CancelledError):
        return Problem(StepError("CRASHED", "the function was asked to stop from outside", ("crash", "SIGTERM")))
    kinds = _names(type(error))
    details: dict[str, Any] = {"type": _qualified(type(error))}
    if isinstance(error, StepFailure):
        if error.details is not None:
            details["details"] = error.details
        step_error = StepError(
            code=str(error.code),
            message=str(error),
            kinds=kinds,
            retryable=bool(error.retryable),
            hint=error.hint,
            details=details,
        )
        return Problem(step_error, error.retry_after)
    details["traceback"] = _traceback(error)
    return Problem(
        StepError("PYTHON_ERROR", _line(error), kinds, details=details),
        fatal=isinstance(error, MemoryError),
    )


def _line(error: BaseException) -> str:
    """Describe an exception in one line; its own text may fail to be made."""
    name = type(error).__name__
    try:
        text = " ".join(str(error).split())
    except Exception:  # noqa: BLE001 - __str__ is the user's code
        return name
    return f"{name}: {text}" if text else name


def _names(kind: type[BaseException]) -> tuple[str, ...]:
    """Return the names of an exception's classes, plain and with their module, most specific first."""
    names: dict[str, None] = {}
    for cls in kind.__mro__:
        if cls not in (BaseException, object):
            names[cls.__name__] = None
            if cls.__module__ != "builtins":
                names[_qualified(cls)] = None
    return tuple(names)


def _qualified(cls: type) -> str:
    return cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"


def _traceback(error: BaseException) -> str:
    """Format the traceback from the user's first frame on."""
    entry: TracebackType | None = error.__traceback__
    while entry is not None and _ours(entry):
        entry = entry.tb_next
    try:
        lines = traceback.format_exception(type(error), error, entry, limit=-50)
    except Exception:  # noqa: BLE001 - formatting calls the user's __str__ and __repr__
        return _line(error)
    return "".join(lines)[-_TRACEBACK:]


def _ours(entry: TracebackType) -> bool:
    module = entry.tb_frame.f_globals.get("__name__", "")
    ours = f"{__name__.rpartition('.')[0]}.python_"
    return module.startswith(ours) or module.split(".")[0] in {"asyncio", "importlib", "_frozen_importlib"}
