"""Secrets: read at the last moment, and taken out again of everything that is written.

Definitions hold `{{ secrets.name }}`; the value comes from FLOWFORGE_SECRET_<NAME> of the worker's environment
when an expression asks for it. Whatever an attempt hands back (output, error, progress, log text) passes a
`Redactor` that knows the values this attempt has read, also in the forms they take on their way: base64, URL
quoting, JSON escapes.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, quote_plus

from flowforge.model.outcome import Completed, Expanded, Failed, Outcome, Waiting

PREFIX = "FLOWFORGE_SECRET_"

#: Shorter values are only replaced where they stand alone: `a` is in every text.
SHORTEST = 4


class Secrets(Mapping[str, str]):
    """The secrets of one attempt, put into its context as `secrets`; remembers which of them were read."""

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        self._environment = os.environ if environment is None else environment
        #: What was read so far, by name.
        self.used: dict[str, str] = {}

    def __getitem__(self, name: str) -> str:
        try:
            value = self._environment[variable(name)]
        except KeyError:
            raise KeyError(name) from None
        self.used[name] = value
        return value

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and variable(name) in self._environment

    def __iter__(self) -> Iterator[str]:
        return (key.removeprefix(PREFIX).lower() for key in self._environment if key.startswith(PREFIX))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __repr__(self) -> str:
        return f"Secrets(used={sorted(self.used)})"


def variable(name: str) -> str:
    """Return the environment variable that holds a secret."""
    return PREFIX + name.upper()


class Redactor:
    """Replaces secret values by their names."""

    def __init__(self, used: Mapping[str, str]) -> None:
        names: dict[str, str] = {}
        for name, value in used.items():
            for form in _forms(value):
                names.setdefault(form, name)
        self._whole = {value: name for name, value in used.items() if value}
        self._names = names
        # The longest form first: a value that holds another secret is replaced as a whole.
        forms = sorted(names, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, forms))) if forms else None

    def text(self, text: str) -> str:
        """Return *text* with every form of every secret replaced."""
        if text in self._whole:
            return _mark(self._whole[text])
        if self._pattern is None:
            return text
        return self._pattern.sub(lambda match: _mark(self._names[match[0]]), text)

    def value(self, value: Any) -> Any:
        """Return a JSON value with every secret in its strings and keys replaced."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {self.text(key) if isinstance(key, str) else key: self.value(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.value(item) for item in value]
        return value


def guard(outcome: Outcome, used: Mapping[str, str]) -> Outcome:
    """Return the outcome without the secrets in *used*: what may be written."""
    if not used:
        return outcome
    redactor = Redactor(used)
    if isinstance(outcome, Completed | Expanded | Waiting):
        return dataclasses.replace(outcome, output=_bounded(redactor, outcome.output))
    if isinstance(outcome, Failed):
        error = outcome.error
        clean = dataclasses.replace(
            error,
            code=redactor.text(error.code),
            message=redactor.text(error.message),
            kinds=tuple(redactor.text(kind) for kind in error.kinds),
            hint=None if error.hint is None else redactor.text(error.hint),
            details=_bounded(redactor, error.details),
        )
        return dataclasses.replace(outcome, error=clean)
    return outcome


def redact(value: Any, used: Mapping[str, str]) -> Any:
    """Return text or a JSON value without the secrets in *used*."""
    return Redactor(used).value(value) if used else value


def _bounded(redactor: Redactor, value: Any) -> Any:
    try:
        return redactor.value(value)
    except RecursionError:  # nested beyond any limit: what cannot be searched is not let through
        return None


def _mark(name: str) -> str:
    return f"[secret:{name}]"


def _forms(value: str) -> Iterator[str]:
    """Every text in which *value* may turn up; lines of a key file count by themselves."""
    parts = {value, value.strip()} | {line.strip() for line in value.splitlines() if len(line.strip()) >= 2 * SHORTEST}
    for part in parts:
        if len(part) < SHORTEST:
            continue
        yield part
        yield quote(part)
        yield quote(part, safe="")
        yield quote_plus(part)
        escaped = json.dumps(part)[1:-1]
        yield escaped
        yield json.dumps(part, ensure_ascii=False)[1:-1]
        yield escaped.replace("/", "\\/")
        yield repr(part)[1:-1]
        yield from _base64(part.encode("utf-8", "surrogateescape"))


def _base64(data: bytes) -> Iterator[str]:
    """Yield *data* in base64 at each of the three places it can take in a longer text, without the shared ends."""
    for shift in range(3):
        encoded = base64.b64encode(b"\0" * shift + data).decode()
        inner = encoded[(0, 2, 3)[shift] :].rstrip("=")
        if (shift + len(data)) % 3:
            inner = inner[:-1]
        if len(inner) >= 2 * SHORTEST - 2:
            yield inner
            yield inner.replace("+", "-").replace("/", "_")
