"""What the exit code of a command says: the one place that maps errors and outcomes to numbers.

The numbers are a contract with scripts: one is never given another meaning.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum


class ExitCode(IntEnum):
    """Every exit code.

    - `OK`: done. `INTERNAL`: a fault of FlowForge.
    - `USAGE`: the command, the input or the definition makes no sense. `NOT_FOUND`: no such run, workflow, file.
    - `UNREACHABLE`: a server cannot be reached or used. `CONFLICT`: the state does not allow it.
    - `FAILED`, `CANCELLED`: how the run that was waited for ended. `TIMEOUT`: it goes on, only the waiting ended.
    - `FINDINGS`: the check worked and found something. `INTERRUPTED`: Ctrl-C; runs go on.
    """

    OK = 0
    INTERNAL = 1
    USAGE = 2
    NOT_FOUND = 3
    UNREACHABLE = 4
    FAILED = 5
    CANCELLED = 6
    CONFLICT = 7
    TIMEOUT = 8
    FINDINGS = 20
    INTERRUPTED = 130


def of_error(error: BaseException) -> ExitCode:
    """Return the exit code of an error that ends a command."""
    from flowforge import errors

    kinds: tuple[tuple[type[BaseException], ExitCode], ...] = (
        (errors.UsageError, ExitCode.USAGE),
        (errors.ExpressionError, ExitCode.USAGE),
        (errors.NotFound, ExitCode.NOT_FOUND),
        (errors.Conflict, ExitCode.CONFLICT),
        (errors.BackendError, ExitCode.UNREACHABLE),
        (KeyboardInterrupt, ExitCode.INTERRUPTED),
    )
    return next((code for kind, code in kinds if isinstance(error, kind)), ExitCode.INTERNAL)


def of_status(status: str) -> ExitCode:
    """Return the exit code of a run that has ended."""
    return {"failed": ExitCode.FAILED, "cancelled": ExitCode.CANCELLED}.get(status, ExitCode.OK)


def worst(codes: Iterable[ExitCode]) -> ExitCode:
    """Return the code of several results: the first kind of trouble, in the order failed, cancelled, any other."""
    found = set(codes) - {ExitCode.OK}
    for code in (ExitCode.FAILED, ExitCode.CANCELLED):
        if code in found:
            return code
    return min(found, default=ExitCode.OK)
