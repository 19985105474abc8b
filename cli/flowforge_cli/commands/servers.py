"""`flowforge up`, `down`, `status`: the servers behind everything."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from flowforge_cli import render, session
from flowforge_cli.exit_codes import ExitCode
from flowforge_cli.masking import masked
from flowforge_cli.options import JsonOption, sub_app
from flowforge_cli.text import Row, Span, age, duration, state, table

if TYPE_CHECKING:
    from flowforge.local import ServerStatus
    from flowforge.settings import Settings

app = sub_app()


@app.command()
def up(json: JsonOption = False) -> None:
    """Start the embedded Postgres and Valkey, and bring the schema up to date.

    They stay up until `flowforge down`. Every other command starts them too when it needs them.

    \b
    Examples:
      flowforge up
      FLOWFORGE_HOME=/srv/flowforge flowforge up
    """  # noqa: D301
    chosen = session.settings()
    if not chosen.embedded:
        render.say("nothing to start: both servers are configured")
        _show(chosen, json=json)
        return
    begun = datetime.now(UTC)
    was_running = _embedded_running(chosen)

    async def nothing(client: object) -> None:
        """Opening the client is all there is to do."""

    session.run(nothing)
    took = duration(datetime.now(UTC) - begun)
    render.say("the servers were up already" if was_running else f"up after {took}")
    _show(chosen, json=json)


@app.command()
def down(json: JsonOption = False) -> None:
    """Stop the embedded servers. Data stays; workers that are still running lose their servers.

    \b
    Examples:
      flowforge down
    """  # noqa: D301
    from flowforge import local

    chosen = session.settings()
    stopped = local.down(session.home(chosen))
    if json:
        home = str(session.home(chosen).path)
        render.document({"schema": "flowforge/down/v1", "home": home, "stopped": list(stopped)})
    render.say(f"stopped {' and '.join(stopped)}" if stopped else "nothing was running")


@app.command()
def status(json: JsonOption = False) -> int:
    """Show the servers in use, without starting any; exit 4 when a configured one cannot be used.

    \b
    Examples:
      flowforge status
      flowforge status --json | jq .ready
    """  # noqa: D301
    return _show(session.settings(), json=json)


def _embedded_running(chosen: Settings) -> bool:
    from flowforge import local

    return local.status(session.home(chosen)).running


def _show(chosen: Settings, *, json: bool) -> int:
    """Show what is known of the servers and of what stands on them."""
    from flowforge.errors import FlowforgeError

    servers = _servers(chosen)
    facts: dict[str, Any] = {"ready": False, "problem": None, "workers": None, "active_runs": None}
    problem: FlowforgeError | None = None
    if all(server["running"] is not False for server in servers):
        try:
            facts |= asyncio.run(_look(chosen))
        except FlowforgeError as error:
            problem, facts["problem"] = error, error.message
    if json:
        home = str(session.home(chosen).path) if chosen.embedded else None
        render.document({"schema": "flowforge/status/v1", "home": home, "servers": servers, **facts})
    else:
        render.out(*_table(servers))
        if facts["ready"]:
            render.out(f"workers {facts['workers']}, active runs {facts['active_runs']}")
    if problem is not None:
        render.error(problem.message, problem.hint)
        return ExitCode.UNREACHABLE
    if not facts["ready"]:
        render.hint("flowforge up starts them; so does every command that needs them")
    return ExitCode.OK


def _servers(chosen: Settings) -> list[dict[str, Any]]:
    """Return both servers: embedded ones as found, configured ones as named."""
    found: list[dict[str, Any]] = []
    embedded: dict[str, ServerStatus] = {}
    if chosen.embedded:
        from flowforge import local

        status = local.status(session.home(chosen))
        embedded = {"postgres": status.postgres, "valkey": status.valkey}
    for name, url in (("postgres", chosen.database_url), ("valkey", chosen.redis_url)):
        if url is not None:
            found.append({"name": name, "embedded": False, "running": None, "url": masked(url)})
            continue
        from flowforge.model.documents import rfc3339

        one = embedded[name]
        paths = {"socket": str(one.socket), "data": str(one.data), "log": str(one.log)}
        known = {"pid": one.pid, "version": one.version, "since": rfc3339(one.since)}
        found.append({"name": name, "embedded": True, "running": one.running, **known, **paths})
    return found


async def _look(chosen: Settings) -> dict[str, Any]:
    """Ask the servers themselves; both have to answer."""
    from flowforge.client import AsyncClient
    from flowforge_streams.errors import StreamError

    async with AsyncClient(chosen) as client:
        try:
            await client.engine.streams.epoch()
        except StreamError as error:
            raise session.without_redis(error) from error
        pulse = await client.pulse()
    return {"ready": True, "workers": pulse.workers, "active_runs": pulse.active}


def _table(servers: list[dict[str, Any]]) -> list[list[Span]]:
    now, unicode = datetime.now(UTC), render.unicode()
    rows: list[Row] = []
    for one in servers:
        if not one["embedded"]:
            rows.append(["configured", Span(one["name"], "strong"), "-", "-", "-", one["url"]])
            continue
        look = state("up" if one["running"] else "down", unicode=unicode)
        since = datetime.fromisoformat(one["since"]) if one["since"] else None
        rows.append(
            [
                look,
                Span(one["name"], "strong"),
                str(one["pid"] or "-"),
                one["version"] or "-",
                age(since, now),
                one["data"],
            ]
        )
    return table(("STATE", "SERVER", "PID", "VERSION", "UP", "WHERE"), rows)
