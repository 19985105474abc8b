"""`flowforge db`: the schema of the database, looked at and moved."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from flowforge_cli import render, session
from flowforge_cli.exit_codes import ExitCode
from flowforge_cli.options import JsonOption, YesOption, sub_app

if TYPE_CHECKING:
    from flowforge.store.schema import SchemaStatus

app = sub_app("Look after the schema of the database.")


@app.command()
def upgrade(
    sql: Annotated[bool, typer.Option("--sql", help="Print the SQL for an empty database, change nothing.")] = False,
    json: JsonOption = False,
) -> None:
    """Bring the database to the schema of this release; safe to repeat, and from many machines at once.

    \b
    Examples:
      flowforge db upgrade
      flowforge db upgrade --sql > schema.sql
    """  # noqa: D301
    from flowforge.store import schema

    if sql:
        render.raw(schema.upgrade_sql(), exact=True)
        return
    url = _url()
    before = _status(url)
    if not before.ready:
        schema.upgrade(url)
    _tell(before, _status(url), json=json)


@app.command()
def downgrade(
    revision: Annotated[
        str, typer.Argument(metavar="REVISION", help="Where to go back to; `base` removes everything.")
    ],
    yes: YesOption = False,
    json: JsonOption = False,
) -> int:
    """Take the database back to an older schema. What the older one does not know is deleted.

    \b
    Examples:
      flowforge db downgrade base --yes
    """  # noqa: D301
    from flowforge.store import schema

    url = _url()
    before = _status(url)
    if before.current is not None and not session.may(
        f"take {_shown(url)} back from {before.current} to {revision}, deleting data?", yes=yes
    ):
        render.say("nothing was changed")
        return ExitCode.OK
    if before.current is not None:
        schema.downgrade(url, revision)
    _tell(before, _status(url), json=json)
    return ExitCode.OK


@app.command()
def status(json: JsonOption = False) -> int:
    """Show which schema the database has; exit 4 when this release cannot work with it.

    \b
    Examples:
      flowforge db status
    """  # noqa: D301
    url = _url()
    found = _status(url)
    if json:
        document = {"schema": "flowforge/db/v1", "database": _shown(url)}
        render.document({**document, "current": found.current, "head": found.head, "ready": found.ready})
    else:
        render.out(f"{_shown(url)}: schema {found.current or 'none'}, this release needs {found.head}")
        if not found.ready:
            render.hint("  help: flowforge db upgrade")
    return ExitCode.OK if found.ready else ExitCode.UNREACHABLE


def _tell(before: SchemaStatus, after: SchemaStatus, *, json: bool) -> None:
    if json:
        render.document(
            {"schema": "flowforge/db/v1", "before": before.current, "current": after.current, "head": after.head}
        )
    if before.current == after.current:
        render.say(f"the schema is at {after.current or 'none'} already")
    else:
        render.say(f"the schema went from {before.current or 'none'} to {after.current or 'none'}")


def _url() -> str:
    """Return the database; the embedded one runs afterwards."""
    chosen = session.settings()
    if chosen.database_url is not None:
        return chosen.database_url
    from flowforge import local

    session.announce_start(chosen)
    return local.up(session.home(chosen)).database_url


def _status(url: str) -> SchemaStatus:
    from flowforge.store import schema
    from flowforge.store.database import connect

    async def look() -> SchemaStatus:
        connection = await connect(url)
        try:
            return await schema.status(connection)
        finally:
            await connection.close()

    return asyncio.run(look())


def _shown(url: str) -> str:
    from flowforge_cli.masking import masked

    return masked(url)
