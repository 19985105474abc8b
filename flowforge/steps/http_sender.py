"""Sending requests for any step type: guarded addresses, one connection pool, capped bodies, one way to fail."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from flowforge.model.outcome import Failed, StepError
from flowforge.steps import http_errors
from flowforge.steps.addresses import AddressPolicy
from flowforge.steps.http_client import HttpClient, Reply
from flowforge.steps.http_network import GuardedBackend, Resolver

if TYPE_CHECKING:
    from flowforge.steps.base import Assignment
    from flowforge.steps.http_config import Options
    from flowforge.steps.http_request import Request
    from flowforge.steps.settings import StepSettings


class Sender:
    """Sends the requests of one executor."""

    def __init__(self, settings: StepSettings, resolve: Resolver | None = None) -> None:
        self._settings = settings
        self._backend = GuardedBackend(AddressPolicy.of(settings), resolve)
        self._client: HttpClient | None = None

    async def send(self, request: Request, options: Options) -> Reply | Failed:
        """Return a whole response of an expected status, or why there is none."""
        if self._client is None:
            self._client = HttpClient(self._backend, self._settings.connect_timeout)
        largest = self._settings.max_response_bytes
        max_bytes = largest if options.max_bytes is None else min(options.max_bytes, largest)
        redirects = self._settings.max_redirects if options.max_redirects is None else options.max_redirects
        try:
            reply = await self._client.send(
                request, expects=options.expects, max_bytes=max_bytes, max_redirects=redirects
            )
        except http_errors.ERRORS as error:
            return http_errors.failed(request, error)
        if not options.expects(reply.status):
            return http_errors.unexpected_status(request, reply, datetime.now(UTC))
        return _too_large(max_bytes) if reply.body.truncated else reply

    def headers(self, assignment: Assignment) -> dict[str, str]:
        """Return the headers that every request of an attempt has, unless its step says otherwise."""
        headers = {
            "accept": "*/*",
            "accept-encoding": "gzip, deflate",
            "user-agent": self._settings.user_agent,
            "idempotency-key": assignment.idempotency_key,
            # Whoever remembers the highest token can refuse a call of an attempt that was taken over.
            "flowforge-attempt": str(assignment.attempt),
            "flowforge-token": str(assignment.token),
        }
        if assignment.traceparent is not None:
            headers["traceparent"] = assignment.traceparent
        return headers

    async def close(self) -> None:
        """Close all connections."""
        if self._client is not None:
            await self._client.close()
        self._backend.close()


def _too_large(max_bytes: int) -> Failed:
    return Failed(
        StepError(
            code="TOO_LARGE",
            message=f"the body of the response is larger than {max_bytes:,} bytes",
            kinds=("output",),
            retryable=False,
            hint="ask for less, or raise the step's max_bytes up to what the installation allows",
        )
    )
