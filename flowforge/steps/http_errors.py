"""What went wrong with an HTTP request, in the words of retry rules (design.md section 4).

| what | code | kinds | tried again |
|---|---|---|---|
| no answer: DNS, refused, broken connection, bad protocol | NETWORK | network, class name | yes |
| TLS handshake broken off | NETWORK | network, tls, class name | yes |
| certificate not trusted, wrong host name | TLS | tls, class name | no: it takes a person to change that |
| connecting took too long, deadline passed | TIMEOUT | timeout | yes |
| 408, 425, 429, 5xx | HTTP_<status> | http_4xx or http_5xx | yes, after Retry-After |
| any other status that is not expected | HTTP_<status> | http_<n>xx | no |
| address not allowed | ADDRESS_REFUSED | address | no |
| too many redirects, redirect to nonsense | TOO_MANY_REDIRECTS, BAD_REDIRECT | redirect | no |
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

import httpcore

from flowforge.model.outcome import Failed, StepError
from flowforge.steps.addresses import AddressRefused
from flowforge.steps.http_body import excerpt
from flowforge.steps.http_client import Reply, TooManyRedirects
from flowforge.steps.http_network import NameNotFound
from flowforge.steps.http_request import BadRedirect, Request, shown

#: Client errors that pass by themselves: timeout, too early, too many requests.
_PASSING = frozenset({408, 425, 429})
_SERVER_ERROR = 500
#: Longest Retry-After that is taken over as it is; the retry policy has its own, lower limit.
_LONGEST = timedelta(days=365)

_WORDS: dict[type[Exception], str] = {
    httpcore.ConnectError: "cannot connect",
    httpcore.ReadError: "the connection broke before the answer was complete",
    httpcore.WriteError: "the connection broke while the request was sent",
    httpcore.RemoteProtocolError: "the server broke the protocol",
    httpcore.LocalProtocolError: "the request breaks the protocol",
}

#: What HttpClient.send raises.
ERRORS = (
    AddressRefused,
    BadRedirect,
    TooManyRedirects,
    httpcore.TimeoutException,
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.UnsupportedProtocol,
    OSError,
)


def unexpected_status(request: Request, reply: Reply, now: datetime) -> Failed:
    """Return the failure for a status that the step does not expect."""
    status = reply.status
    content_type = reply.headers.get("content-type", "")
    error = StepError(
        code=f"HTTP_{status}",
        message=f"{request.method} {shown(reply.url)} answered {status}",
        kinds=(f"http_{status // 100}xx", "http"),
        retryable=status in _PASSING or status >= _SERVER_ERROR,
        details={"status_code": status, "url": shown(reply.url), "body": excerpt(reply.body.data, content_type)},
    )
    return Failed(error, retry_after=retry_after(reply.headers, now))


def failed(request: Request, error: Exception) -> Failed:
    """Return the failure for an error of the client."""
    where = f"{request.method} {shown(request.url)}"
    return _refused(where, error) or _broken(where, error)


def _refused(where: str, error: Exception) -> Failed | None:
    """Return the failure for what would go wrong again."""
    if isinstance(error, AddressRefused):
        return _final("ADDRESS_REFUSED", f"{where}: {error.message}", "address", hint=error.hint)
    if isinstance(error, TooManyRedirects):
        return _final("TOO_MANY_REDIRECTS", f"{where}: {error.message}", "redirect")
    if isinstance(error, BadRedirect):
        return _final("BAD_REDIRECT", error.message, "redirect")
    if isinstance(error, httpcore.LocalProtocolError):
        return _final("BAD_CONFIG", f"{where}: {_words(error)}", "http")
    return None


def _broken(where: str, error: Exception) -> Failed:
    """Return the failure of a network that did not carry the request or its answer."""
    name = type(error).__name__
    if isinstance(error, httpcore.TimeoutException):
        return Failed(StepError("TIMEOUT", f"{where}: connecting took too long", kinds=("timeout", "network", name)))
    broken = next((cause for cause in _causes(error) if isinstance(cause, ssl.SSLError)), None)
    if isinstance(broken, ssl.SSLCertVerificationError):
        hint = "trust its authority with SSL_CERT_FILE, or correct the url"
        message = f"{where}: the certificate is not accepted: {broken.verify_message}"
        return _final("TLS", message, "tls", type(broken).__name__, hint=hint)
    kinds = ["network", name]
    if broken is not None:
        kinds[1:] = ["tls", type(broken).__name__]
    elif isinstance(error, NameNotFound):
        kinds.append("dns")
    return Failed(StepError("NETWORK", f"{where}: {_words(broken or error)}", kinds=tuple(kinds)))


def retry_after(headers: dict[str, str], now: datetime) -> timedelta | None:
    """Return the wait that the server asks for, in seconds or as a date; None when it does not or writes nonsense."""
    value = headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return min(timedelta(seconds=int(value[:9])), _LONGEST)
    try:
        until = parsedate_to_datetime(value)
    except ValueError:
        return None
    # A date is by the server's clock, which the Date header shows.
    wait = _aware(until) - (_date(headers) or now)
    return max(timedelta(0), min(wait, _LONGEST))


def _date(headers: dict[str, str]) -> datetime | None:
    try:
        return _aware(parsedate_to_datetime(headers.get("date", "")))
    except ValueError:
        return None


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _final(code: str, message: str, *kinds: str, hint: str | None = None) -> Failed:
    return Failed(StepError(code, message, kinds=kinds, retryable=False, hint=hint))


def _words(error: BaseException) -> str:
    words = next((text for kind, text in _WORDS.items() if isinstance(error, kind)), "")
    said = str(error).strip()
    if isinstance(error, NameNotFound):
        return said
    return ": ".join(part for part in (words, said) if part) or type(error).__name__


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    for _ in range(10):
        if error is None:
            return
        yield error
        error = error.__cause__ or error.__context__
