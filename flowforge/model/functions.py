"""The pure functions that expressions may call, each bounded in time and in what it produces.

Work is charged to the caller's budget before it is done: a unit stands for about half a microsecond.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

#: Units of work that one evaluation may use.
BUDGET = 100_000
#: Characters of a text that an expression makes.
MAX_TEXT = 100_000
#: Items of a list that an expression makes.
MAX_ITEMS = 10_000
#: Bits of a whole number that an expression makes; more would not fit a float either.
MAX_BITS = 1_024

_MAX_DIGITS = 400


class Refused(Exception):
    """An expression asked for something it may not have; the message says what."""


class Budget:
    """What is left of one evaluation's work."""

    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left = BUDGET

    def spend(self, units: int) -> None:
        """Take *units* away, or refuse."""
        self.left -= units
        if self.left < 0:
            raise Refused("takes too long")

    def weigh(self, value: Any) -> None:
        """Charge for a walk through all of *value*."""
        stack = [value]
        while stack:
            item = stack.pop()
            if isinstance(item, str):
                self.spend(len(item) >> 7)
            elif isinstance(item, dict):
                self.spend(1 + (len(item) >> 2))
                stack.extend(item.values())
            elif isinstance(item, list):
                self.spend(1 + (len(item) >> 2))
                stack.extend(child for child in item if type(child) in _WEIGHED)


_WEIGHED = frozenset({str, dict, list})


def number(value: Any, what: str) -> Any:
    """Return *value* if it is a number, not a boolean."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Refused(f"{what} needs a number, not {kind(value)}")
    return value


def whole(value: Any, what: str) -> int:
    """Return *value* if it is a whole number."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise Refused(f"{what} needs a whole number, not {kind(value)}")
    return value


def text(value: Any, what: str) -> str:
    """Return *value* if it is text."""
    if not isinstance(value, str):
        raise Refused(f"{what} needs text, not {kind(value)}")
    return value


def items(value: Any, what: str) -> list[Any]:
    """Return *value* if it is a list; a mapping counts as the list of its keys."""
    if isinstance(value, dict):
        return list(value)
    if not isinstance(value, list):
        raise Refused(f"{what} needs a list, not {kind(value)}")
    return value


