"""`flowforge incident`: what a person has to look at."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from flowforge_cli import completing, render, session
from flowforge_cli.listing import Listing
from flowforge_cli.options import JsonOption, sub_app
from flowforge_cli.run_text import error_text
from flowforge_cli.text import Row, Span, age, compact, moment, one_line, short_id

if TYPE_CHECKING:
    from flowforge.client import AsyncClient
    from flowforge.model.documents import Incident

app = sub_app("What a person has to look at: list, show, resolve.")

NumberArgument = Annotated[
    int, typer.Argument(metavar="INCIDENT", min=1, autocompletion=completing.incidents, help="Number of the incident.")
]


@app.command("ls")
def list_(
    everything: Annotated[bool, typer.Option("--all", "-a", help="Resolved ones too.")] = False,
    workflow: Annotated[
        str | None,
        typer.Option("--workflow", "-w", metavar="NAME", autocompletion=completing.workflows, help="Of this workflow."),
    ] = None,
    kind: Annotated[
        str | None,
        typer.Option(
            metavar="KIND",
            autocompletion=completing.incident_kinds,
            help="irrecoverable_error, compensation_failed, poison_step or broken_invariant.",
        ),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="How many at most.")] = 50,
    json: JsonOption = False,
) -> None:
    """List open incidents, the latest first. The same thing over and over is one incident that counts.

    \b
    Examples:
      flowforge incident ls
      flowforge incident ls --all --workflow payouts --json | jq '.incidents[].count'
    """  # noqa: D301
    from flowforge.errors import UsageError
    from flowforge.model.aside import IncidentKind

    if kind is not None and kind not in set(IncidentKind):
        raise UsageError(f"there is no kind '{kind}'", hint=", ".join(IncidentKind))
    listed: Listing[Incident] = Listing(
        titles=("INCIDENT", "KIND", "WORKFLOW", "STEP", "COUNT", "LAST", "RUN", "ERROR"),
        row=lambda one: _row(one, datetime.now(UTC)),
        head={"schema": "flowforge/incidents/v1"},
        field="incidents",
        document=lambda one: one.document(),
    )

    async def work(client: AsyncClient) -> int:
        parts = client.incident_parts(resolved=everything, workflow=workflow, kind=kind, limit=limit)
        return await listed.show(parts, json=json)

    count = session.run(work)
    if not json:
        _remark(count, limit, everything=everything)


def _remark(count: int, limit: int, *, everything: bool) -> None:
    """Say what may be missing, and how to go on."""
    if count:
        if count == limit:
            render.hint(f"{limit:,} shown; there may be more: --limit")
        render.hint("\nnext: flowforge incident show INCIDENT · flowforge incident resolve INCIDENT")
        return
    where = "flowforge ps --status failed lists failed runs"
    if everything:
        render.say("no incidents", f"  help: {where}")
    else:
        render.say("no open incidents", f"  help: --all lists resolved ones too; {where}")


def _row(one: Incident, now: datetime) -> Row:
    return [
        Span(str(one.id), "strong" if one.resolved_at is None else "dim"),
        one.kind,
        one.workflow,
        one.step or "-",
        str(one.count),
        age(one.last_seen, now),
        short_id(one.run_id),
        one_line(error_text(one.error), 100),
    ]


@app.command()
def show(number: NumberArgument, json: JsonOption = False) -> None:
    """Show an incident: what happened, where, how often, and what to do.

    \b
    Examples:
      flowforge incident show 7
    """  # noqa: D301
    found = session.run(lambda client: client.incident(number))
    if json:
        render.document(found.document())
        return
    where = f"{found.workflow}, step {found.step}" if found.step else found.workflow
    facts = [
        ("incident", f"{found.id}, {'open' if found.resolved_at is None else 'resolved'}"),
        ("kind", found.kind),
        ("where", where),
        ("seen", _seen(found)),
        ("run", str(found.run_id)),
        ("error", error_text(found.error)),
    ]
    if found.error.get("hint"):
        facts.append(("hint", str(found.error["hint"])))
    details = dict(found.error.get("details") or {})
    if undone := details.pop("not_undone", None):
        facts.append(("not undone", ", ".join(map(str, undone))))
    if isinstance(cause := details.pop("cause", None), dict):
        facts.append(("because", error_text(cause)))
    if details:
        facts.append(("details", compact(details, 600)))
    if found.resolved_at is not None:
        facts.append(("resolved", f"{moment(found.resolved_at)} by {found.resolved_by}: {found.resolution or '-'}"))
    render.out(*([Span(f"  {name:<11}", "dim"), Span(one_line(value, 800))] for name, value in facts))
    short = short_id(found.run_id)
    render.hint(f"\nnext: flowforge show {short} · flowforge retry {short} · flowforge incident resolve {found.id}")


def _seen(found: Incident) -> str:
    if found.count == 1:
        return f"once, {moment(found.first_seen)}"
    return f"{found.count} times, first {moment(found.first_seen)}, last {moment(found.last_seen)}"


@app.command()
def resolve(
    number: NumberArgument,
    note: Annotated[str | None, typer.Option(metavar="TEXT", help="What was done about it.")] = None,
    json: JsonOption = False,
) -> None:
    """Close an incident; the next time the same happens opens another.

    \b
    Examples:
      flowforge incident resolve 7 --note "the provider has raised our limit"
    """  # noqa: D301
    found = session.run(lambda client: client.resolve_incident(number, resolution=note))
    if json:
        render.document(found.document())
        return
    render.say(f"incident {found.id} is resolved")
