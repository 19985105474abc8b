"""The expression language: parsed and checked once, evaluated often (design.md section 4).

Everything that can be known from the text is refused here, with the offset of the fault: syntax that expressions
do not have, unknown functions and names, methods, dynamic step references. What reads what is known statically, so
the engine loads exactly that.
"""

from __future__ import annotations

import ast
import copy
import functools
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from flowforge.errors import ExpressionError
from flowforge.model import syntax
from flowforge.model.diagnostics import shortened
from flowforge.model.json import Json
from flowforge.model.plan import References

if TYPE_CHECKING:
    from flowforge.model.evaluator import Evaluator


class Expression:
    """A parsed expression; equal sources under equal names share one tree."""

    __slots__ = ("_body", "of_run", "references", "roots", "source")

    def __init__(
        self, source: str, body: ast.expr, references: References, roots: frozenset[str], of_run: frozenset[str]
    ) -> None:
        #: The text as written.
        self.source = source
        #: What it reads.
        self.references = references
        #: Which of `input`, `steps`, `run`, `item`, `secrets` it mentions.
        self.roots = roots
        #: Which parts of `run` it cannot do without.
        self.of_run = of_run
        self._body = body

    def __repr__(self) -> str:
        return f"Expression({self.source!r})"

    def evaluate(self, context: Mapping[str, Any]) -> Json:
        """Return its value, or raise ExpressionError quoting the expression."""
        from flowforge.model import evaluator, functions

        engine = evaluator.evaluator()
        try:
            value: Json = engine.run(self._body, context)
            if value.__class__ not in _PLAIN:
                _check_result(value)
        except functions.Refused as error:
            raise self._error(str(error), engine) from None
        except ZeroDivisionError:
            raise self._error("divides by zero", engine) from None
        except OverflowError:
            raise self._error("makes a number beyond the range of a float", engine) from None
        except TypeError as error:
            raise self._error(_type_error(error), engine) from None
        except ValueError as error:
            raise self._error(str(error)[:200], engine) from None
        except RecursionError:
            raise self._error("is nested too deeply", engine) from None
        return value

    def renamed(self, names: Mapping[str, str]) -> Expression:
        """Return the same expression reading other steps: `steps.<local>` becomes `steps.<names[local]>`."""
        changed = {old: new for old, new in names.items() if old != new and old in self.references.steps}
        if not changed:
            return self
        body = _Renamer(changed).visit(copy.deepcopy(self._body))
        steps = frozenset(changed.get(step, step) for step in self.references.steps)
        references = replace(self.references, steps=steps)
        return Expression(self.source, body, references, self.roots, self.of_run)

    def _error(self, message: str, engine: Evaluator) -> ExpressionError:
        offset = getattr(engine.at, "col_offset", None)
        return ExpressionError(f"{message}, in: {shorten(self.source)}", source=self.source, offset=offset)


#: Values inside a result.
MAX_NODES = 1_000_000

_PLAIN = frozenset({str, int, bool, type(None)})


def _check_result(value: Any) -> None:
    """Refuse a result that is not JSON or would not end."""
    from flowforge.model.functions import Refused

    left, stack = MAX_NODES, [value]
    while stack:
        item = stack.pop()
        left -= 1
        if left < 0:
            raise Refused("makes a value that is too large")
        kind = item.__class__
        if kind is dict:
            stack.extend(item.values())
        elif kind is list:
            stack.extend(item)
        elif kind is float:
            if not math.isfinite(item):
                raise Refused("makes a number that JSON does not know")
        elif kind not in _PLAIN:
            raise Refused("makes a value that is not JSON")


def shorten(source: str) -> str:
    """Return an expression as one line of a bearable length."""
    return shortened(" ".join(source.split()), 120)


@functools.lru_cache(maxsize=4096)
def parse(source: str) -> Expression:
    """Parse and check *source*; raises ExpressionError with the offset of what is wrong."""
    body = syntax.parse(source)
    checker = syntax.Checker(source)
    checker.check(body)
    roots = frozenset(checker.roots)
    references = References(
        "input" in roots, frozenset(checker.steps), frozenset(checker.secrets), "run" in roots, "item" in roots
    )
    return Expression(source, body, references, roots, frozenset(checker.of_run))


class _Renamer(ast.NodeTransformer):
    """Replaces the step a reference names; `steps.mail` becomes `steps['fan.mail']`."""

    def __init__(self, names: Mapping[str, str]) -> None:
        self.names = names

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        """Rename `steps.<id>`."""
        if isinstance(node.value, ast.Name) and node.value.id == "steps" and node.attr in self.names:
            key = ast.Constant(self.names[node.attr])
            return ast.copy_location(ast.Subscript(node.value, ast.copy_location(key, node), ast.Load()), node)
        return self.generic_visit(node)

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        """Rename `steps["<id>"]`."""
        self.generic_visit(node)
        if isinstance(node.value, ast.Name) and node.value.id == "steps" and isinstance(node.slice, ast.Constant):
            renamed = self.names.get(str(node.slice.value))
            if renamed is not None:
                node.slice = ast.copy_location(ast.Constant(renamed), node.slice)
        return node


def _type_error(error: TypeError) -> str:
    message = str(error).replace("NoneType", "null").replace("'str'", "text").replace("'dict'", "a mapping")
    message = message.replace("'list'", "a list").replace("'int'", "a number").replace("'float'", "a number")
    if "not supported between instances of" in message:
        message = message.replace(" not supported between instances of", " does not work between")
    elif "positional argument" in message or "keyword argument" in message:
        message = "a function got the wrong number of arguments"
    return message[:200]
