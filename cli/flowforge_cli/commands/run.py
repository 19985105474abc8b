"""`flowforge run`: start a run, and watch or wait if asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flowforge_cli import completing, exit_codes, inputs, live, many, outcome, render, session
from flowforge_cli.exit_codes import ExitCode
from flowforge_cli.options import JsonOption, TimeoutOption, sub_app
from flowforge_cli.text import Span, compact, short_id

if TYPE_CHECKING:
    from flowforge.client import AsyncClient
    from flowforge.engine.plans import PlannedVersion
    from flowforge.model.documents import Run

app = sub_app()


@dataclass(frozen=True)
class Request:
    """What the command line asks for."""

    target: str
    input: Any
    idempotency_key: str | None
    labels: dict[str, str]
    priority: int
    wait: bool
    watch: bool
    timeout: float | None
    json: bool


@app.command()
def run(
    target: Annotated[
        str,
        typer.Argument(
            metavar="TARGET", autocompletion=completing.targets, help="file.yaml, file.json, name or name@version."
        ),
    ],
    values: Annotated[
        list[str] | None,
        typer.Option(
            "-i", "--set", metavar="K=V", help="One value of the input; JSON where it parses, else text. a.b=1 nests."
        ),
    ] = None,
    input_text: Annotated[
        str | None, typer.Option("--input", metavar="JSON|@FILE|-", help="The input: JSON, a file, or stdin.")
    ] = None,
    input_file: Annotated[
        str | None,
        typer.Option(metavar="FILE|-", help="Start a run for each line: JSON lines, or - for stdin."),
    ] = None,
    idempotency_key: Annotated[
        str | None, typer.Option(metavar="KEY", help="A second start with this key returns the first run.")
    ] = None,
    key: Annotated[
        str | None,
        typer.Option(
            metavar="FIELD", help="With --input-file: the field that is each line's key, so the file can be repeated."
        ),
    ] = None,
    label: Annotated[
        list[str] | None, typer.Option("--label", "-l", metavar="K=V", help="A label to find it by.")
    ] = None,
    priority: Annotated[int, typer.Option(help="Higher goes first where runs wait for their gate.")] = 0,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until it has ended; exit with its outcome.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="The same, showing its steps.")] = False,
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Only start it (the default).")] = False,
    timeout: TimeoutOption = None,
    json: JsonOption = False,
) -> int:
    """Start a run of a file or of a published workflow, and print its id.

    A file is published first when it changed. With --wait or --watch, and no worker running, the work is done here for
    as long as the command waits. Ctrl-C and --timeout end the waiting; the run goes on.

    \b
    Examples:
      flowforge run flows/hello.yaml -i name=Ada --wait
      flowforge run order-fulfilment@3 --input @order.json --idempotency-key order-17
      flowforge run import --label region=eu -i 'tags=["a", "b"]' -i customer.id=7 --watch
      flowforge run order-fulfilment --input-file orders.jsonl --key order_id
    """  # noqa: D301
    from flowforge.errors import UsageError

    if input_file is not None:
        if wait or watch or input_text is not None or idempotency_key is not None:
            raise UsageError(
                "--input-file starts many runs: it goes without --wait, --watch, --input and --idempotency-key",
                hint="wait for them: flowforge run TARGET --input-file FILE | flowforge wait -",
            )
        pairs, named = tuple(values or ()), inputs.labels(label or ())
        file = many.File(input_file, key, pairs, named, priority, json)
        session.about_file(target)
        return session.run(lambda client: _run_many(client, target, file))
    if key is not None:
        raise UsageError("--key names a field of the lines of --input-file", hint="for one run: --idempotency-key KEY")
    if detach and (wait or watch):
        raise UsageError("--detach does not wait: leave it out, or --wait and --watch")
    if timeout is not None and not (wait or watch):
        raise UsageError("--timeout limits the waiting, and nothing waits here", hint="add --wait or --watch")
    request = Request(
        target=target,
        input=inputs.run_input(values or (), input_text),
        idempotency_key=idempotency_key,
        labels=inputs.labels(label or ()),
        priority=priority,
        wait=wait,
        watch=watch,
        timeout=inputs.seconds(timeout),
        json=json,
    )
    session.about_file(target)
    return session.run(lambda client: _run(client, request))


async def _run_many(client: AsyncClient, target: str, file: many.File) -> int:
    return await many.start(client, await _version(client, target), file)


async def _run(client: AsyncClient, request: Request) -> int:
    version = await _version(client, request.target)
    started = await client.run(
        version,
        request.input,
        idempotency_key=request.idempotency_key,
        labels=request.labels,
        priority=request.priority,
        trigger="cli",
    )
    waits = request.wait or request.watch
    _accepted(started, request, waits=waits)
    if not waits:
        return ExitCode.OK
    if started.status.final:
        return _ended(started, request)
    return await _attend(client, version, started, request)


async def _version(client: AsyncClient, target: str) -> PlannedVersion:
    """Return what to run; a file is published when it changed, and it is said which version that makes."""
    path = session.about_file(target)
    if path is None:
        return await client.planned(target)
    published = await client.publish(path)
    render.diagnostics(published.warnings, session.definition_text(), str(path))
    name = f"{published.workflow} version {published.version}"
    render.say(f"published {name}" if published.created else f"{name} is unchanged")
    return await client.planned(f"{published.workflow}@{published.version}")


def _accepted(run: Run, request: Request, *, waits: bool) -> None:
    short = short_id(run.id)
    if run.duplicate:
        render.say(f"run {short} has this idempotency key already; it is {run.status.value}")
    if request.json and not waits:
        render.document(run.document())
    elif not request.json:
        render.out(str(run.id))
    if not waits and not run.duplicate:
        render.hint(f"started {run.workflow}@{run.version}: flowforge watch {short}")


async def _attend(client: AsyncClient, version: PlannedVersion, started: Run, request: Request) -> int:
    """Wait for the end, with a worker of our own if there is no other."""

    async def follow() -> Run:
        if request.json and request.watch:
            return await live.lines(client, started.id, json=True)
        if not request.watch:
            return await client.wait(started.id)
        return await (live.table if render.is_terminal() else live.lines)(client, started.id)

    queues = sorted({step.queue for step in version.plan.steps})
    async with outcome.working(client, queues) as worker:
        run = await outcome.until([started.id], follow, request.timeout, worker)
    if run is not None:
        return _ended(run, request)
    if request.json:
        render.json_line((await client.get(started.id)).document())
    return ExitCode.TIMEOUT


def _ended(run: Run, request: Request) -> int:
    if request.json:
        (render.json_line if request.watch else render.document)(run.document())
        return exit_codes.of_status(run.status.value)
    code = outcome.ended(run)
    if run.output is not None:
        render.say([Span("  output ", "dim"), Span(compact(run.output, 2000))])
    return code
