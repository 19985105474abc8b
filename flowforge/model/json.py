"""JSON values and their limits: what may enter Postgres, and the one text form it is stored in.

Protects the store from values that a database would refuse after the fact: NaN, NUL, lone surrogates,
nesting without end, and sizes beyond the limits.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, TypeAlias

from flowforge.errors import FlowforgeError

#: A JSON value. Spelled Any inside containers because recursive aliases cost more than they give here.
Json: TypeAlias = "dict[str, Any] | list[Any] | str | int | float | bool | None"

#: Containers inside containers; deeper values are refused.
MAX_DEPTH = 200
#: Bytes of one step's output, unless the installation says otherwise.
MAX_STEP_BYTES = 1024 * 1024
#: Bytes of all outputs of one run together, unless the installation says otherwise.
MAX_RUN_BYTES = 8 * 1024 * 1024


#: Made once: `json.dumps` makes an encoder for every call that is not of its own style.
_compact = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


class InvalidJson(FlowforgeError):
    """The value is not JSON that can be stored."""

    def __init__(self, message: str, *, code: str = "INVALID_JSON") -> None:
        super().__init__(message)
        #: INVALID_JSON, or TOO_LARGE when only the size is wrong.
        self.code = code


def encode(value: object, *, max_bytes: int | None = None, max_depth: int = MAX_DEPTH) -> str:
    """Return *value* as compact JSON text, or raise InvalidJson saying what cannot be stored and why."""
    try:
        text = _compact(value)
        size = len(text) if text.isascii() else len(text.encode())
    except RecursionError:
        raise InvalidJson(f"nested deeper than {max_depth} levels") from None
    except UnicodeEncodeError:
        raise InvalidJson("holds a lone surrogate, which is not valid text") from None
    except ValueError as error:
        raise InvalidJson(_value_error(error)) from None
    except TypeError as error:
        raise InvalidJson(f"is not JSON: {error}") from None
    if max_bytes is not None and size > max_bytes:
        raise InvalidJson(f"is {size:,} bytes, the limit is {max_bytes:,}", code="TOO_LARGE")
    if "\\u0000" in text and _holds_nul(value):
        raise InvalidJson("holds a NUL character, which Postgres cannot store")
    if text.count("[") + text.count("{") > max_depth and _depth(value) > max_depth:
        raise InvalidJson(f"nested deeper than {max_depth} levels")
    return text


def decode(text: str | bytes) -> Json:
    """Parse JSON text strictly: no NaN, no Infinity, no numbers beyond a float, no endless nesting."""
    try:
        value: Json = json.loads(text, parse_constant=_refuse_constant, parse_float=_finite)
    except RecursionError:
        raise InvalidJson(f"nested deeper than {MAX_DEPTH} levels") from None
    except UnicodeDecodeError:
        raise InvalidJson("is not UTF-8 text") from None
    except json.JSONDecodeError as error:
        raise InvalidJson(f"is not JSON: {error.msg} at line {error.lineno}, column {error.colno}") from None
    except ValueError as error:
        raise InvalidJson(f"is not JSON: {error}") from None
    return value


def digest(value: object) -> str:
    """Return the SHA-256 of *value*'s canonical form (sorted keys, compact), as hex."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _value_error(error: ValueError) -> str:
    if "Circular" in str(error):
        return "refers to itself"
    if "Out of range float" in str(error):
        return "holds NaN or an infinity, which JSON does not know"
    return f"is not JSON: {error}"


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a JSON value")


def _finite(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise ValueError(f"the number {text[:40]} is beyond the range of a float")
    return number


def _children(value: object) -> list[object]:
    if isinstance(value, dict):
        return list(value.values())
    return list(value) if isinstance(value, list | tuple) else []


def _holds_nul(value: object) -> bool:
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, str):
            if "\0" in item:
                return True
        elif isinstance(item, dict):
            stack.extend(item)
            stack.extend(item.values())
        else:
            stack.extend(_children(item))
    return False


def _depth(value: object) -> int:
    deepest, layer = 0, [value]
    while layer:
        layer = [child for item in layer for child in _children(item)]
        deepest += 1
    return deepest - 1
