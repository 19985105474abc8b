"""`flowforge worker`: start workers, list them, and ask them to leave."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flowforge_cli import completing, definitions, inputs, render, session
from flowforge_cli.listing import Listing
from flowforge_cli.options import JsonOption, sub_app
from flowforge_cli.text import Row, Span, age, duration, state

if TYPE_CHECKING:
    from flowforge.client import AsyncClient
    from flowforge.store.workers import WorkerRow

app = sub_app("Start, list and drain workers.")


@app.command()
def start(
    processes: Annotated[int, typer.Option("--processes", "-p", min=1, max=256, help="Worker processes.")] = 1,
    concurrency: Annotated[
        int | None, typer.Option("--concurrency", "-c", metavar="N", help="Steps that one process runs at a time.")
    ] = None,
    queue: Annotated[
        list[str] | None,
        typer.Option("--queue", "-q", metavar="NAME", autocompletion=completing.queues, help="A queue to serve."),
    ] = None,
    grace: Annotated[
        str | None, typer.Option(metavar="TIME", help="Time that running steps get when the worker is asked to stop.")
    ] = None,
) -> int:
    """Start a worker in the foreground. SIGTERM or Ctrl-C stops it gently, a second one at once.

    Asked to stop, it takes nothing new, lets running steps finish for the grace time, and hands the rest back.

    \b
    Examples:
      flowforge worker start
      flowforge worker start --processes 4 --concurrency 100
      flowforge worker start --queue default --queue reports --grace 30s
    """  # noqa: D301
    from flowforge.engine import crash
    from flowforge_cli import supervising, working

    crash.check()
    overrides: dict[str, Any] = {
        "concurrency": concurrency,
        "queues": tuple(queue) if queue else None,
        "grace": inputs.duration(grace),
    }
    chosen = session.settings(**overrides)
    render.log_to_stderr(chosen.log_level)
    if processes > 1:
        session.announce_start(chosen)
        return supervising.supervise(processes, supervising.worker_command(concurrency, queue or (), grace))
    return session.run(working.work, **overrides)


@app.command("ls")
def list_(
    everyone: Annotated[bool, typer.Option("--all", "-a", help="Also those that have stopped.")] = False,
    json: JsonOption = False,
) -> None:
    """List workers.

    \b
    Examples:
      flowforge worker ls
      flowforge worker ls --json | jq '.workers[].id'
    """  # noqa: D301

    async def work(client: AsyncClient) -> None:
        listed = Listing(
            titles=("STATE", "WORKER", "HOST", "PID", "QUEUES", "SLOTS", "LEASE", "UP", "SEEN"),
            row=lambda row: _row(row, datetime.now(UTC)),
            head={"schema": "flowforge/workers/v1"},
            field="workers",
            document=_document,
        )
        parts = ([row for row in part if everyone or _present(row)] async for part in client.worker_parts())
        if not await listed.show(parts, json=json) and not json:
            render.say("no worker is there", "  help: flowforge worker start")

    session.run(work)


def _present(row: WorkerRow) -> bool:
    """Whether a worker is of interest: alive, or lost only lately."""
    if row.status == "lost":
        return datetime.now(UTC) - row.seen_at < timedelta(hours=1)
    return row.status != "stopped"


def _document(row: WorkerRow) -> dict[str, Any]:
    kept = ("id", "host", "pid", "version", "status", "concurrency", "started_at", "seen_at")
    document = definitions.plain({name: getattr(row, name) for name in kept})
    lease = row.lease.total_seconds()
    return {**document, "queues": list(row.queues), "step_types": list(row.step_types), "lease_seconds": lease}


def _row(row: WorkerRow, now: datetime) -> Row:
    return [
        state(row.status, unicode=render.unicode()),
        Span(row.id, "strong"),
        row.host,
        str(row.pid),
        ",".join(row.queues),
        str(row.concurrency),
        duration(row.lease),
        age(row.started_at, now),
        f"{duration(now - row.seen_at)} ago",
    ]


@app.command()
def drain(
    ids: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="ID...", autocompletion=completing.workers, help="Workers, by id or its last characters."
        ),
    ] = None,
    everyone: Annotated[bool, typer.Option("--all", help="Every worker.")] = False,
    json: JsonOption = False,
) -> None:
    """Ask workers to stop after what they are doing, wherever they run.

    \b
    Examples:
      flowforge worker drain w-web1-811-9f3c2a
      flowforge worker drain --all
    """  # noqa: D301
    from flowforge.errors import UsageError

    if bool(ids) == everyone:
        raise UsageError("name the workers to drain, or say --all", hint="flowforge worker ls")

    async def work(client: AsyncClient) -> None:
        present = [row.id for row in await client.workers() if row.status in ("active", "draining")]
        asked = await client.drain(present if everyone else [_worker(name, present) for name in ids or ()])
        if json:
            render.document({"schema": "flowforge/drained/v1", "workers": asked})
        for name in asked:
            render.say(f"{name} takes nothing new, and stops when its steps have ended")
        if not asked:
            render.say("no worker is there")

    session.run(work)


def _worker(reference: str, present: list[str]) -> str:
    """Return the id of the worker that a reference means."""
    from flowforge.errors import NotFound, UsageError

    found = [name for name in present if name == reference] or [name for name in present if name.endswith(reference)]
    if not found:
        raise NotFound(f"there is no worker '{reference}'", hint="flowforge worker ls")
    if len(found) > 1:
        raise UsageError(f"'{reference}' means several workers: {', '.join(found[:5])}")
    return found[0]
