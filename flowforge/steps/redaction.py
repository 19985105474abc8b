"""Secret values out of everything that is written, in every form they take on their way.

Data (outputs) loses whole values only. Diagnostics (errors, log text) may have been cut somewhere inside a value, so
there half of one, or more, counts as the value.
"""

from __future__ import annotations

import base64
import dataclasses
import functools
import html
import json
import logging
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote, quote_plus, unquote

from flowforge.model.outcome import Completed, Deferred, Expanded, Failed, Outcome, StepError, Waiting

#: Shorter values are only replaced where they stand alone: `a` is in every text.
SHORTEST = 4

_ESCAPE = re.compile("%[0-9A-F]{2}")


class Redactor:
    """Replaces secret values by their names."""

    def __init__(self, used: Mapping[str, str]) -> None:
        names: dict[str, str] = {}
        for name, value in used.items():
            for form in _forms(value):
                names.setdefault(form, name)
        self._whole = {value: name for name, value in used.items() if value}
        self._names = names

    @classmethod
    def of(cls, used: Mapping[str, str]) -> Redactor:
        """Return the redactor for what an attempt has read; attempts of one step share it."""
        return _made(tuple(used.items()))

    @functools.cached_property
    def _pattern(self) -> re.Pattern[str]:
        # The longest form first: a value that holds another secret is replaced as a whole.
        return re.compile("|".join(map(re.escape, sorted(self._names, key=len, reverse=True))))

    def text(self, text: str) -> str:
        """Return *text* with every form of every secret replaced."""
        if text in self._whole:
            return _mark(self._whole[text])
        # Nearly no text holds one, and looking for each is far quicker than for all of them with one pattern.
        if not any(form in text for form in self._names):
            return text
        return self._pattern.sub(lambda match: _mark(self._names[match[0]]), text)

    def diagnostic(self, text: str) -> str:
        """Return *text*, which may have been cut anywhere, without secrets and halves of them."""
        text = self.text(text)
        for form, name in self._names.items():
            if len(form) >= 2 * SHORTEST:
                text = _without_halves(text, form, _mark(name))
        return text

    def value(self, value: Any, text: Callable[[str], str] | None = None) -> Any:
        """Return a JSON value with every secret in its strings and keys replaced."""
        text = text or self.text
        if isinstance(value, str):
            return text(value)
        if isinstance(value, dict):
            return {text(key) if isinstance(key, str) else key: self.value(item, text) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.value(item, text) for item in value]
        return value

    def error(self, error: StepError) -> StepError:
        """Return an error without secrets in any of its parts."""
        return dataclasses.replace(
            error,
            code=self.diagnostic(error.code),
            message=self.diagnostic(error.message),
            kinds=tuple(self.diagnostic(kind) for kind in error.kinds),
            hint=None if error.hint is None else self.diagnostic(error.hint),
            details=_bounded(self.value, error.details, self.diagnostic),
        )


def guard(outcome: Outcome, used: Mapping[str, str]) -> Outcome:
    """Return the outcome without the secrets in *used*: what may be written."""
    if not used:
        return outcome
    redactor = Redactor.of(used)
    if isinstance(outcome, Completed | Expanded | Waiting):
        return dataclasses.replace(outcome, output=_bounded(redactor.value, outcome.output))
    if isinstance(outcome, Failed | Deferred):
        return dataclasses.replace(outcome, error=redactor.error(outcome.error))
    return outcome


def redact(value: Any, used: Mapping[str, str]) -> Any:
    """Return text or a JSON value without the secrets in *used*."""
    return Redactor.of(used).value(value) if used else value


class Lines:
    """Log text on its way out, line by line, so that no secret passes in two pieces."""

    def __init__(self, hidden: Callable[[], Mapping[str, str]], write: Callable[[str], None]) -> None:
        self._hidden, self._write = hidden, write
        self._rest = ""

    def add(self, text: str) -> None:
        """Take text; its last line stays until it ends."""
        if not self._rest and not self._hidden():
            self._write(text)
            return
        complete, end, self._rest = (self._rest + text).rpartition("\n")
        if end:
            self._out(complete + end)

    def close(self) -> None:
        """Write what is left."""
        rest, self._rest = self._rest, ""
        if rest:
            self._out(rest)

    def _out(self, text: str) -> None:
        hidden = self._hidden()
        self._write(Redactor.of(hidden).diagnostic(text) if hidden else text)


