"""`flowforge queue`: what lies in the queues, holding them, and the messages that nobody could use."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flowforge_cli import completing, explanation_text, render, session
from flowforge_cli.listing import Listing
from flowforge_cli.options import JsonOption, ReasonOption, sub_app
from flowforge_cli.text import Row, Span, age, compact, duration, moment, one_line

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from flowforge.client import AsyncClient
    from flowforge.model.pausing import QueueFacts
    from flowforge_streams.letters import DeadLetter

app = sub_app("See what lies in the queues, and hold them.")

NameArgument = Annotated[str, typer.Argument(metavar="NAME", autocompletion=completing.queues, help="A queue.")]


@app.command("ls")
def list_(json: JsonOption = False) -> None:
    """List queues: what waits in them, who serves them, which are paused.

    BACKLOG is what nobody has taken from the stream, PENDING what was taken and is not finished, OUTBOX what is not in
    the stream yet, OLDEST how long the step has waited that was queued first.

    \b
    Examples:
      flowforge queue ls
      flowforge queue ls --json | jq '.queues[] | select(.workers == 0)'
    """  # noqa: D301
    listed: Listing[QueueFacts] = Listing(
        titles=("QUEUE", "BACKLOG", "PENDING", "OUTBOX", "OLDEST", "WORKERS", "SLOTS", "DEAD", "STATE"),
        row=_row,
        head={"schema": "flowforge/queues/v1"},
        field="queues",
        document=lambda one: one.document(),
    )
    session.run(lambda client: _list(client, listed, json=json))


async def _list(client: AsyncClient, listed: Listing[QueueFacts], *, json: bool) -> None:
    down: str | None = None

    async def parts() -> AsyncIterator[tuple[QueueFacts, ...]]:
        nonlocal down
        async for part in client.queue_parts():
            down = part.streams_down
            yield part.queues

    await listed.show(parts(), json=json, tail=lambda: {"streams_down": down})
    if down is not None and not json:
        render.warning(f"Redis is down, so the streams are not counted: {down}")


def _row(one: QueueFacts) -> Row:
    paused = one.pause
    held = Span("open", "dim")
    if paused is not None:
        reason = f": {paused.reason}" if paused.reason else ""
        held = Span(one_line(f"PAUSED {moment(paused.paused_at)} by {paused.paused_by}{reason}", 120), "warn")
    elif not one.workers and one.queued:
        held = Span("NO WORKER", "bad")
    return [
        Span(one.name, "strong"),
        _count(one.backlog),
        _count(one.pending),
        str(one.outbox),
        duration(one.oldest),
        str(one.workers),
        f"{one.taken}/{one.slots}",
        _count(one.dead_letters),
        held,
    ]


def _count(value: int | None) -> str:
    return "?" if value is None else str(value)


@app.command()
def pause(name: NameArgument, reason: ReasonOption = None, json: JsonOption = False) -> None:
    """Let no worker take from a queue until it is resumed, whatever workflow its steps are of.

    Workers hear of it with their next heartbeat, a quarter of a lease away at most. What they run then goes on, and
    what follows from it waits in the queue. Pausing a paused queue changes nothing.

    \b
    Examples:
      flowforge queue pause payments --reason "the provider is down"
      flowforge explain
    """  # noqa: D301

    async def work(client: AsyncClient) -> None:
        held = await client.pause_queue(name, reason=reason)
        if json:
            render.document(held.document())
        by = "" if held.pause is None else f" by {held.pause.paused_by} since {moment(held.pause.paused_at)}"
        render.say(explanation_text.pause(held, done="is paused", was=f"was paused already{by}"))
        if held.changed:
            render.hint("workers hear of it with their next heartbeat, a quarter of a lease away at most")
        render.hint(f"next: flowforge queue ls · flowforge queue resume {name}")

    session.run(work)


@app.command()
def resume(name: NameArgument, reason: ReasonOption = None, json: JsonOption = False) -> None:
    """Let workers take from a queue again. Resuming a queue that is not paused changes nothing.

    \b
    Examples:
      flowforge queue resume payments --reason "the provider is back"
    """  # noqa: D301

    async def work(client: AsyncClient) -> None:
        held = await client.resume_queue(name, reason=reason)
        if json:
            render.document(held.document())
        render.say(explanation_text.pause(held, done="goes on", was="is not paused"))

    session.run(work)


@app.command()
def dead(
    name: NameArgument = "default",
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="How many at most.")] = 50,
    json: JsonOption = False,
) -> None:
    """List the dead letters of a queue: messages that nobody could use, the newest first, with why.

    They are evidence, not work: the steps they were about are dispatched again from Postgres.

    \b
    Examples:
      flowforge queue dead
      flowforge queue dead payments --json | jq -r '.letters[].reason'
    """  # noqa: D301
    found = session.run(lambda client: client.dead_letters(name, limit=limit))
    if json:
        head = {"schema": "flowforge/dead-letters/v1", "queue": name}
        render.listing(head, "letters", (_document(letter) for letter in found))
        return
    if not found:
        render.say(f"queue {name} has no dead letters", "  help: flowforge queue ls counts those of every queue")
        return
    now = datetime.now(UTC)
    render.table(("ENTRY", "BURIED", "REASON", "MESSAGE"), (_letter_row(letter, now) for letter in found))
    if len(found) == limit:
        render.hint(f"{limit:,} shown; there may be more: --limit")


def _letter_row(letter: DeadLetter, now: datetime) -> Row:
    return [letter.entry_id, age(letter.buried_at, now), one_line(letter.reason, 120), compact(_fields(letter), 200)]


def _document(letter: DeadLetter) -> dict[str, Any]:
    return {
        "id": letter.dead_id,
        "entry": letter.entry_id,
        "reason": letter.reason,
        "fields": _fields(letter),
        "truncated": letter.truncated,
        "buried_at": letter.buried_at.isoformat().replace("+00:00", "Z"),
    }


def _fields(letter: DeadLetter) -> dict[str, str]:
    return {name: value.decode(errors="backslashreplace") for name, value in letter.fields.items()}
