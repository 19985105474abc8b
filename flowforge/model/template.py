"""Templates: JSON values whose strings may hold `{{ expression }}` (design.md section 4).

A string that is nothing but `{{ expr }}` or `${{ expr }}` becomes the expression's value, type and all; inside
longer text the value is written out: text as it is, anything else as JSON. A literal `{{` is written
`{{ "{{" }}`; a `}}` alone is just text. Keys are never templates. A value without expressions is rendered by
returning it, at no cost: whoever gets it must not change it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from flowforge.errors import ExpressionError
from flowforge.model.diagnostics import Path
from flowforge.model.expression import Expression, parse, shorten
from flowforge.model.json import Json
from flowforge.model.plan import References

#: Characters of a text that a template makes.
MAX_TEXT = 1024 * 1024

_Render: TypeAlias = Callable[[Mapping[str, Any]], Any]


class TemplateError(ExpressionError):
    """A template cannot be compiled; *path* leads to the string, *offset* into it."""

    def __init__(self, message: str, *, source: str, offset: int | None, path: Path) -> None:
        super().__init__(message, source=source, offset=offset)
        self.path = path


class Template:
    """A compiled value."""

    __slots__ = ("_render", "expressions", "references", "value")

    def __init__(self, value: Json, render: _Render | None, expressions: tuple[Expression, ...]) -> None:
        #: As written.
        self.value = value
        #: The expressions in it, in order.
        self.expressions = expressions
        references = References()
        for expression in expressions:
            references = references | expression.references
        #: What its expressions read.
        self.references = references
        self._render = render

    def __repr__(self) -> str:
        return f"Template({self.value!r})"

    def render(self, context: Mapping[str, Any]) -> Json:
        """Return the value with every expression evaluated, or raise ExpressionError."""
        if self._render is None:
            return self.value
        rendered: Json = self._render(context)
        return rendered


def literal(value: Json) -> Template:
    """Return a template that renders to *value*, whatever its strings hold."""
    return Template(value, None, ())


def compile(value: Json, *, names: Mapping[str, str] | None = None) -> Template:  # noqa: A001 - reads as template.compile
    """Compile *value*; *names* are the steps that references mean, when they differ from what is written.

    Raises TemplateError, with the path of the string and the offset inside it.
    """
    compiler = _Compiler(names or {})
    render = compiler.value(value, ())
    return Template(value, render, tuple(compiler.expressions))


def split(text: str) -> list[tuple[int, str, bool]]:
    """Split a string into (offset, text, is expression); raises ExpressionError when `{{` is never closed."""
    parts: list[tuple[int, str, bool]] = []
    position = 0
    while (start := text.find("{{", position)) >= 0:
        if start > position:
            parts.append((position, text[position:start], False))
        end = _end(text, start + 2)
        parts.append((start + 2, text[start + 2 : end], True))
        position = end + 2
    if position < len(text):
        parts.append((position, text[position:], False))
    return parts


def _end(text: str, position: int) -> int:
    """Find the `}}` that closes an expression, past quoted text and braces of its own."""
    start, depth = position - 2, 0
    while position < len(text):
        char = text[position]
        if char in "\"'":
            closing = _closing_quote(text, position)
            position = closing + 1
            continue
        if char in "{[(":
            depth += 1
        elif char == "}" and depth == 0 and text.startswith("}}", position):
            return position
        elif char in "}])":
            depth = max(0, depth - 1)
        position += 1
    raise ExpressionError("'{{' is never closed", source=text, offset=start)


def _closing_quote(text: str, start: int) -> int:
    position = start + 1
    while position < len(text):
        if text[position] == "\\":
            position += 1
        elif text[position] == text[start]:
            return position
        position += 1
    raise ExpressionError("a quote inside '{{ }}' is never closed", source=text, offset=start)


class _Compiler:
    """Turns a value into a function of the context; None stands for a value without expressions."""

    def __init__(self, names: Mapping[str, str]) -> None:
        self.names = names
        self.expressions: list[Expression] = []

    def value(self, value: Any, path: Path) -> _Render | None:
        if isinstance(value, str):
            return self.text(value, path) if "{{" in value else None
        if isinstance(value, dict):
            return self.mapping(value, path)
        if isinstance(value, list | tuple):
            return self.sequence(list(value), path)
        return None

    def mapping(self, value: dict[str, Any], path: Path) -> _Render | None:
        renders: dict[str, _Render] = {}
        for key, entry in value.items():
            if "{{" in key:
                message = "a key cannot hold an expression"
                raise TemplateError(message, source=key, offset=None, path=(*path, key))
            render = self.value(entry, (*path, key))
            if render is not None:
                renders[key] = render
        if not renders:
            return None
        return lambda context: {**value, **{key: render(context) for key, render in renders.items()}}

    def sequence(self, value: list[Any], path: Path) -> _Render | None:
        renders = [self.value(entry, (*path, no)) for no, entry in enumerate(value)]
        if not any(renders):
            return None
        pairs = list(zip(value, renders, strict=True))
        return lambda context: [entry if render is None else render(context) for entry, render in pairs]

    def text(self, text: str, path: Path) -> _Render | None:
        try:
            parts = split(text)
        except ExpressionError as error:
            help_text = 'a literal {{ is written {{ "{{" }}'
            raise TemplateError(f"{error}; {help_text}", source=text, offset=error.offset, path=path) from None
        pieces = [self.expression(part, path) if part[2] else part[1] for part in parts]
        match pieces:
            case [Expression() as only] | ["$", Expression() as only]:
                return only.evaluate
        return lambda context: _join(pieces, context)

    def expression(self, part: tuple[int, str, bool], path: Path) -> Expression:
        offset, source, _ = part
        try:
            expression = parse(source).renamed(self.names)
        except ExpressionError as error:
            at = None if error.offset is None else offset + error.offset
            raise TemplateError(str(error), source=source, offset=at, path=path) from None
        self.expressions.append(expression)
        return expression


def _join(pieces: list[Expression | str], context: Mapping[str, Any]) -> str:
    texts: list[str] = []
    size = 0
    for piece in pieces:
        written = piece if isinstance(piece, str) else _write(piece.evaluate(context))
        size += len(written)
        if size > MAX_TEXT and isinstance(piece, Expression):
            message = f"makes a text longer than {MAX_TEXT:,} characters, in: {shorten(piece.source)}"
            raise ExpressionError(message, source=piece.source)
        texts.append(written)
    return "".join(texts)


def _write(value: Json) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
