"""From an http step's rendered configuration to a request; refuses what no server should see.

The request is complete before anything is sent, so a bad configuration never costs a connection.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote_to_bytes

import httpx

from flowforge.errors import FlowforgeError
from flowforge.steps import http_config
from flowforge.steps.failures import ConfigError

_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")
#: Headers that must not follow a redirect to another origin.
_CREDENTIALS = frozenset({"authorization", "cookie", "proxy-authorization"})
_CONTENT_HEADERS = frozenset({"content-type", "content-encoding", "content-language", "content-location"})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_HOST = re.compile(rb"[0-9A-Za-z._-]+")
_LAST_PORT = 65_535
#: Those that turn a POST into a GET, as every browser does.
_OLD_REDIRECTS = frozenset({301, 302})


class BadRedirect(FlowforgeError):
    """The server redirects to something that cannot be called."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request, as the client sends it."""

    method: str
    url: httpx.URL
    #: Lower-cased names, in the order of sending.
    headers: Mapping[str, str]
    content: bytes = b""
    #: Names of headers that stay with the origin they were written for.
    private: frozenset[str] = _CREDENTIALS


def build(config: Mapping[str, Any], defaults: Mapping[str, str], secrets: tuple[str, ...] = ()) -> Request:
    """Return the request that *config* describes; *defaults* are headers it may replace.

    A header whose value holds one of *secrets* is private to the first origin.
    """
    method = str(config.get("method") or "GET").upper()
    if method not in _METHODS:
        raise ConfigError(f"'method': '{method[:40]}' is not one of {', '.join(_METHODS)}")
    url = _url(config.get("url"))
    added = http_config.query(config.get("query"))
    if added:
        url = url.copy_with(query=b"&".join(part for part in (url.query, added.encode("utf-8", "replace")) if part))
    content, content_type = http_config.content(config)
    headers: dict[str, str | None] = dict(defaults)
    if content_type is not None:
        headers["content-type"] = content_type
    if url.userinfo:
        headers["authorization"] = _basic(url.userinfo)
    given = http_config.headers(config.get("headers"))
    headers |= given
    held = {name for name, value in given.items() if value and any(secret and secret in value for secret in secrets)}
    return Request(
        method=method,
        url=_bare(url),
        headers={name: value for name, value in headers.items() if value is not None},
        content=content,
        private=_CREDENTIALS | held,
    )


def redirected(request: Request, status: int, location: str | None) -> Request | None:
    """Return the request that follows a response; None when it does not redirect. Raises BadRedirect."""
    if status not in _REDIRECTS or not location:
        return None
    try:
        url = _bare(_url(str(request.url.join(location))))
    except (ConfigError, httpx.InvalidURL, UnicodeError, ValueError):
        raise BadRedirect(f"{shown(request.url)} redirects to something that is not an http address") from None
    method, headers, content = request.method, dict(request.headers), request.content
    if (status == HTTPStatus.SEE_OTHER and method != "HEAD") or (status in _OLD_REDIRECTS and method == "POST"):
        method, content = "GET", b""
        headers = {name: value for name, value in headers.items() if name not in _CONTENT_HEADERS}
    if origin(url) != origin(request.url):
        headers = {name: value for name, value in headers.items() if name not in request.private}
    return replace(request, method=method, url=url, headers=headers, content=content)


def origin(url: httpx.URL) -> tuple[str, str, int]:
    """Return scheme, host and port."""
    return url.scheme, url.host, url.port or (443 if url.scheme == "https" else 80)


def shown(url: httpx.URL | str) -> str:
    """Return a URL for messages: without credentials, query and fragment, all places where secrets travel."""
    try:
        return str(_bare(httpx.URL(url)).copy_with(query=None))[:300]
    except (httpx.InvalidURL, TypeError, ValueError):
        return "the url"


def _url(value: Any) -> httpx.URL:
    if not isinstance(value, str) or not value:
        raise ConfigError("'url' must be the address to call")
    try:
        url = httpx.URL(value.strip())
    except (httpx.InvalidURL, UnicodeError, ValueError):
        raise ConfigError("'url' is not a valid address") from None
    if url.scheme not in {"http", "https"}:
        raise ConfigError(f"'url' must begin with http:// or https://, not '{url.scheme[:20]}:'")
    if not url.host:
        raise ConfigError("'url' names no host")
    if not (_HOST.fullmatch(url.raw_host) or ":" in url.host) or (url.port or 0) > _LAST_PORT:
        raise ConfigError("'url' names a host or port that cannot be")
    return url


def _bare(url: httpx.URL) -> httpx.URL:
    """Return what of a URL is sent; credentials in it have become a header."""
    return url.copy_with(username=None, password=None, fragment=None)


def _basic(userinfo: bytes) -> str:
    name, _, password = userinfo.partition(b":")
    return "Basic " + base64.b64encode(unquote_to_bytes(name) + b":" + unquote_to_bytes(password)).decode()
