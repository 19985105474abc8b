"""The one tree of FlowForge errors; each class's docstring is its default message.

Expected outcomes (a retry, a lost lease, a duplicate) are values, not exceptions. What stands here is raised
to a caller who has to do something about it. Surfaces map classes to exit codes; nothing else does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class FlowforgeError(Exception):
    """FlowForge could not do what was asked."""

    #: What the person may do next, one line; shown under the message.
    hint: str | None = None

    def __init__(self, message: str | None = None, *, hint: str | None = None) -> None:
        super().__init__(message or (self.__doc__ or "").strip().splitlines()[0])
        if hint is not None:
            self.hint = hint

    @property
    def message(self) -> str:
        """The one-line message, without the hint."""
        return str(self.args[0])


class UsageError(FlowforgeError):
    """The request makes no sense as given."""


class InputError(UsageError):
    """The run's input is not acceptable."""


class DefinitionError(UsageError):
    """The workflow definition is not valid."""

    def __init__(self, message: str | None = None, *, diagnostics: Sequence[Any] = (), hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        #: Every finding of the file, in file order: flowforge.model.diagnostics.Diagnostic.
        self.diagnostics = tuple(diagnostics)


class ExpressionError(FlowforgeError):
    """An expression could not be parsed or evaluated."""

    def __init__(self, message: str, *, source: str, offset: int | None = None) -> None:
        super().__init__(message)
        #: The expression as written.
        self.source = source
        #: Character offset of the fault inside *source*, when known.
        self.offset = offset


class CapsuleError(UsageError):
    """The file is not a capsule that can be opened."""


class NotFound(FlowforgeError):
    """There is no such thing."""


class Conflict(FlowforgeError):
    """The current state does not allow that."""


class GateFull(Conflict):
    """The workflow's concurrency limit is reached and its policy is to reject."""


class BackendError(FlowforgeError):
    """A server that FlowForge needs cannot be used."""


class DatabaseUnavailable(BackendError):
    """Postgres cannot be reached."""


class SchemaMismatch(BackendError):
    """The database's schema is not the one this version of FlowForge works with."""


class StreamUnavailable(BackendError):
    """Redis cannot be reached."""


class ServerStartError(BackendError):
    """An embedded server could not be started."""
