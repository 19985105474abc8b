"""Failures of http steps in the words of retry rules."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta

import httpcore
import httpx
import pytest

from flowforge.model.retry import RetryPolicy
from flowforge.steps.addresses import AddressRefused
from flowforge.steps.http_body import Body
from flowforge.steps.http_client import Reply, TooManyRedirects
from flowforge.steps.http_errors import failed, retry_after, unexpected_status
from flowforge.steps.http_network import NameNotFound
from flowforge.steps.http_request import BadRedirect, Request

NOW = datetime(2026, 1, 1, tzinfo=UTC)
REQUEST = Request("POST", httpx.URL("https://api.example/pay?token=abc"), {})


def answered(status, **headers):
    reply = Reply(status, {"content-type": "text/plain", **headers}, Body(b"sorry"), REQUEST.url)
    return unexpected_status(REQUEST, reply, NOW)


@pytest.mark.parametrize(
    ("status", "kind", "retryable"),
    [
        (200, "http_2xx", False),
        (302, "http_3xx", False),
        (400, "http_4xx", False),
        (404, "http_4xx", False),
        (408, "http_4xx", True),
        (425, "http_4xx", True),
        (429, "http_4xx", True),
        (500, "http_5xx", True),
        (503, "http_5xx", True),
    ],
)
def test_a_status_has_a_code_and_a_class(status, kind, retryable):
    """Server errors and the client errors that pass by themselves are tried again."""
    error = answered(status).error

    assert error.code == f"HTTP_{status}"
    assert kind in error.kinds
    assert error.retryable is retryable
    assert error.message == f"POST https://api.example/pay answered {status}"
    assert error.details == {"status_code": status, "url": "https://api.example/pay", "body": "sorry"}


def test_retry_rules_find_their_failures():
    """As written in the example of design.md, section 4."""
    policy = RetryPolicy(retry_on=("network", "timeout", "http_5xx", "http_429"))

    assert policy.allows(answered(503).error, 1)
    assert policy.allows(answered(429).error, 1)
    assert not policy.allows(answered(404).error, 1)
    assert policy.allows(failed(REQUEST, httpcore.ReadError()).error, 1)
    assert policy.allows(failed(REQUEST, NameNotFound("x")).error, 1)
    assert policy.allows(failed(REQUEST, httpcore.ConnectTimeout()).error, 1)
    assert not policy.allows(failed(REQUEST, AddressRefused("x", "10.0.0.1", "private", None)).error, 1)
    assert not policy.allows(failed(REQUEST, TooManyRedirects("x")).error, 1)
    assert not policy.allows(failed(REQUEST, untrusted()).error, 1)


def untrusted():
    error = httpcore.ConnectError("handshake")
    error.__cause__ = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.__cause__.verify_message = "self-signed certificate"
    return error


def handshake():
    error = httpcore.ConnectError("handshake")
    error.__cause__ = ssl.SSLEOFError(8, "EOF occurred in violation of protocol")
    return error


@pytest.mark.parametrize(
    ("error", "code", "kind", "retryable"),
    [
        (httpcore.ConnectError("refused"), "NETWORK", "network", True),
        (httpcore.ReadError(), "NETWORK", "ReadError", True),
        (httpcore.RemoteProtocolError("odd"), "NETWORK", "network", True),
        (ConnectionResetError("reset"), "NETWORK", "ConnectionResetError", True),
        (NameNotFound("the name x cannot be resolved"), "NETWORK", "dns", True),
        (httpcore.ConnectTimeout(), "TIMEOUT", "timeout", True),
        (handshake(), "NETWORK", "tls", True),
        (untrusted(), "TLS", "tls", False),
        (AddressRefused("h", "10.0.0.1", "a private address", "hint"), "ADDRESS_REFUSED", "address", False),
        (TooManyRedirects("x"), "TOO_MANY_REDIRECTS", "redirect", False),
        (BadRedirect("x"), "BAD_REDIRECT", "redirect", False),
        (httpcore.LocalProtocolError("x"), "BAD_CONFIG", "http", False),
    ],
)
def test_an_error_of_the_network_has_a_code_and_kinds(error, code, kind, retryable):
    """What may pass is tried again, what takes a person is not."""
    found = failed(REQUEST, error).error

    assert found.code == code
    assert kind in found.kinds
    assert found.retryable is retryable
    assert "abc" not in found.message


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({}, None),
        ({"retry-after": "120"}, timedelta(minutes=2)),
        ({"retry-after": " 0 "}, timedelta(0)),
        ({"retry-after": "Thu, 01 Jan 2026 00:01:00 GMT"}, timedelta(minutes=1)),
        ({"retry-after": "Wed, 31 Dec 2025 00:00:00 GMT"}, timedelta(0)),
        ({"retry-after": "99999999999999999999"}, timedelta(days=365)),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "1.5"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "²"}, None),
        (
            {"retry-after": "Thu, 01 Jan 2026 00:10:00 GMT", "date": "Thu, 01 Jan 2026 00:09:30 GMT"},
            timedelta(seconds=30),
        ),
    ],
)
def test_retry_after_is_seconds_or_a_date(headers, wait):
    """A date is by the server's own clock; nonsense counts as nothing."""
    assert retry_after(headers, NOW) == wait
    assert answered(503, **headers).retry_after == wait
