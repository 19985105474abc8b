"""The http step: one request under one deadline; its response is the output, or its failure is classified."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from flowforge.model.json import InvalidJson
from flowforge.model.outcome import Completed, Failed, Outcome
from flowforge.steps import http_body, http_config, http_request, secrets
from flowforge.steps.failures import rendered, timed_out
from flowforge.steps.http_sender import Sender
from flowforge.steps.limits import invalid_output, storable

if TYPE_CHECKING:
    from flowforge.steps.base import Assignment, Report
    from flowforge.steps.http_client import Reply
    from flowforge.steps.http_network import Resolver
    from flowforge.steps.http_request import Request
    from flowforge.steps.settings import StepSettings


class Http:
    """Sends what the configuration says and gives `{status_code, headers, body}`."""

    def __init__(self, settings: StepSettings, resolve: Resolver | None = None) -> None:
        self._settings = settings
        self._sender = Sender(settings, resolve)

    async def run(self, assignment: Assignment, report: Report) -> Outcome:  # noqa: ARG002 - nothing to report
        """Return the response, or why there is none that the step expects."""
        config = rendered(assignment)
        used = secrets.of(assignment.context).used
        request = http_request.build(config, self._sender.headers(assignment), tuple(used.values()))
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
        await self._sender.close()

    async def _send(self, request: Request, options: http_config.Options) -> Outcome:
        reply = await self._sender.send(request, options)
        return reply if isinstance(reply, Failed) else self._completed(reply)

    def _completed(self, reply: Reply) -> Outcome:
        try:
            body = http_body.parse(reply.body.data, reply.headers.get("content-type", ""))
        except InvalidJson as error:
            return invalid_output(error, "the body of the response")
        output = {"status_code": reply.status, "headers": reply.headers, "body": body}
        return storable(Completed(output), self._settings.max_step_bytes)[0]
