"""`flowforge workflow`: check, publish and look at definitions."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from flowforge_cli import completing, definitions, render, session, verifying
from flowforge_cli.commands import simulate, workflow_hold
from flowforge_cli.exit_codes import ExitCode
from flowforge_cli.listing import Listing
from flowforge_cli.options import JsonOption, YesOption, sub_app
from flowforge_cli.text import Row, Span, age, moment, state

if TYPE_CHECKING:
    from flowforge.client import AsyncClient
    from flowforge.store.workflows import Version, WorkflowSummary

app = sub_app("Check, publish and look at definitions.")
app.command("pause")(workflow_hold.pause)
app.command("resume")(workflow_hold.resume)

NamedArgument = Annotated[
    str,
    typer.Argument(
        metavar="NAME[@VERSION]", autocompletion=completing.workflows, help="A workflow, or one version of it."
    ),
]


@app.command()
def lint(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Definitions to check.")],
    json: JsonOption = False,
) -> int:
    """Check definitions; exit 20 when one has errors. Needs no server.

    \b
    Examples:
      flowforge workflow lint flows/*.yaml
      flowforge workflow lint flows/orders.yaml --json | jq '.files[].diagnostics'
    """  # noqa: D301
    checked = [definitions.check(path) for path in files]
    if json:
        render.document({"schema": "flowforge/lint/v1", "files": [one.document() for one in checked]})
    else:
        for one in checked:
            render.diagnostics(one.findings, one.text, str(one.path))
        wrong = sum(1 for one in checked if not one.valid)
        warned = sum(len(one.findings) for one in checked if one.valid)
        summary = f"{len(checked) - wrong} of {len(checked)} valid"
        render.say(summary + (f", {warned} warnings" if warned else ""))
    return ExitCode.OK if all(one.valid for one in checked) else ExitCode.FINDINGS


@app.command()
def publish(
    target: Annotated[
        str,
        typer.Argument(
            metavar="FILE|NAME", autocompletion=completing.targets, help="A definition, or a workflow with a draft."
        ),
    ],
    draft: Annotated[bool, typer.Option("--draft", help="Store it as the draft, which cannot be run.")] = False,
    verify_last: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=1, max=10_000, help="First replay the last N finished runs with what they recorded."
        ),
    ] = None,
    accept: Annotated[
        list[str] | None,
        typer.Option(metavar="CLASS", help="Publish although runs differ so: branch, missing, new, output, outcome."),
    ] = None,
    json: JsonOption = False,
) -> int:
    """Publish a definition as the next version of its workflow, or a workflow's draft.

    The same content is never published twice. With --verify-last the finished runs of the newest version are replayed
    on the new one, with recorded outputs and without effects; where one would go another way, nothing is published and
    the exit code is 20. Classes: branch (another way is taken), missing (a step is gone), new (a step would run that
    has no record), output (a step gives something else), outcome (a step or the run ends otherwise).

    \b
    Examples:
      flowforge workflow publish flows/orders.yaml
      flowforge workflow publish flows/orders.yaml --draft
      flowforge workflow publish order-fulfilment          the draft
      flowforge workflow publish flows/orders.yaml --verify-last 100
      flowforge workflow publish flows/orders.yaml --verify-last 100 --accept new --accept output
    """  # noqa: D301
    path, accepted = session.about_file(target), verifying.classes(accept or ())
    if accept and verify_last is None:
        raise _needs_gate()

    async def work(client: AsyncClient) -> int:
        verification = None
        if verify_last is not None:
            source = target if path is None else path
            verification = await verifying.replayed(client, source, verify_last, accepted)
            verifying.show(verification)
            if verification.refused:
                if json:
                    render.document(verification.document() | {"published": False})
                return ExitCode.FINDINGS
        done = await (client.publish_draft(target) if path is None else client.publish(path, draft=draft))
        render.diagnostics(done.warnings, session.definition_text(), target)
        name = f"{done.workflow} version {done.version}"
        verb = {"published": "published", "draft": "kept as a draft:"}.get(done.status, done.status)
        render.say(f"{verb} {name}" if done.created else f"{name} is unchanged")
        if json:
            document = asdict(done) | {"warnings": [warning.document() for warning in done.warnings]}
            if verification is not None:
                document["verification"] = verification.document()
            render.document({"schema": "flowforge/published/v1", **document})
        return ExitCode.OK

    return session.run(work)


def _needs_gate() -> Exception:
    from flowforge.errors import UsageError

    return UsageError("--accept needs --verify-last: without it nothing is refused", hint="--verify-last 100")


@app.command("ls")
def list_(json: JsonOption = False) -> None:
    """List workflows.

    \b
    Examples:
      flowforge workflow ls
      flowforge workflow ls --json | jq -r '.workflows[].name'
    """  # noqa: D301

    async def work(client: AsyncClient) -> None:
        held = {one.name for one in await client.pauses() if one.kind == "workflow"}
        listed: Listing[WorkflowSummary] = Listing(
            titles=("WORKFLOW", "LATEST", "VERSIONS", "ACTIVE RUNS", "LAST RUN", "NOTE"),
            row=lambda one: _row(one, datetime.now(UTC), paused=one.name in held),
            head={"schema": "flowforge/workflows/v1"},
            field="workflows",
            document=lambda one: {**definitions.plain(asdict(one)), "paused": one.name in held},
        )
        if not await listed.show(client.workflow_parts(), json=json) and not json:
            render.say("no workflows yet", "  help: flowforge workflow publish FILE, or flowforge run FILE")

    session.run(work)


def _row(one: WorkflowSummary, now: datetime, *, paused: bool) -> Row:
    return [
        Span(one.name, "strong"),
        str(one.latest or "-"),
        str(one.versions),
        str(one.active_runs),
        age(one.last_run_at, now),
        _note(one, paused=paused),
    ]


def _note(one: WorkflowSummary, *, paused: bool) -> str:
    notes = ["PAUSED"] if paused else []
    if one.archived or one.draft:
        notes.append("archived" if one.archived else f"draft {one.draft}")
    return ", ".join(notes)


@app.command()
def show(
    name: NamedArgument,
    yaml: Annotated[bool, typer.Option("--yaml", help="Print the definition as YAML, nothing else.")] = False,
    json: JsonOption = False,
) -> None:
    """Show a workflow: its versions, and the definition of one of them.

    \b
    Examples:
      flowforge workflow show order-fulfilment
      flowforge workflow show order-fulfilment@2 --yaml > orders.yaml
    """  # noqa: D301

    async def work(client: AsyncClient) -> None:
        chosen = await definitions.version(client, name)
        definition = await client.definition(chosen)
        if yaml:
            render.raw(definitions.yaml_text(definition), exact=True)
            return
        head = {"schema": "flowforge/workflow/v1", "name": chosen.workflow, "version": chosen.version}
        listed = Listing(
            titles=("VERSION", "STATE", "CREATED", "AGE", "DIGEST"),
            row=_version_row,
            head={**head, "status": chosen.status, "definition": definition},
            field="versions",
            document=_version_document,
            indent="  ",
        )
        if not json:
            description = definition.get("description") or ""
            render.out([Span(f"{chosen.workflow}@{chosen.version}", "strong"), Span(f"  {description}")], "")
        await listed.show(client.version_parts(chosen.workflow), json=json)
        if not json:
            render.out("")
            render.raw(definitions.yaml_text(definition))

    session.run(work)


def _version_row(one: Version) -> Row:
    look = state(one.status, unicode=render.unicode())
    return [str(one.version), look, moment(one.created_at), age(one.created_at, datetime.now(UTC)), one.digest]


@app.command()
def archive(name: NamedArgument, yes: YesOption = False, json: JsonOption = False) -> int:
    """Archive a version, or a workflow with all its versions: runs go on, new ones cannot start.

    \b
    Examples:
      flowforge workflow archive order-fulfilment@1
      flowforge workflow archive order-fulfilment --yes
    """  # noqa: D301
    workflow, number = definitions.named(name)
    whole = number is None and render.interactive()
    if whole and not session.may(f"archive every version of {workflow}?", yes=yes):
        render.say("nothing was changed")
        return ExitCode.OK

    async def work(client: AsyncClient) -> None:
        done = await client.archive(workflow, number)
        for version in done:
            render.say(f"archived {version.workflow} version {version.version}")
        if json:
            listed = [_version_document(version) for version in done]
            render.document({"schema": "flowforge/archived/v1", "name": workflow, "versions": listed})

    session.run(work)
    return ExitCode.OK


@app.command()
def graph(
    target: Annotated[
        str,
        typer.Argument(
            metavar="FILE|NAME", autocompletion=completing.targets, help="A definition, a workflow or name@version."
        ),
    ],
    form: Annotated[
        Literal["text", "mermaid", "dot"], typer.Option("--format", "-f", help="What to draw it in.")
    ] = "text",
    json: JsonOption = False,
) -> None:
    """Draw the graph of a workflow. A file needs no server.

    What a parallel step or a foreach holds stands inside it; what undoes a step stands beside it.

    \b
    Examples:
      flowforge workflow graph flows/orders.yaml
      flowforge workflow graph order-fulfilment --format mermaid
      flowforge workflow graph order-fulfilment@2 --format dot | dot -Tsvg > orders.svg
      flowforge workflow graph flows/orders.yaml --json | jq '.edges[]'
    """  # noqa: D301
    from flowforge.client import publishing
    from flowforge.model import graph as drawing
    from flowforge.model.load import from_data, load

    path = session.about_file(target)
    if path is not None:
        plan = load(publishing.read(path), filename=str(path)).plan
    else:

        async def work(client: AsyncClient) -> dict[str, Any]:
            return await client.definition(await definitions.version(client, target))

        plan = from_data(session.run(work)).plan
    if json:
        render.document(drawing.document(plan))
        return
    drawn = {"mermaid": drawing.mermaid, "dot": drawing.dot}
    if form in drawn:
        render.raw(drawn[form](plan), exact=True)
    else:
        render.drawing(drawing.text(plan, unicode=render.unicode()))


@app.command()
def schema(
    strict: Annotated[
        bool, typer.Option("--strict", help="Constrain what this release checks, not only describe.")
    ] = False,
) -> None:
    """Print the JSON Schema of definitions, for editors and other tools.

    \b
    Examples:
      flowforge workflow schema > workflow.schema.json
    """  # noqa: D301
    from flowforge.model.schema import json_schema

    render.document(json_schema(strict=strict))


def _version_document(version: Version) -> dict[str, Any]:
    kept = ("workflow", "version", "status", "digest", "created_at", "published_at", "archived_at")
    return definitions.plain({name: getattr(version, name) for name in kept})


app.command()(simulate.simulate)
