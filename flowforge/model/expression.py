"""The expression language: parsed and checked once, evaluated often (design.md section 4).

Everything that can be known from the text is refused here, with the offset of the fault: syntax that expressions
do not have, unknown functions and names, methods, dynamic step references. What reads what is known statically, so
the engine loads exactly that.
"""

from __future__ import annotations

import ast
import copy
import functools
import re
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from flowforge.errors import ExpressionError
from flowforge.model.diagnostics import closest, shortened
from flowforge.model.json import Json
from flowforge.model.plan import References

if TYPE_CHECKING:
    from flowforge.model.evaluator import Evaluator

#: Characters of an expression's source.
MAX_SOURCE = 4_096
#: Levels of a syntax tree.
MAX_LEVELS = 100
#: Bits of a whole number.
MAX_BITS = 1_024

#: What an expression may read.
ROOTS = frozenset({"input", "steps", "run", "item", "secrets"})


class Expression:
    """A parsed expression; equal sources under equal names share one tree."""

    __slots__ = ("_body", "references", "roots", "source")

    def __init__(self, source: str, body: ast.expr, references: References, roots: frozenset[str]) -> None:
        #: The text as written.
        self.source = source
        #: What it reads.
        self.references = references
        #: Which of `input`, `steps`, `run`, `item`, `secrets` it mentions.
        self.roots = roots
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
        references = References(self.references.input, steps, self.references.secrets)
        return Expression(self.source, body, references, self.roots)

    def _error(self, message: str, engine: Evaluator) -> ExpressionError:
        offset = getattr(engine.at, "col_offset", None)
        return ExpressionError(f"{message}, in: {shorten(self.source)}", source=self.source, offset=offset)


_PLAIN = frozenset({str, int, bool, type(None)})


def _check_result(value: Any) -> None:
    """Refuse a result that is not JSON or would not end."""
    from flowforge.model.functions import Refused

    left, stack = 1_000_000, [value]
    while stack:
        item = stack.pop()
        left -= 1
        if left < 0:
            raise Refused("makes a value that is too large")
        if item.__class__ is dict:
            stack.extend(item.values())
        elif item.__class__ is list:
            stack.extend(item)
        elif item.__class__ is float and item - item != 0.0:
            raise Refused("makes a number that JSON does not know")


def shorten(source: str) -> str:
    """Return an expression as one line of a bearable length."""
    return shortened(" ".join(source.split()), 120)


@functools.lru_cache(maxsize=4096)
def parse(source: str) -> Expression:
    """Parse and check *source*; raises ExpressionError with the offset of what is wrong."""
    if len(source) > MAX_SOURCE:
        raise ExpressionError(f"is longer than {MAX_SOURCE:,} characters", source=source, offset=0)
    if not source.strip():
        raise ExpressionError("the expression is empty", source=source, offset=0)
    body = _parse_python(source)
    checker = _Checker(source)
    checker.check(body)
    references = References("input" in checker.roots, frozenset(checker.steps), frozenset(checker.secrets))
    return Expression(source, body, references, frozenset(checker.roots))


def _parse_python(source: str) -> ast.expr:
    # One line: line breaks mean nothing in an expression. Only a comment would, so there are none.
    flat = re.sub(r"\s", " ", source)
    start = len(flat) - len(flat.lstrip())
    comment = _outside_text(flat).find("#")
    if comment >= 0:
        raise ExpressionError("expressions have no comments", source=source, offset=comment)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            body = ast.parse(flat.strip(), mode="eval").body
    except SyntaxError as error:
        raise _syntax_error(source, flat, start, error) from None
    except (ValueError, RecursionError, MemoryError, OverflowError):
        raise ExpressionError("the expression cannot be parsed", source=source, offset=0) from None
    _settle_offsets(body, source, start)
    return body


