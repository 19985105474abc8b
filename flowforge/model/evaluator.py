"""The narrowed simpleeval: evaluates a checked syntax tree over JSON values, within a budget.

An attribute is only ever a key of a mapping. Nothing is looked up on objects, so there is nothing to escape to;
the tree was checked by flowforge.model.expression, and is checked again here by what the node table holds.
"""

from __future__ import annotations

import ast
import operator
import threading
from collections.abc import Callable, Mapping
from typing import Any

from simpleeval import EvalWithCompoundTypes  # type: ignore[import-untyped]

from flowforge.model.diagnostics import closest, shortened
from flowforge.model.functions import (
    FUNCTIONS,
    MAX_BITS,
    MAX_ITEMS,
    MAX_TEXT,
    Budget,
    Refused,
    contains,
    kind,
    made,
    number,
)

#: Words for the constants, in the spelling of Python and in that of JSON.
CONSTANTS: dict[str, Any] = {"True": True, "False": False, "None": None, "true": True, "false": False, "null": None}


class Absent(Refused):
    """Something that was looked up is not there; the message names it."""


class Evaluator(EvalWithCompoundTypes):  # type: ignore[misc]
    """Evaluates one tree at a time; not to be shared between threads."""

    def __init__(self) -> None:
        super().__init__(operators=dict(_OPERATORS), functions={}, names={})
        self.functions = FUNCTIONS
        self.budget = Budget()
        self.at: ast.AST | None = None
        handlers: dict[type, Callable[..., Any]] = {name: getattr(self, method) for name, method in _NODES.items()}
        self.nodes = handlers

    def run(self, body: ast.expr, context: Mapping[str, Any]) -> Any:
        """Return the value of *body*; raises Refused, or an arithmetic error of Python."""
        self.budget = Budget()
        self.names, self.at = context, None
        try:
            return self._eval(body)
        finally:
            self.names = {}

    def _eval(self, node: Any) -> Any:
        # simpleeval walks every value for forbidden objects here; JSON values hold none, and may be large.
        budget = self.budget
        budget.left -= 1
        if budget.left < 0:
            raise Refused("takes too long")
        handler = self.nodes.get(type(node))
        if handler is None:
            raise Refused(f"may not use {type(node).__name__}")
        return handler(node)

    # -- looking up ----------------------------------------------------------------------------------------

    def _eval_name(self, node: ast.Name) -> Any:
        name = node.id
        try:
            return self.names[name]
        except KeyError:
            pass
        if name in CONSTANTS:
            return CONSTANTS[name]
        self.at = node
        raise Absent(f"there is no '{name}' here{_meant(name, self.names)}")

    def _eval_attribute(self, node: ast.Attribute) -> Any:
        container = self._eval(node.value)
        try:
            # Not a type test first: nearly always it is a mapping and the key is there.
            if type(container) is dict:
                return container[node.attr]
        except KeyError:
            pass
        self.at = node
        return self._lookup(container, node.attr, node)

    def _eval_subscript(self, node: ast.Subscript) -> Any:
        container = self._eval(node.value)
        key = self._eval(node.slice)
        self.at = node
        if isinstance(key, slice):
            if not isinstance(container, str | list):
                raise Refused(f"cannot slice {kind(container)}")
            return made(container[key], self.budget)
        return self._lookup(container, key, node)

    def _lookup(self, container: Any, key: Any, node: ast.Attribute | ast.Subscript) -> Any:
        where = _source(node.value)
        if isinstance(container, Mapping):
            if not isinstance(key, str):
                raise Refused(f"a key of {where} is text, not {kind(key)}")
            if key in container:
                return container[key]
            raise Absent(f"{where} has no '{key[:100]}'{_meant(key, container)}")
        if container is None:
            raise Absent(f"{where} is null, it has no '{key}'")
        if isinstance(container, list | str) and isinstance(key, int) and not isinstance(key, bool):
            if -len(container) <= key < len(container):
                return container[key]
            raise Absent(f"{where} has no item {key}, it has {len(container)}")
        raise Refused(f"{where} is {kind(container)}, it has no '{str(key)[:100]}'")

    # -- operators -----------------------------------------------------------------------------------------

    def _eval_unaryop(self, node: ast.UnaryOp) -> Any:
        value = self._eval(node.operand)
        if isinstance(node.op, ast.Not):
            return not value
        self.at = node
        return self.operators[type(node.op)](number(value, "a sign"))

    def _eval_binop(self, node: ast.BinOp) -> Any:
        left, right = self._eval(node.left), self._eval(node.right)
        self.at = node
        symbol, apply = _ARITHMETIC[type(node.op)]
        if symbol == "+" and isinstance(left, str | list) and type(left) is type(right):
            if len(left) + len(right) > (MAX_TEXT if isinstance(left, str) else MAX_ITEMS):
                raise Refused("makes a text or list that is too long")
            return made(apply(left, right), self.budget)
        if isinstance(left, str | list) or isinstance(right, str | list):
            return self._repeat(symbol, left, right)
        number(left, f"'{symbol}'")
        number(right, f"'{symbol}'")
        if symbol == "**":
            _check_power(left, right)
        result = apply(left, right)
        if isinstance(result, complex):
            raise Refused("makes a number that JSON does not know")
        return made(result, self.budget)

    def _repeat(self, symbol: str, left: Any, right: Any) -> Any:
        if symbol != "*" or type(left) is type(right):
            raise Refused(f"'{symbol}' does not work between {kind(left)} and {kind(right)}")
        content, times = (left, right) if isinstance(left, str | list) else (right, left)
        if isinstance(times, bool) or not isinstance(times, int):
            raise Refused(f"cannot repeat {kind(content)} by {kind(times)}")
        if len(content) * max(0, times) > (MAX_TEXT if isinstance(content, str) else MAX_ITEMS):
            raise Refused("makes a text or list that is too long")
        return made(content * times, self.budget)

    def _eval_compare(self, node: ast.Compare) -> Any:
        left = self._eval(node.left)
        for operation, comparator in zip(node.ops, node.comparators, strict=True):
            right = self._eval(comparator)
            self.at = node
            if not self._compare(type(operation), left, right):
                return False
            left = right
        return True

    def _compare(self, operation: type[ast.cmpop], left: Any, right: Any) -> bool:
        if operation in (ast.In, ast.NotIn):
            return contains(right, left, self.budget) is (operation is ast.In)
        if isinstance(left, str | list | dict) and isinstance(right, str | list | dict):
            self.budget.weigh(left)
        return bool(self.operators[operation](left, right))

    # -- calls, containers, comprehensions -----------------------------------------------------------------

    def _eval_call(self, node: ast.Call) -> Any:
        assert isinstance(node.func, ast.Name)
        name = node.func.id
        if name == "get":
            return self._get(node)
        arguments = [self._eval(argument) for argument in node.args]
        named = {str(keyword.arg): self._eval(keyword.value) for keyword in node.keywords}
        self.at = node
        return made(self.functions[name](self.budget, *arguments, **named), self.budget)

    def _get(self, node: ast.Call) -> Any:
        """`get(path, default)`: the one place where absence is not an error."""
        try:
            return self._eval(node.args[0])
        except Absent:
            return self._eval(node.args[1]) if len(node.args) > 1 else None

    def _eval_dict(self, node: ast.Dict) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key, value in zip(node.keys, node.values, strict=True):
            name = self._eval(key)
            self.at = node
            if not isinstance(name, str):
                raise Refused(f"a key is text, not {kind(name)}")
            result[name] = self._eval(value)
        return result

    def _eval_list(self, node: ast.List | ast.Tuple) -> list[Any]:
        return [self._eval(element) for element in node.elts]

    def _eval_comprehension(self, node: Any) -> Any:
        outer = self.names
        result: Any = {} if isinstance(node, ast.DictComp) else []
        try:
            for _ in self._rows(node.generators, 0):
                if isinstance(node, ast.DictComp):
                    name = self._eval(node.key)
                    if not isinstance(name, str):
                        raise Refused(f"a key is text, not {kind(name)}")
                    result[name] = self._eval(node.value)
                else:
                    result.append(self._eval(node.elt))
        finally:
            self.names = outer
        return made(result, self.budget)

    def _rows(self, generators: list[ast.comprehension], depth: int) -> Any:
        generator = generators[depth]
        scope = dict(self.names)
        rows = self._eval(generator.iter)
        self.at = generator.iter
        if not isinstance(rows, list | dict):
            raise Refused(f"'for' needs a list, not {kind(rows)}")
        for row in rows:
            self.budget.spend(1)
            _bind(generator.target, row, scope)
            self.names = scope
            if all(self._eval(test) for test in generator.ifs):
                if depth + 1 < len(generators):
                    yield from self._rows(generators, depth + 1)
                else:
                    yield


