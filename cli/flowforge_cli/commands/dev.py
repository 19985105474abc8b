"""`flowforge dev`: everything one needs beside an editor, in one terminal."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from flowforge_cli import render, run_text, session
from flowforge_cli.exit_codes import ExitCode
from flowforge_cli.options import JsonOption, sub_app
from flowforge_cli.text import Span, clock, short_id

if TYPE_CHECKING:
    from flowforge.client import AsyncClient
    from flowforge.engine.worker import Worker
    from flowforge.model.documents import RunEvent

app = sub_app()


@app.command()
def dev(json: JsonOption = False) -> int:
    """Start the servers and a worker, and print what happens, one line per event. Ctrl-C stops the worker.

    \b
    Examples:
      flowforge dev
      flowforge dev --json | jq -r .type
    """  # noqa: D301
    chosen = session.settings()
    level = "warning" if chosen.log_level == "info" else chosen.log_level
    render.log_to_stderr(level, tracebacks=session.options.debug)
    return session.run(lambda client: _dev(client, json=json))


async def _dev(client: AsyncClient, *, json: bool) -> int:
    from flowforge.engine.worker import Worker
    from flowforge_cli.working import stop_on_signals

    worker = Worker(client.engine)
    stop_on_signals(worker)
    feed = asyncio.create_task(_feed(client, json=json))
    working = asyncio.create_task(_work(worker))
    try:
        await asyncio.wait({feed, working}, return_when=asyncio.FIRST_COMPLETED)
        worker.stop()
        await working
    finally:
        feed.cancel()
        with suppress(asyncio.CancelledError):
            await feed
    embedded = client.settings.embedded
    render.say("the worker has stopped" + ("; the servers stay up (flowforge down stops them)" if embedded else ""))
    return ExitCode.OK


async def _work(worker: Worker) -> None:
    ready = asyncio.create_task(_announce(worker))
    try:
        await worker.run()
    finally:
        ready.cancel()


async def _announce(worker: Worker) -> None:
    await worker.ready.wait()
    render.say(f"worker {worker.id} is working; Ctrl-C stops it", "  in another terminal: flowforge run FILE", "")


async def _feed(client: AsyncClient, *, json: bool) -> None:
    """Print events as they are published; a stream that goes away for a while does not end it."""
    from flowforge.errors import BackendError
    from flowforge_streams.errors import StreamError

    # While no worker was there nobody published: what happened before is history, not news.
    began = datetime.now(UTC) - timedelta(seconds=1)
    while True:
        try:
            async for event in client.feed():
                if event.at >= began:
                    _print(event, json=json)
        except (BackendError, StreamError) as error:
            render.warning(f"the event feed is interrupted: {error}")
            await asyncio.sleep(1)


def _print(event: RunEvent, *, json: bool) -> None:
    if json:
        render.json_line(event.document())
        return
    look: dict[str, Any] = {"failed": "bad", "completed": "ok", "retrying": "warn"}
    step = "" if event.step is None else event.step + (f" #{event.attempt}" if event.attempt else "")
    render.out(
        [
            Span(clock(event.at), "dim"),
            Span(f" {short_id(event.run)} ", "strong"),
            Span(f" {event.type:<19}", look.get(event.type.partition(".")[2], "")),
            Span(f" {step:<20} {run_text.event_note(event)}"),
        ]
    )
