"""From JSON arguments to the typed ones that a function declares.

Annotations are obeyed: `Decimal`, `datetime`, dataclasses, pydantic models and whatever else pydantic knows. An
annotation that it does not know leaves the value as it is. pydantic is loaded when a value needs it.
"""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from flowforge.steps.context import StepContext

_EXACT = (str, int, bool, list, dict)
_ANYTHING = (inspect.Parameter.empty, Any, object)
_CONTEXT_NAMES = frozenset({"context", "ctx"})


class BadArguments(Exception):
    """The arguments do not fit the function."""


@dataclass(frozen=True, slots=True)
class Target:
    """A function, and what it wants."""

    function: Callable[..., Any]
    signature: inspect.Signature
    annotations: Mapping[str, Any]
    #: Parameters that want the context: by annotation, or by their name alone.
    contexts: frozenset[str]
    named: frozenset[str]

    @classmethod
    def of(cls, function: Callable[..., Any]) -> Target:
        """Look at a function; raises BadArguments when it has no signature."""
        try:
            signature = inspect.signature(function)
        except (ValueError, TypeError) as error:
            raise BadArguments(f"its parameters cannot be read: {error}") from None
        annotations = _annotations(function, signature)
        wanting = {name for name in signature.parameters if _is_context(annotations.get(name))}
        named = {
            name
            for name in signature.parameters.keys() & _CONTEXT_NAMES
            if annotations.get(name, inspect.Parameter.empty) in _ANYTHING
        }
        return cls(function, signature, annotations, frozenset(wanting), frozenset(named))

    def bind(self, args: Any, context: StepContext) -> inspect.BoundArguments:
        """Return the arguments to call with; raises BadArguments."""
        positional, keywords = self._arranged(args, context)
        try:
            bound = self.signature.bind(*positional, **keywords)
        except TypeError as error:
            raise BadArguments(f"{error}; it takes {self.signature}") from None
        for name, value in bound.arguments.items():
            bound.arguments[name] = self._converted(name, value)
        return bound

    def _arranged(self, args: Any, context: StepContext) -> tuple[list[Any], dict[str, Any]]:
        """Put the context where it belongs among the given arguments."""
        given = dict(args) if isinstance(args, dict) else {}
        queue = list(args) if isinstance(args, list) else []
        contexts = self.contexts | {name for name in self.named if name not in given}
        positional: list[Any] = []
        for name, parameter in self.signature.parameters.items():
            fixed = parameter.kind is parameter.POSITIONAL_ONLY
            if not fixed and (parameter.kind is not parameter.POSITIONAL_OR_KEYWORD or not isinstance(args, list)):
                break
            if name in contexts:
                positional.append(context)
            elif queue:
                positional.append(queue.pop(0))
            elif name in given:
                positional.append(given.pop(name))
            else:
                break
        done = list(self.signature.parameters)[: len(positional)]
        given |= {name: context for name in contexts if name not in done}
        return positional + queue, given

    def _converted(self, name: str, value: Any) -> Any:
        parameter = self.signature.parameters[name]
        annotation = self.annotations.get(name, inspect.Parameter.empty)
        if name in self.contexts or annotation in _ANYTHING or isinstance(value, StepContext):
            return value
        if parameter.kind is parameter.VAR_POSITIONAL:
            return tuple(convert(annotation, item, f"{name}[{no}]") for no, item in enumerate(value))
        if parameter.kind is parameter.VAR_KEYWORD:
            return {key: convert(annotation, item, key) for key, item in value.items()}
        return convert(annotation, value, name)


def convert(annotation: Any, value: Any, name: str) -> Any:
    """Return *value* as what *annotation* says; raises BadArguments naming the argument."""
    if type(value) is annotation and annotation in _EXACT:
        return value
    adapter = _adapter(annotation)
    if adapter is None:
        return value
    from pydantic import ValidationError

    try:
        return adapter.validate_python(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        path = ".".join([name, *(str(part) for part in first["loc"])])
        more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
        raise BadArguments(f"argument '{path}': {first['msg']}{more}") from None


def _adapter(annotation: Any) -> Any:
    try:
        return _made(annotation)
    except TypeError:  # not hashable
        return _made.__wrapped__(annotation)


@functools.lru_cache(maxsize=512)
def _made(annotation: Any) -> Any:
    from pydantic import TypeAdapter

    try:
        return TypeAdapter(annotation)
    except Exception:  # noqa: BLE001 - pydantic and the user's own classes may raise anything here
        return None


def _annotations(function: Any, signature: inspect.Signature) -> dict[str, Any]:
    while isinstance(function, functools.partial):
        function = function.func
    if inspect.isclass(function):
        function = function.__init__
    elif not inspect.isroutine(function):
        function = type(function).__call__
    try:
        return typing.get_type_hints(function, include_extras=True)
    except Exception:  # noqa: BLE001 - names under TYPE_CHECKING, or whatever an annotation evaluates to
        given = {name: parameter.annotation for name, parameter in signature.parameters.items()}
        return {name: hint for name, hint in given.items() if not isinstance(hint, str) or _is_context(hint)}


def _is_context(annotation: Any) -> bool:
    if isinstance(annotation, str):
        return "StepContext" in annotation
    return annotation is StepContext or StepContext in typing.get_args(annotation)
