"""The http step: one request under one deadline; its response is the output, or its failure is classified."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from flowforge.model.json import InvalidJson
from flowforge.model.outcome import Completed, Failed, Outcome, StepError
from flowforge.steps import http_body, http_config, http_errors, http_request, secrets
from flowforge.steps.addresses import AddressPolicy
from flowforge.steps.failures import rendered, timed_out
from flowforge.steps.http_client import HttpClient, Reply
from flowforge.steps.http_network import GuardedBackend, Resolver
from flowforge.steps.limits import invalid_output, storable

if TYPE_CHECKING:
    from flowforge.steps.base import Assignment, Report
    from flowforge.steps.http_request import Request
    from flowforge.steps.settings import StepSettings


class Http:
    """Sends what the configuration says and gives `{status_code, headers, body}`."""

    def __init__(self, settings: StepSettings, resolve: Resolver | None = None) -> None:
        self._settings = settings
        self._backend = GuardedBackend(AddressPolicy.of(settings), resolve)
        self._client: HttpClient | None = None

    async def run(self, assignment: Assignment, report: Report) -> Outcome:  # noqa: ARG002 - nothing to report
        """Return the response, or why there is none that the step expects."""
        config = rendered(assignment)
        used = secrets.of(assignment.context).used
        request = http_request.build(config, self._defaults(assignment), tuple(used.values()))
        options = http_config.options(config)
        if options.timeout is None:
            return await self._send(request, options)
        try:
            async with asyncio.timeout(options.timeout.total_seconds()):
                return await self._send(request, options)
        except TimeoutError:
            return timed_out(options.timeout)

    async def close(self) -> None:
        """Close all connections."""
        if self._client is not None:
            await self._client.close()
        self._backend.close()

    async def _send(self, request: Request, options: http_config.Options) -> Outcome:
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
        if reply.body.truncated:
            return _too_large(max_bytes)
        return self._completed(reply)

    def _completed(self, reply: Reply) -> Outcome:
        try:
            body = http_body.parse(reply.body.data, reply.headers.get("content-type", ""))
        except InvalidJson as error:
            return invalid_output(error, "the body of the response")
        output = {"status_code": reply.status, "headers": reply.headers, "body": body}
        return storable(Completed(output), self._settings.max_step_bytes)[0]

    def _defaults(self, assignment: Assignment) -> dict[str, str]:
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
