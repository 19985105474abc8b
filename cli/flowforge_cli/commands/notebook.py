"""`flowforge notebook`: the right notebook for a question, filled in, opened or turned into a report."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flowforge_cli import render, session
from flowforge_cli.options import JsonOption, sub_app
from flowforge_cli.text import short_id

if TYPE_CHECKING:
    from flowforge.client import AsyncClient

app = sub_app()

_NEEDED = ("pandas", "plotly", "nbformat", "nbclient", "nbconvert", "jupyterlab")


@app.command()
def notebook(
    run: Annotated[
        str | None, typer.Argument(metavar="[RUN]", help="The run, or its file; of two, the good one.")
    ] = None,
    other: Annotated[str | None, typer.Argument(metavar="[RUN]", help="The bad run, to compare.")] = None,
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="Another notebook: 00 to 05, or part of a name.")
    ] = None,
    since: Annotated[str | None, typer.Option(metavar="TIME", help="The window: 1h, or a time.")] = None,
    workflow: Annotated[
        str | None, typer.Option("--workflow", "-w", metavar="NAME", help="Only this workflow.")
    ] = None,
    bundle: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Ask an exported bundle or capsule instead of the database.")
    ] = None,
    execute: Annotated[bool, typer.Option("--execute", help="Execute it here, without a browser.")] = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Where to: .ipynb, or .html with --execute.")
    ] = None,
    no_open: Annotated[bool, typer.Option("--no-open", help="Only write it.")] = False,
    list_: Annotated[bool, typer.Option("--list", help="List the notebooks and the question each answers.")] = False,
    json: JsonOption = False,
) -> None:
    """Copy the notebook that answers a question, with its parameters filled in, and open it in Jupyter.

    One run: its post-mortem. Two runs: the good one against the bad one. None: what happened since a time. With
    --execute it is executed at once, and -o report.html makes a report for people who have no Jupyter.

    \b
    Examples:
      flowforge notebook @last-failed
      flowforge notebook @last-failed --execute -o report.html
      flowforge notebook 1a2b3c4d 5e6f7a8b
      flowforge notebook --since 1h --execute -o incident.html
      flowforge notebook incident.ffz --execute -o report.html
      flowforge notebook --name 05 --bundle incident.ffz
    """  # noqa: D301
    _require_extra()
    if list_:
        _list(json=json)
        return
    run, bundle = _file(run, other, bundle)
    chosen, values, stem = _chosen(run, other, name, since, workflow, bundle)
    target = output or Path(f"{stem}.{'html' if execute else 'ipynb'}")
    _check_target(target, execute=execute)
    _write(chosen, values, target, execute=execute)
    if json:
        document = {"schema": "flowforge/notebook/v1", "notebook": chosen, "file": str(target), "executed": execute}
        render.document({**document, "parameters": values})
    else:
        render.out(str(target))
    if target.suffix == ".ipynb":
        _open(target, wanted=not (no_open or json or execute))


def _require_extra() -> None:
    from flowforge.errors import UsageError

    missing = [module for module in _NEEDED if find_spec(module) is None]
    if missing:
        raise UsageError(f"notebooks need {', '.join(missing)}", hint="pip install 'flowforge[notebooks]'")


def _list(*, json: bool) -> None:
    from flowforge.forensics.notebooks import QUESTIONS

    if json:
        rows = [{"name": name, "question": question} for name, question in QUESTIONS.items()]
        render.document({"schema": "flowforge/notebooks/v1", "notebooks": rows})
        return
    render.out(*(f"{name:<26}{question}" for name, question in QUESTIONS.items()))


def _chosen(
    run: str | None, other: str | None, name: str | None, since: str | None, workflow: str | None, bundle: Path | None
) -> tuple[str, dict[str, Any], str]:
    """Return the notebook, its parameters, and what to call the copy."""
    from flowforge.errors import UsageError
    from flowforge.forensics import notebooks

    usual = "03_good_vs_bad" if other else "01_run_postmortem" if run else "02_incident_window"
    chosen = usual if name is None else notebooks.named(name)
    ids = [_resolved(one, bundle) for one in (run, other) if one is not None]
    values: dict[str, Any] = {} if _source(bundle) is None else {"SOURCE": _source(bundle)}
    if ids and chosen in ("00_start_here", "01_run_postmortem"):
        values["RUN"] = ids[0]
    elif chosen == "03_good_vs_bad" and ids:
        values |= {"GOOD": ids[0], "BAD": ids[1]} if len(ids) > 1 else {"BAD": ids[0]}
    elif ids:
        raise UsageError(f"{chosen} is about a window of time, not about a run", hint="--since 1h, --workflow NAME")
    for parameter, value in (("SINCE", since), ("WORKFLOW", workflow)):
        if value is not None:
            values[parameter] = value
    return chosen, values, "-".join([chosen, *(short_id(one) for one in ids)])


def _resolved(reference: str, bundle: Path | None) -> str:
    if bundle is not None:
        from flowforge.forensics.source import open_source

        with open_source(bundle) as source:
            return source.resolve(reference)
    return session.run(lambda client: _meant(client, reference))


async def _meant(client: AsyncClient, reference: str) -> str:
    """Return the id of a run of this installation, or of one that was imported."""
    imported = await client.foreign(reference)
    return str(await client.resolve(reference) if imported is None else imported.run.id)


def _file(run: str | None, other: str | None, bundle: Path | None) -> tuple[str | None, Path | None]:
    """Return the run and the file to ask, where a file is given in place of a run."""
    from flowforge.client import capsules
    from flowforge.errors import UsageError

    if not any(one is not None and capsules.is_file(one) for one in (run, other)):
        return run, bundle
    if run is None or other is not None or bundle is not None:
        hint = "flowforge import FILE, then compare by id; or --bundle FILE with the ids of its runs"
        raise UsageError("a notebook asks one place: give a single file", hint=hint)
    path = Path(run)
    return (None if capsules.is_archive(path) else str(capsules.read(path).run.id)), path


def _source(bundle: Path | None) -> str | None:
    return session.options.profile if bundle is None else str(bundle.resolve())


def _check_target(target: Path, *, execute: bool) -> None:
    from flowforge.errors import UsageError

    if target.suffix not in (".ipynb", ".html"):
        raise UsageError(f"{target} is neither .ipynb nor .html", hint="-o run.ipynb, or --execute -o report.html")
    if target.suffix == ".html" and not execute:
        raise UsageError("a report shows what cells came to, and nothing is executed", hint="add --execute")
    if not target.absolute().parent.is_dir():
        raise UsageError(f"there is no folder {target.parent}")


def _write(chosen: str, values: dict[str, Any], target: Path, *, execute: bool) -> None:
    from flowforge.forensics import notebooks

    copy = notebooks.filled(chosen, **values)
    if not execute:
        notebooks.save(copy, target)
        return
    render.say(f"executing {chosen}")
    done = notebooks.executed(copy, Path.cwd())
    (notebooks.report if target.suffix == ".html" else notebooks.save)(done, target)


def _open(target: Path, *, wanted: bool) -> None:
    """Open Jupyter where somebody sits in front of it; else say how."""
    import subprocess
    import sys

    command = [sys.executable, "-m", "jupyterlab", str(target)]
    if wanted and render.interactive():
        render.say("opening Jupyter; Ctrl-C twice ends it")
        subprocess.run(command, check=False)
    else:
        render.hint(f"  open it: jupyter lab {target}")
