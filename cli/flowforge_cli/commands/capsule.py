"""`flowforge export`, `import`: runs in files, and runs of other installations."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from flowforge_cli import render, session
from flowforge_cli.listing import Listing
from flowforge_cli.options import JsonOption, RunOrFileArgument, sub_app
from flowforge_cli.text import Row, Span, age, short_id, state

if TYPE_CHECKING:
    from flowforge.client import AsyncClient
    from flowforge.model.capsule import Capsule
    from flowforge.store.imported import Imported

app = sub_app()


@app.command()
def export(
    run: RunOrFileArgument,
    output: Annotated[
        str | None, typer.Option("--output", "-o", metavar="FILE", help="Default: the end of its id, and .ffz.")
    ] = None,
    children: Annotated[bool, typer.Option("--children", help="The runs that its steps have started too.")] = False,
    redact: Annotated[
        list[str] | None, typer.Option("--redact", metavar="NAME", help="Take out fields with this in their name too.")
    ] = None,
    no_redact: Annotated[bool, typer.Option("--no-redact", help="Take nothing out.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Write over a file that is there.")] = False,
    json: JsonOption = False,
) -> None:
    """Write everything known of a run to one file: history, definition, inputs and outputs, logs, receipts.

    Secrets never reach the history. Fields whose names say that they hold credentials (password, token, api_key,
    authorization ...) are taken out as well. The file opens anywhere: `show`, `explain`, `events`, `logs`,
    `diff`, `replay --dry-run` and notebooks take it in place of a run.

    \b
    Examples:
      flowforge export @last-failed -o incident.ffz
      flowforge export 1a2b3c4d --children --redact diagnosis
      zcat incident.ffz | jq '.events[].type'
    """  # noqa: D301
    from flowforge.errors import UsageError

    if no_redact and redact:
        raise UsageError("--redact and --no-redact contradict each other")
    names = None if no_redact else tuple(redact or ())
    session.run(lambda client: _export(client, run, output, names, children=children, force=force, json=json))


async def _export(
    client: AsyncClient,
    reference: str,
    output: str | None,
    redact: tuple[str, ...] | None,
    *,
    children: bool,
    force: bool,
    json: bool,
) -> None:
    from flowforge.client.capsules import SUFFIX
    from flowforge.model.capsule import family

    if output is None:
        output = f"{short_id((await client.capsule(reference)).run.id)}{SUFFIX}"
    made, size = await client.export(reference, output, children=children, redact=redact, force=force)
    members = family(made)
    taken_out = sum(len(one.redacted) for one in members)
    if json:
        document = {"schema": "flowforge/export/v1", "file": output, "bytes": size, "runs": _ids(members)}
        render.document({**document, "redacted": [path for one in members for path in one.redacted]})
        return
    render.out(output)
    more = f" with {len(members) - 1} child runs" if len(members) > 1 else ""
    what = f"{len(made.events)} events, {size:,} bytes, {taken_out} values redacted"
    render.say(f"run {short_id(made.run.id)}{more}: {what}")
    if not made.run.status.final:
        render.warning(f"the run is {made.run.status.value}: the file has it as it is now")
    render.hint(f"  flowforge show {output if '/' in output or output.endswith(SUFFIX) else './' + output}")


@app.command(name="import")
def import_(
    file: Annotated[str | None, typer.Argument(metavar="FILE", help="A capsule or a bundle (.ffz).")] = None,
    listed: Annotated[bool, typer.Option("--list", help="List what was imported.")] = False,
    forget: Annotated[str | None, typer.Option("--forget", metavar="RUN", help="Delete an imported run.")] = None,
    json: JsonOption = False,
) -> None:
    """Keep the runs of a capsule, or of a bundle, in this installation, to be looked at.

    An imported run is read-only: `show`, `explain`, `events`, `logs`, `diff`, `notebook` and `replay --dry-run` take
    its id; it is never started, retried, signed, counted or listed as a run of this installation.

    \b
    Examples:
      flowforge import incident.ffz
      flowforge import --list
      flowforge import --forget 1a2b3c4d
    """  # noqa: D301
    from flowforge.errors import UsageError

    if sum((file is not None, listed, forget is not None)) != 1:
        raise UsageError("give a FILE, --list or --forget RUN", hint="flowforge import --help")
    if file is not None:
        session.run(lambda client: _import(client, file, json=json))
    elif forget is not None:
        session.run(lambda client: _forget(client, forget, json=json))
    else:
        session.run(lambda client: _list(client, json=json))


async def _import(client: AsyncClient, file: str, *, json: bool) -> None:
    found = await client.import_capsule(file)
    if json:
        render.document({"schema": "flowforge/import/v1", "file": file, "runs": _ids(found)})
        return
    render.out(*_ids(found))
    first = found[0].run
    short, more = short_id(first.id), f" and {len(found) - 1} more" if len(found) > 1 else ""
    render.say(f"run {short} of {first.workflow}@{first.version}{more} can be looked at here")
    render.hint(f"  flowforge explain {short} · flowforge show {short} · flowforge replay {short} --dry-run")


async def _forget(client: AsyncClient, reference: str, *, json: bool) -> None:
    from flowforge.errors import NotFound

    found = None
    with suppress(NotFound):  # what is not there is said by what is to forget it
        found = await client.foreign(reference)
    run_id = await client.forget(reference)
    if json:
        render.document({"schema": "flowforge/forgotten/v1", "run": str(run_id)})
    else:
        render.say(f"the imported run {run_id} is deleted")
        for one in () if found is None else found.children:
            render.hint(f"  the run that it had started stays: flowforge import --forget {one.run.id}")


async def _list(client: AsyncClient, *, json: bool) -> None:
    listed: Listing[Imported] = Listing(
        titles=("STATE", "RUN", "WORKFLOW", "AGE", "IMPORTED", "BY"),
        row=lambda one: _row(one, datetime.now(UTC)),
        head={"schema": "flowforge/imported/v1"},
        field="runs",
        document=lambda one: one.document(),
    )
    if not await listed.show(client.imported_parts(), json=json) and not json:
        render.say("nothing was imported", "  help: flowforge import FILE")


def _row(one: Imported, now: datetime) -> Row:
    return [
        state(one.status, unicode=render.unicode()),
        Span(str(one.id), "strong"),
        f"{one.workflow}@{one.version}",
        age(one.created_at, now),
        age(one.imported_at, now),
        one.imported_by,
    ]


def _ids(found: list[Capsule]) -> list[str]:
    return [str(one.run.id) for one in found]
