"""One call of a user's function inside the child process: import, arguments, execution, result.

Everything that goes wrong becomes a `Problem`, which is the step's error in the words of retry rules.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
from collections.abc import Callable
from typing import Any

from flowforge.model.json import InvalidJson, encode
from flowforge.model.outcome import StepError
from flowforge.steps.context import StepContext
from flowforge.steps.limits import invalid_output
from flowforge.steps.python_arguments import BadArguments, Target
from flowforge.steps.python_problem import Problem, not_imported, raised


class Caller:
    """Calls functions by name; knows those it has called before."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._targets: dict[str, Target] = {}
        self._task: tuple[asyncio.AbstractEventLoop, asyncio.Task[Any]] | None = None

    def call(self, name: str, args: Any, context: StepContext) -> str:
        """Return the result as JSON text; raises Problem."""
        target = self._target(name)
        try:
            bound = target.bind(args, context)
        except BadArguments as error:
            raise _bad_arguments(f"{name}: {error}") from None
        try:
            result = target.function(*bound.args, **bound.kwargs)
            if inspect.isawaitable(result):
                result = asyncio.run(self._awaited(result, context))
            return _encoded(name, result, self._max_bytes)
        except Problem:
            raise
        except BaseException as error:  # noqa: BLE001 - sys.exit and cancellation end the call, not the process
            raise raised(error, context) from None

    def cancel(self) -> None:
        """Cancel the function, if it is async; called from a signal handler."""
        if self._task is not None:
            loop, task = self._task
            loop.call_soon_threadsafe(task.cancel)

    async def _awaited(self, result: Any, context: StepContext) -> Any:
        task = asyncio.current_task()
        assert task is not None
        self._task = (asyncio.get_running_loop(), task)
        try:
            if context.cancelled:  # asked to stop before there was a task to cancel
                task.cancel()
            return await result
        finally:
            self._task = None

    def _target(self, name: str) -> Target:
        target = self._targets.get(name)
        if target is None:
            try:
                target = self._targets[name] = Target.of(_imported(name))
            except BadArguments as error:
                raise _bad_arguments(f"{name}: {error}") from None
        return target


def _imported(name: str) -> Callable[..., Any]:
    module_name, _, path = name.partition(":")
    importlib.invalidate_caches()
    try:
        found: Any = importlib.import_module(module_name)
    except BaseException as error:  # noqa: BLE001 - a module may do anything while it is imported
        raise not_imported(module_name, error) from None
    for part in path.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            message = f"module '{module_name}' has no '{path}'"
            raise Problem(StepError("IMPORT_ERROR", message, ("import",), retryable=False)) from None
    if not callable(found):
        raise _bad_arguments(f"{name} is {type(found).__name__}, not something to call")
    return found  # type: ignore[no-any-return]


def _bad_arguments(message: str) -> Problem:
    return Problem(StepError("BAD_ARGUMENTS", message, ("arguments",), retryable=False))


def _encoded(name: str, result: Any, max_bytes: int) -> str:
    try:
        return encode(result, max_bytes=max_bytes)
    except InvalidJson as error:
        invalid = error
    if invalid.code == "INVALID_JSON":
        from pydantic_core import to_jsonable_python

        try:
            # Dataclasses, models, dates, decimals, sets … have one obvious JSON form.
            return encode(to_jsonable_python(result, inf_nan_mode="constants"), max_bytes=max_bytes)
        except InvalidJson as error:
            invalid = error
        except (ValueError, TypeError, RecursionError):
            pass  # what encode said about the value itself is clearer
    raise Problem(invalid_output(invalid, f"the result of {name}").error)