class LogFilter(logging.Filter):
    """Takes secrets out of log records, whoever writes them: a library that an executor uses may say anything."""

    def __init__(self, known: Mapping[str, str]) -> None:
        super().__init__()
        self._known = known

    def filter(self, record: logging.LogRecord) -> bool:
        """Replace the record's texts; every record passes."""
        if self._known:
            redactor = Redactor.of(self._known)
            record.msg, record.args = redactor.diagnostic(record.getMessage()), None
            if record.exc_info:
                text = record.exc_text or logging.Formatter().formatException(record.exc_info)
                clean = redactor.diagnostic(text)
                if clean != text:
                    record.exc_info, record.exc_text = None, clean
        return True


@contextmanager
def protected_logs(known: Mapping[str, str]) -> Iterator[None]:
    """Keep the secrets in *known*, which may grow, out of what this process's handlers write."""
    chosen = [logging.getLogger(name) for name in (None, "flowforge", "flowforge_streams")]
    handlers = [handler for logger in chosen for handler in logger.handlers]
    guarding = LogFilter(known)
    for handler in handlers:
        handler.addFilter(guarding)
    try:
        yield
    finally:
        for handler in handlers:
            handler.removeFilter(guarding)


def _bounded(replace: Callable[..., Any], value: Any, *how: Any) -> Any:
    try:
        return replace(value, *how)
    except RecursionError:  # nested beyond any limit: what cannot be searched is not let through
        return None


@functools.lru_cache(maxsize=64)
def _made(used: tuple[tuple[str, str], ...]) -> Redactor:
    return Redactor(dict(used))


def _mark(name: str) -> str:
    return f"[secret:{name}]"


def _without_halves(text: str, form: str, mark: str) -> str:
    half = max(2 * SHORTEST, (len(form) + 1) // 2)
    head, tail = form[:half], form[-half:]
    while (start := text.find(head)) >= 0:
        end = start + half
        while end < len(text) and end - start < len(form) and text[end] == form[end - start]:
            end += 1
        text = text[:start] + mark + text[end:]
    while (start := text.find(tail)) >= 0:
        end, length = start + half, half
        while start > 0 and length < len(form) and text[start - 1] == form[-length - 1]:
            start, length = start - 1, length + 1
        text = text[:start] + mark + text[end:]
    return text


def _forms(value: str) -> Iterator[str]:
    """Every text in which *value* may turn up."""
    for part in _parts(value):
        if len(part) < SHORTEST:
            continue
        yield part
        for quoted in (quote(part), quote(part, safe=""), quote_plus(part)):
            yield quoted
            yield _ESCAPE.sub(lambda match: match[0].lower(), quoted)
        escaped = json.dumps(part)[1:-1]
        yield escaped
        yield json.dumps(escaped)[1:-1]
        yield json.dumps(part, ensure_ascii=False)[1:-1]
        yield escaped.replace("/", "\\/")
        yield repr(part)[1:-1]
        yield html.escape(part)
        yield html.escape(part, quote=False)
        yield from _base64(part.encode("utf-8", "surrogateescape"))


def _parts(value: str) -> set[str]:
    """Return *value* and what of it is as good: lines of a key file, the parts of an address that are credentials."""
    long = 2 * SHORTEST
    parts = {value, value.strip()} | {line.strip() for line in value.splitlines() if len(line.strip()) >= long}
    if "://" in value:
        with_host = re.split(r"[/?#]", value.partition("://")[2], maxsplit=1)
        host, rest = with_host[0], value.partition("://")[2][len(with_host[0]) :]
        pieces = [*re.split(r"[:@]", host.rpartition("@")[0]), *re.split(r"[/?&#=,]", rest)]
        if "@" not in host and "." not in host:
            pieces.append(host)
        parts |= {form for piece in pieces for form in (piece, unquote(piece)) if len(form) >= long}
    return parts


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
