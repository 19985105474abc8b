"""Reading the configuration of an http step: query, headers, body and what is said about the answer.

Everything is checked before a connection is opened. Messages name the key, never the value: it may be a secret.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

from flowforge.model import duration
from flowforge.model.json import InvalidJson, encode
from flowforge.steps.failures import ConfigError

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)
#: Headers that the client sets, and that would let a request be read in two ways.
_OURS = frozenset({"connection", "content-length", "host", "te", "trailer", "transfer-encoding", "upgrade"})
_STATUS = re.compile(r"[1-5]([0-9]{2}|xx)", re.ASCII)
_WHOLE = re.compile(r"[0-9]{1,18}", re.ASCII)
_FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True, slots=True)
class Options:
    """What the step says about the answer."""

    expect: tuple[str, ...] = ("2xx",)
    max_bytes: int | None = None
    max_redirects: int | None = None
    timeout: timedelta | None = None

    def expects(self, status: int) -> bool:
        """Say whether *status* is a success of this step."""
        return str(status) in self.expect or f"{status // 100}xx" in self.expect


def options(config: Mapping[str, Any]) -> Options:
    """Return what *config* says about the answer."""
    return Options(
        expect=_expect(config.get("expect")),
        max_bytes=_count(config, "max_bytes"),
        max_redirects=_count(config, "max_redirects"),
        timeout=_timeout(config.get("timeout")),
    )


def query(value: Any) -> str:
    """Return the query string; a list gives a parameter several values, null leaves it out."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value.removeprefix("?")
    if not isinstance(value, dict):
        raise ConfigError("'query' must be a mapping of parameters")
    return urlencode(_pairs(value, "query"), errors="replace")


def _pairs(values: Mapping[str, Any], what: str) -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = []
    for name, value in values.items():
        for item in value if isinstance(value, list | tuple) else [value]:
            if item is not None:
                pairs.append((str(name), _scalar(item, f"'{what}.{name}'")))  # noqa: PERF401 - two loops read better
    return pairs


def _scalar(value: Any, where: str) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    raise ConfigError(f"{where} must be text, a number or a boolean")


def headers(value: Any) -> dict[str, str | None]:
    """Return headers by lower-cased name; None takes a default header away."""
    if value is None or value == "":
        return {}
    if not isinstance(value, dict):
        raise ConfigError("'headers' must be a mapping")
    read: dict[str, str | None] = {}
    for name, item in value.items():
        if not isinstance(name, str) or not _TOKEN.fullmatch(name):
            raise ConfigError(f"'headers': {str(name)[:60]!r} is not a header name")
        if name.lower() in _OURS:
            raise ConfigError(f"'headers': {name} is set by the client")
        values = item if isinstance(item, list | tuple) else [item]
        read[name.lower()] = None if item is None else ", ".join(_header(name, entry) for entry in values)
    return read


def _header(name: str, value: Any) -> str:
    text = _scalar(value, f"'headers.{name}'").strip(" \t")
    # The value itself stays out of the message: headers carry credentials.
    if any(char in "\r\n\0" or (char < " " and char != "\t") or char == "\x7f" for char in text):
        raise ConfigError(f"'headers.{name}' holds a line break or control character")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise ConfigError(f"'headers.{name}' holds a lone surrogate") from None
    return text


def content(config: Mapping[str, Any]) -> tuple[bytes, str | None]:
    """Return the body and its content type: `body` by its kind, or `json`, `form`, `text` by name."""
    given = [key for key in ("body", "json", "form", "text") if config.get(key) is not None]
    if not given:
        return b"", None
    if len(given) > 1:
        raise ConfigError(f"give only one of {', '.join(given)}")
    key, value = given[0], config[given[0]]
    if key == "body":
        key = _kind(value, config)
    if key == "form":
        if not isinstance(value, dict):
            raise ConfigError("'form' must be a mapping of fields")
        return urlencode(_pairs(value, "form"), errors="replace").encode("ascii"), _FORM
    try:
        if key == "text":
            return _scalar(value, "'text'").encode("utf-8"), "text/plain; charset=utf-8"
        return encode(value).encode("utf-8"), "application/json"
    except InvalidJson as error:
        raise ConfigError(f"'{given[0]}' {error.message}") from None
    except UnicodeEncodeError:
        raise ConfigError(f"'{given[0]}' holds a lone surrogate") from None


def _kind(body: Any, config: Mapping[str, Any]) -> str:
    """Say how `body` is sent: text as it is, a mapping as the content type that the step sets says."""
    if isinstance(body, str):
        return "text"
    written = config.get("headers")
    given = written.items() if isinstance(written, dict) else ()
    types = [str(value).lower() for name, value in given if str(name).lower() == "content-type"]
    form = any(kind.startswith(_FORM) for kind in types)
    return "form" if form and isinstance(body, dict) else "json"


def _expect(value: Any) -> tuple[str, ...]:
    if value is None:
        return ("2xx",)
    if isinstance(value, dict):
        value = value.get("status", "2xx")
    entries = value if isinstance(value, list | tuple) else [value]
    expected = tuple(str(entry).strip().lower() for entry in entries)
    for entry in expected:
        if not _STATUS.fullmatch(entry):
            raise ConfigError(f"'expect': '{entry[:40]}' is neither a status nor something like 2xx")
    if not expected:
        raise ConfigError("'expect' names no status")
    return expected


def _count(config: Mapping[str, Any], key: str) -> int | None:
    value = config.get(key)
    if isinstance(value, str) and _WHOLE.fullmatch(value):
        value = int(value)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ConfigError(f"'{key}' must be a whole number")
    return value


def _timeout(value: Any) -> timedelta | None:
    """Read the request's own deadline; a number is seconds here, as in source document 004."""
    if value is None:
        return None
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = value * 1_000
    try:
        parsed = duration.parse(value)
    except ValueError as error:
        raise ConfigError(f"'timeout': {error}") from None
    if not parsed:
        raise ConfigError("'timeout' must be longer than zero")
    return parsed