def kind(value: Any) -> str:
    """Return what *value* is, in the words of JSON."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    names = {int: "a number", float: "a number", str: "text", list: "a list", dict: "a mapping"}
    return names.get(type(value), "something else")


def spell(value: Any, budget: Budget) -> str:
    """Return *value* as text: text as it is, anything else as JSON."""
    if isinstance(value, str):
        return value
    budget.weigh(value)
    return json.dumps(value, ensure_ascii=False)


def made(value: Any, budget: Budget) -> Any:
    """Charge for a text or list that was made, and refuse one that is too large."""
    if isinstance(value, str):
        budget.spend(len(value) >> 6)
        if len(value) > MAX_TEXT:
            raise Refused(f"makes a text longer than {MAX_TEXT:,} characters")
    elif isinstance(value, list):
        budget.spend(len(value) >> 4)
        if len(value) > MAX_ITEMS:
            raise Refused(f"makes a list longer than {MAX_ITEMS:,} items")
    elif isinstance(value, int) and value.bit_length() > MAX_BITS:
        raise Refused("makes a number beyond the range of a float")
    return value


def _len(_budget: Budget, value: Any) -> int:
    if not isinstance(value, str | list | dict):
        raise Refused(f"len() needs text, a list or a mapping, not {kind(value)}")
    return len(value)


def _sum(budget: Budget, values: Any, start: Any = 0) -> Any:
    listed = items(values, "sum()")
    budget.spend(len(listed) >> 2)
    return sum((number(value, "sum()") for value in listed), number(start, "sum()"))


def _extreme(name: str, choose: Callable[..., Any]) -> Callable[..., Any]:
    def extreme(budget: Budget, *values: Any) -> Any:
        listed = items(values[0], f"{name}()") if len(values) == 1 else list(values)
        budget.weigh(listed)
        if not listed:
            raise Refused(f"{name}() of an empty list")
        return choose(listed)

    return extreme


def _round(_budget: Budget, value: Any, digits: Any = None) -> Any:
    number(value, "round()")
    if digits is None:
        return round(value)
    if abs(whole(digits, "round()")) > _MAX_DIGITS:
        raise Refused("round() to that many digits")
    return round(value, digits)


def _sorted(budget: Budget, values: Any, reverse: Any = None) -> list[Any]:
    listed = items(values, "sorted()")
    for _ in range(max(1, len(listed).bit_length() // 2)):
        budget.weigh(listed)
    return sorted(listed, reverse=bool(reverse))


def _int(_budget: Budget, value: Any) -> int:
    if isinstance(value, str) and len(value) > _MAX_DIGITS:
        raise Refused("int() of a text that long")
    if not isinstance(value, str | int | float):
        raise Refused(f"int() needs a number or text, not {kind(value)}")
    return int(value)


def _float(_budget: Budget, value: Any) -> float:
    if not isinstance(value, str | int | float):
        raise Refused(f"float() needs a number or text, not {kind(value)}")
    result = float(value[:_MAX_DIGITS] if isinstance(value, str) else value)
    if not math.isfinite(result):
        raise Refused("makes a number that JSON does not know")
    return result


def _any(budget: Budget, values: Any) -> bool:
    listed = items(values, "any()")
    budget.spend(len(listed) >> 4)
    return any(listed)


def _all(budget: Budget, values: Any) -> bool:
    listed = items(values, "all()")
    budget.spend(len(listed) >> 4)
    return all(listed)


def _split(budget: Budget, value: Any, separator: Any = None) -> list[str]:
    text(value, "split()")
    if separator is not None and not text(separator, "split()"):
        raise Refused("split() needs a separator that is not empty")
    budget.spend(len(value) >> 3)
    return value.split(separator)  # type: ignore[no-any-return]


def _join(budget: Budget, values: Any, separator: Any = "") -> str:
    if isinstance(values, str) and isinstance(separator, list):
        values, separator = separator, values
    listed = items(values, "join()")
    budget.spend(len(listed) >> 2)
    size = len(listed) * len(text(separator, "join()"))
    if size + sum(len(text(value, "join()")) for value in listed) > MAX_TEXT:
        raise Refused(f"makes a text longer than {MAX_TEXT:,} characters")
    return separator.join(listed)  # type: ignore[no-any-return]


def _replace(budget: Budget, value: Any, old: Any, new: Any) -> str:
    for part in (value, old, new):
        text(part, "replace()")
    budget.spend(len(value) >> 6)
    if len(value) + value.count(old) * max(0, len(new) - len(old)) > MAX_TEXT:
        raise Refused(f"makes a text longer than {MAX_TEXT:,} characters")
    return value.replace(old, new)  # type: ignore[no-any-return]


def _affix(name: str, test: Callable[[str, str], bool]) -> Callable[..., bool]:
    def affix(_budget: Budget, value: Any, part: Any) -> bool:
        return test(text(value, f"{name}()"), text(part, f"{name}()"))

    return affix


def _strip(budget: Budget, value: Any, characters: Any = None) -> str:
    text(value, "strip()")
    budget.spend(len(value) >> 6)
    return value.strip(None if characters is None else text(characters, "strip()")[:100])  # type: ignore[no-any-return]


def _contains(budget: Budget, container: Any, item: Any) -> bool:
    return contains(container, item, budget)


def contains(container: Any, item: Any, budget: Budget) -> bool:
    """Say whether *item* is in a list, is a key of a mapping or a part of a text."""
    if isinstance(container, str):
        budget.spend(len(container) >> 6)
        return text(item, "'in' a text") in container
    if isinstance(container, dict):
        return isinstance(item, str) and item in container
    if isinstance(container, list):
        budget.spend(len(container) >> 4)
        if isinstance(item, list | dict):
            budget.weigh(container)
        return item in container
    raise Refused(f"'in' needs a list, a mapping or text on its right, not {kind(container)}")


def _mapping(value: Any, what: str, budget: Budget) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Refused(f"{what} needs a mapping, not {kind(value)}")
    budget.spend(len(value) >> 2)
    return value


def _keys(budget: Budget, value: Any) -> list[Any]:
    return list(_mapping(value, "keys()", budget))


def _values(budget: Budget, value: Any) -> list[Any]:
    return list(_mapping(value, "values()", budget).values())


def _items(budget: Budget, value: Any) -> list[Any]:
    return [[key, entry] for key, entry in _mapping(value, "items()", budget).items()]


def _range(budget: Budget, *bounds: Any) -> list[int]:
    for bound in bounds:
        whole(bound, "range()")
    numbers = range(*bounds)
    if len(numbers) > MAX_ITEMS:
        raise Refused(f"range() of more than {MAX_ITEMS:,} items")
    budget.spend(len(numbers) >> 2)
    return list(numbers)


def _zip(budget: Budget, *lists: Any) -> list[Any]:
    columns = [items(column, "zip()") for column in lists]
    budget.spend(sum(len(column) for column in columns) >> 2)
    return [list(row) for row in zip(*columns, strict=False)]


#: Functions by name; the first parameter is the budget. `get` is not here: the evaluator knows it.
FUNCTIONS: dict[str, Callable[..., Any]] = {
    "len": _len,
    "sum": _sum,
    "min": _extreme("min", min),
    "max": _extreme("max", max),
    "abs": lambda _budget, value: abs(number(value, "abs()")),
    "round": _round,
    "sorted": _sorted,
    "str": lambda budget, value: spell(value, budget),
    "int": _int,
    "float": _float,
    "bool": lambda _budget, value: bool(value),
    "any": _any,
    "all": _all,
    "lower": lambda _budget, value: text(value, "lower()").lower(),
    "upper": lambda _budget, value: text(value, "upper()").upper(),
    "strip": _strip,
    "split": _split,
    "join": _join,
    "replace": _replace,
    "startswith": _affix("startswith", str.startswith),
    "endswith": _affix("endswith", str.endswith),
    "contains": _contains,
    "keys": _keys,
    "values": _values,
    "items": _items,
    "range": _range,
    "zip": _zip,
}