def _bind(target: ast.expr, row: Any, scope: dict[str, Any]) -> None:
    if isinstance(target, ast.Name):
        scope[target.id] = row
        return
    assert isinstance(target, ast.Tuple | ast.List)
    if not isinstance(row, list) or len(row) != len(target.elts):
        raise Refused(f"cannot take {kind(row)} apart into {len(target.elts)} names")
    for part, value in zip(target.elts, row, strict=True):
        _bind(part, value, scope)


def _check_power(base: Any, exponent: Any) -> None:
    if abs(exponent) > MAX_BITS or abs(base) > 2**64:
        raise Refused("is a power that is too large")


def _meant(name: str, known: Mapping[str, Any]) -> str:
    suggestion = closest(name, (key for key in known if isinstance(key, str)))
    return "" if suggestion is None else f" (did you mean '{suggestion}'?)"


def _source(node: ast.AST) -> str:
    return f"'{shortened(ast.unparse(node), 60)}'"


_ARITHMETIC: dict[type, tuple[str, Callable[[Any, Any], Any]]] = {
    ast.Add: ("+", operator.add),
    ast.Sub: ("-", operator.sub),
    ast.Mult: ("*", operator.mul),
    ast.Div: ("/", operator.truediv),
    ast.FloorDiv: ("//", operator.floordiv),
    ast.Mod: ("%", operator.mod),
    ast.Pow: ("**", operator.pow),
}

