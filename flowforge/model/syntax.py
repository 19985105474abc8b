"""What an expression may look like: parsed as Python, then narrowed to what the language has.

A syntax tree that comes out of here has only nodes, functions and names that the evaluator knows; every refusal has
the offset of the fault in the source as written.
"""

from __future__ import annotations

import ast
import re
import warnings

from flowforge.errors import ExpressionError
from flowforge.model.diagnostics import closest

#: Characters of an expression's source.
MAX_SOURCE = 4_096
#: Levels of a syntax tree.
MAX_LEVELS = 100
#: Bits of a whole number.
MAX_BITS = 1_024

#: What an expression may read.
ROOTS = frozenset({"input", "steps", "run", "item", "secrets"})
#: What the context holds of a step.
STEP_PARTS = ("output", "error", "status")


def parse(source: str) -> ast.expr:
    """Return the syntax tree of *source*, not yet checked; its columns are offsets of characters."""
    if len(source) > MAX_SOURCE:
        raise ExpressionError(f"is longer than {MAX_SOURCE:,} characters", source=source, offset=0)
    if not source.strip():
        raise ExpressionError("the expression is empty", source=source, offset=0)
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


class Checker:
    """Walks a tree once: refuses what expressions may not use, collects what they read."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.roots: set[str] = set()
        self.steps: set[str] = set()
        self.secrets: set[str] = set()
        #: What it reads of `run`, but for what has a default.
        self.of_run: set[str] = set()

    def check(self, node: ast.AST, bound: frozenset[str] = frozenset()) -> None:
        """Refuse what is not part of the language; *bound* are the names of the comprehensions around it."""
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
            why = "; what undoes a step reads 'run.error'" if name == "error" else ""
            raise self._error(f"there is no '{name}'{why}", node, suggestion=suggestion)

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
            self._reference(node.value, node.slice.value, bound)
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
        if container.id == "run":
            self.of_run.add(name)
        return False

    def _part_of_step(self, container: ast.expr, part: str, node: ast.expr, bound: frozenset[str]) -> None:
        """`steps.a.body` is nearly always meant as `steps.a.output.body`."""
        if not isinstance(container, ast.Attribute | ast.Subscript) or not isinstance(container.value, ast.Name):
            return
        if container.value.id != "steps" or "steps" in bound or part in STEP_PARTS:
            return
        step = ast.unparse(container)
        suggestion = closest(part, STEP_PARTS) or f"output.{part}"
        raise self._error(f"{step} has only {', '.join(STEP_PARTS)}, no '{part}'", node, suggestion=suggestion)

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
        needed = set(self.of_run)
        for keyword in node.keywords:
            if (name, keyword.arg) not in _KEYWORDS:
                raise self._error(f"{name}() takes no argument by name", keyword.value)
            self.check(keyword.value, bound)
        for argument in node.args:
            self.check(argument, bound)
        if name == "get" and len(node.args) > 1:
            self.of_run = needed

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