def _settle_offsets(body: ast.expr, source: str, start: int) -> None:
    """Turn the parser's columns (bytes, from the first word) into offsets of characters; bound the depth."""
    encoded = None if source.isascii() else re.sub(r"\s", " ", source).strip().encode()
    level: list[ast.AST] = [body]
    depth = 0
    while level:
        depth += 1
        if depth > MAX_LEVELS:
            raise ExpressionError("the expression is nested too deeply", source=source, offset=0)
        for node in level:
            column = getattr(node, "col_offset", None)
            if column is not None:
                before = column if encoded is None else len(encoded[:column].decode(errors="ignore"))
                node.col_offset = start + before  # type: ignore[attr-defined]
        level = [child for node in level for child in ast.iter_child_nodes(node)]


def _outside_text(flat: str) -> str:
    """Blank out quoted texts, keeping every offset."""
    return _QUOTED.sub(lambda match: "_" * len(match.group()), flat)


_QUOTED = re.compile(r"""\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'""")


def _syntax_error(source: str, flat: str, start: int, error: SyntaxError) -> ExpressionError:
    """Say what is wrong in terms of expressions, not of Python."""
    bare = _outside_text(flat)
    for pattern, advice in _FOREIGN:
        match = re.search(pattern, bare)
        if match is not None:
            return ExpressionError(advice, source=source, offset=match.start())
    message = (error.msg or "").split(" (<")[0]
    if "too many nested" in message:
        message = "the expression is nested too deeply"
    elif "was never closed" not in message and "unmatched" not in message and "does not match" not in message:
        message = "this is not an expression"
    offset = min(max(start + (error.offset or 1) - 1, 0), max(len(source.rstrip()) - 1, 0))
    return ExpressionError(message, source=source, offset=offset)


#: What other languages write, and what is written here.
_FOREIGN = (
    (r"&&", "'&&' is not part of expressions, write 'and'"),
    (r"\|\|", "'||' is not part of expressions, write 'or'"),
    (r"===", "'===' is not part of expressions, write '=='"),
    (r"!==", "'!==' is not part of expressions, write '!='"),
    (r"!(?!=)", "'!' is not part of expressions, write 'not'"),
    (r"\?", "'?' is not part of expressions, write 'a if condition else b'"),
    (r"(?<![=!<>:*/+-])=(?!=)", "an expression assigns nothing; a comparison is written '=='"),
)


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