_OPERATORS: dict[type, Callable[..., Any]] = {
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Is: operator.is_,
    ast.IsNot: operator.is_not,
}

_NODES: dict[type, str] = {
    ast.Name: "_eval_name",
    ast.Constant: "_eval_constant",
    ast.Attribute: "_eval_attribute",
    ast.Subscript: "_eval_subscript",
    ast.Slice: "_eval_slice",
    ast.UnaryOp: "_eval_unaryop",
    ast.BinOp: "_eval_binop",
    ast.BoolOp: "_eval_boolop",
    ast.Compare: "_eval_compare",
    ast.IfExp: "_eval_ifexp",
    ast.Call: "_eval_call",
    ast.Dict: "_eval_dict",
    ast.List: "_eval_list",
    ast.Tuple: "_eval_list",
    ast.ListComp: "_eval_comprehension",
    ast.GeneratorExp: "_eval_comprehension",
    ast.DictComp: "_eval_comprehension",
}

#: What checked trees may consist of, beside operators.
ALLOWED_NODES = frozenset(_NODES)
ALLOWED_OPERATORS = frozenset(_OPERATORS) | frozenset(_ARITHMETIC) | {ast.Not, ast.And, ast.Or, ast.In, ast.NotIn}

_local = threading.local()


def evaluator() -> Evaluator:
    """Return this thread's evaluator."""
    try:
        return _local.evaluator  # type: ignore[no-any-return]
    except AttributeError:
        _local.evaluator = Evaluator()
        return _local.evaluator  # type: ignore[no-any-return]