class _Checker:
    """Walks a tree once: refuses what expressions may not use, collects what they read."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.roots: set[str] = set()
        self.steps: set[str] = set()
        self.secrets: set[str] = set()

    def check(self, node: ast.AST, bound: frozenset[str] = frozenset()) -> None:
        from flowforge.model import evaluator

        kind = type(node)
        if kind is ast.Load or kind in evaluator.ALLOWED_OPERATORS:
            return
        if kind not in evaluator.ALLOWED_NODES:
            raise self._error(_REFUSED.get(kind, f"expressions have no {kind.__name__}"), node)
        method = getattr(self, f"_{kind.__name__.lower()}", None)
        if method is not None:
            method(node, bound)
        else:
            for child in ast.iter_child_nodes(node):
                self.check(child, bound)

    def _constant(self, node: ast.Constant, _bound: frozenset[str]) -> None:
        if not isinstance(node.value, str | int | float | bool | type(None)):
            raise self._error("only text, numbers, true, false and null may stand in an expression", node)
        if isinstance(node.value, int) and node.value.bit_length() > MAX_BITS:
            raise self._error("the number is beyond the range of a float", node)
        if isinstance(node.value, float) and node.value - node.value != 0.0:
            raise self._error("the number is beyond the range of a float", node)
        if isinstance(node.value, str) and any(char == "\0" or "\ud800" <= char <= "\udfff" for char in node.value):
            raise self._error("a text may not hold NUL or a lone surrogate", node)

    def _name(self, node: ast.Name, bound: frozenset[str]) -> None:
        from flowforge.model.evaluator import CONSTANTS
        from flowforge.model.functions import FUNCTIONS

        name = node.id
        if name in bound or name in CONSTANTS:
            return
        if name in ("steps", "secrets"):
            raise self._error(f"'{name}' is read by name: {name}.<name>", node)
        if name in ROOTS:
            self.roots.add(name)
        else:
            if name in FUNCTIONS or name == "get":
                raise self._error(f"'{name}' is a function: write {name}(...)", node)
            suggestion = closest(name, [*ROOTS, *bound, "true", "false", "null"])
            raise self._error(f"there is no '{name}'", node, suggestion=suggestion)

    def _attribute(self, node: ast.Attribute, bound: frozenset[str]) -> None:
        if not self._reference(node.value, node.attr, bound):
            self._part_of_step(node.value, node.attr, node, bound)
            self.check(node.value, bound)

    def _subscript(self, node: ast.Subscript, bound: frozenset[str]) -> None:
        if isinstance(node.value, ast.Name) and node.value.id in ("steps", "secrets") and node.value.id not in bound:
            if not isinstance(node.slice, ast.Constant) or not isinstance(node.slice.value, str):
                raise self._error(f"'{node.value.id}[...]' needs a fixed name in quotes", node.slice)
            self._reference(node.value, node.slice.value, bound)
            return
        if isinstance(node.slice, ast.Constant) and isinstance(node.slice.value, str):
            self._part_of_step(node.value, node.slice.value, node, bound)
        self.check(node.value, bound)
        self.check(node.slice, bound)

    def _reference(self, container: ast.expr, name: str, bound: frozenset[str]) -> bool:
        if not isinstance(container, ast.Name) or container.id in bound:
            return False
        if container.id in ("steps", "secrets"):
            self.roots.add(container.id)
        if container.id == "steps":
            self.steps.add(name)
            return True
        if container.id == "secrets":
            self.secrets.add(name)
            return True
        return False

    def _part_of_step(self, container: ast.expr, part: str, node: ast.expr, bound: frozenset[str]) -> None:
        """`steps.a.body` is nearly always meant as `steps.a.output.body`."""
        if not isinstance(container, ast.Attribute | ast.Subscript) or not isinstance(container.value, ast.Name):
            return
        if container.value.id != "steps" or "steps" in bound or part in STEP_PARTS:
            return
        step = ast.unparse(container)
        suggestion = closest(part, STEP_PARTS) or f"output.{part}"
        raise self._error(f"{step} has only {' and '.join(STEP_PARTS)}, no '{part}'", node, suggestion=suggestion)

    def _call(self, node: ast.Call, bound: frozenset[str]) -> None:
        from flowforge.model.functions import FUNCTIONS

        if isinstance(node.func, ast.Attribute):
            name = node.func.attr
            advice = f"write {name}(...)" if name in FUNCTIONS or name == "get" else "only functions"
            raise self._error(f"values have no methods, {advice}", node.func)
        if not isinstance(node.func, ast.Name):
            raise self._error("only functions can be called", node.func)
        name = node.func.id
        if name not in FUNCTIONS and name != "get":
            suggestion = closest(name, [*FUNCTIONS, "get"])
            raise self._error(f"there is no function '{name}'", node.func, suggestion=suggestion)
        if name == "get":
            self._get(node)
        for keyword in node.keywords:
            if (name, keyword.arg) not in _KEYWORDS:
                raise self._error(f"{name}() takes no argument by name", keyword.value)
            self.check(keyword.value, bound)
        for argument in node.args:
            self.check(argument, bound)

    def _get(self, node: ast.Call) -> None:
        if len(node.args) not in {1, 2} or node.keywords:
            raise self._error("get() takes a path and a default", node)
        path = node.args[0]
        if not isinstance(path, ast.Attribute | ast.Subscript | ast.Name):
            raise self._error("get() needs a path such as input.a.b, without quotes", path)

    def _slice(self, node: ast.Slice, bound: frozenset[str]) -> None:
        for part in (node.lower, node.upper, node.step):
            if part is not None:
                self.check(part, bound)

    def _compare(self, node: ast.Compare, bound: frozenset[str]) -> None:
        for operation, right in zip(node.ops, node.comparators, strict=True):
            if isinstance(operation, ast.Is | ast.IsNot) and not _is_constant(right):
                raise self._error("'is' compares with null, true or false only; write '=='", right)
        for side in (node.left, *node.comparators):
            self.check(side, bound)

    def _dict(self, node: ast.Dict, bound: frozenset[str]) -> None:
        for key, value in zip(node.keys, node.values, strict=True):
            if key is None:
                raise self._error("a mapping cannot be unpacked into another", value)
            self.check(key, bound)
            self.check(value, bound)

    def _listcomp(self, node: ast.ListComp | ast.GeneratorExp | ast.DictComp, bound: frozenset[str]) -> None:
        for generator in node.generators:
            if generator.is_async:
                raise self._error("expressions have no async", node)
            self.check(generator.iter, bound)
            bound = bound | self._targets(generator.target)
            for test in generator.ifs:
                self.check(test, bound)
        parts = (node.key, node.value) if isinstance(node, ast.DictComp) else (node.elt,)
        for part in parts:
            self.check(part, bound)

    _generatorexp = _listcomp
    _dictcomp = _listcomp

    def _targets(self, target: ast.expr) -> frozenset[str]:
        from flowforge.model.evaluator import CONSTANTS
        from flowforge.model.functions import FUNCTIONS

        if isinstance(target, ast.Tuple | ast.List):
            return frozenset().union(*(self._targets(part) for part in target.elts))
        if not isinstance(target, ast.Name):
            raise self._error("'for' needs a name", target)
        if target.id in ROOTS - {"item"} or target.id in FUNCTIONS or target.id in CONSTANTS:
            raise self._error(f"'{target.id}' has a meaning already, take another name", target)
        return frozenset({target.id})

    def _error(self, message: str, node: ast.AST, suggestion: str | None = None) -> ExpressionError:
        offset = getattr(node, "col_offset", 0)
        meant = "" if suggestion is None else f" (did you mean '{suggestion}'?)"
        return ExpressionError(f"{message}{meant}", source=self.source, offset=min(offset, len(self.source) - 1))


#: What the context holds of a step.
STEP_PARTS = ("output", "error")

_KEYWORDS = {("sorted", "reverse")}

_REFUSED: dict[type, str] = {
    ast.JoinedStr: "f-strings are not part of expressions; use {{ }} in text, or +",
    ast.Lambda: "lambda is not part of expressions",
    ast.NamedExpr: "expressions assign nothing",
    ast.Starred: "'*' cannot unpack in an expression",
    ast.Set: "there are no sets; a list is written [a, b], and an expression needs no braces around it",
    ast.SetComp: "there are no sets; a list is written [a for a in b]",
    ast.Await: "await is not part of expressions",
    ast.Yield: "yield is not part of expressions",
    ast.YieldFrom: "yield is not part of expressions",
    ast.BitAnd: "'&' is not part of expressions, write 'and'",
    ast.BitOr: "'|' is not part of expressions, write 'or'",
    ast.BitXor: "'^' is not part of expressions; a power is written **",
    ast.LShift: "'<<' is not part of expressions",
    ast.RShift: "'>>' is not part of expressions",
    ast.MatMult: "'@' is not part of expressions",
    ast.Invert: "'~' is not part of expressions",
}


def _is_constant(node: ast.expr) -> bool:
    if isinstance(node, ast.Constant):
        return node.value is None or isinstance(node.value, bool)
    return isinstance(node, ast.Name) and node.id in ("true", "false", "null")


def _type_error(error: TypeError) -> str:
    message = str(error).replace("NoneType", "null").replace("'str'", "text").replace("'dict'", "a mapping")
    message = message.replace("'list'", "a list").replace("'int'", "a number").replace("'float'", "a number")
    if "not supported between instances of" in message:
        message = message.replace(" not supported between instances of", " does not work between")
    elif "positional argument" in message or "keyword argument" in message:
        message = "a function got the wrong number of arguments"
    return message[:200]
