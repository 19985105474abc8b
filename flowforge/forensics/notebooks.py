"""The notebooks as files: which there are, a copy with its parameters filled in, and a report made without a browser.

A notebook's parameters are the assignments of its first code cell. What is filled in are literals, never code: a path
that holds quotes stays a text.
"""

from __future__ import annotations

import copy
import json
import tempfile
from pathlib import Path
from typing import Any

from flowforge.errors import FlowforgeError, NotFound, UsageError

#: By name: the question each answers.
QUESTIONS = {
    "00_start_here": "what can be asked?",
    "01_run_postmortem": "what happened to this run?",
    "02_incident_window": "what happened in this window of time?",
    "03_good_vs_bad": "why did this run go wrong, and that one did not?",
    "04_latency_and_capacity": "where does the time go, and is there room for more?",
    "05_delivery_audit": "was everything delivered, and nothing done twice?",
}
#: Seconds that one cell may take.
CELL_TIMEOUT = 120
#: The usual page, without what would fetch a library for diagrams that there are none of.
_TEMPLATE = "{% extends 'lab/index.html.j2' %}{% block html_head_js_mermaidjs %}{% endblock %}"
_FIGURE = "application/vnd.plotly.v1+json"


def named(name: str) -> str:
    """Return the notebook that a name, or the beginning of one, means."""
    found = [one for one in QUESTIONS if one == name] or [one for one in QUESTIONS if name and name in one]
    if len(found) != 1:
        raise UsageError(f"'{name}' is not a notebook", hint=f"there are: {', '.join(QUESTIONS)}")
    return found[0]


def filled(name: str, **values: Any) -> dict[str, Any]:
    """Return a notebook whose parameters have these values; those it does not have are refused."""
    notebook: dict[str, Any] = json.loads((_folder() / f"{name}.ipynb").read_text(encoding="utf-8"))
    cell = next(one for one in notebook["cells"] if "parameters" in one["metadata"].get("tags", ()))
    lines = "".join(cell["source"]).splitlines()
    for parameter, value in values.items():
        at = next((no for no, line in enumerate(lines) if line.startswith(f"{parameter} = ")), None)
        if at is None:
            raise UsageError(f"notebook {name} has no parameter {parameter}")
        _, sign, comment = lines[at].partition("  # ")
        lines[at] = f"{parameter} = {value!r}{sign}{comment}"
    cell["source"] = "\n".join(lines)
    return notebook


def save(notebook: dict[str, Any], path: Path) -> None:
    """Write a notebook."""
    try:
        path.write_text(json.dumps(notebook, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from error


def executed(notebook: dict[str, Any], folder: Path) -> Any:
    """Return a notebook with what its cells came to; raise FlowforgeError with the cell that failed."""
    import nbformat
    from jupyter_client.manager import AsyncKernelManager
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

    made = nbformat.reads(json.dumps(notebook), as_version=4)  # type: ignore[no-untyped-call]
    # The kernel listens on sockets in a folder of this user's alone, not on ports of the machine.
    with tempfile.TemporaryDirectory(prefix="ff-") as sockets:
        kernel = AsyncKernelManager(
            kernel_name="python3", transport="ipc", connection_file=str(Path(sockets) / "kernel.json")
        )
        client = NotebookClient(
            made,
            km=kernel,
            timeout=CELL_TIMEOUT,
            startup_timeout=CELL_TIMEOUT,
            resources={"metadata": {"path": str(folder)}},
        )
        try:
            client.execute(cleanup_kc=True)
        except (CellExecutionError, CellTimeoutError, DeadKernelError, RuntimeError) as error:
            raise FlowforgeError(f"the notebook stopped: {_why(error)}") from error
    return made


def report(notebook: Any, path: Path) -> None:
    """Write what an executed notebook shows as one HTML file, which needs no network."""
    from nbconvert import HTMLExporter

    notebook.metadata["title"] = _question(notebook)
    exporter: Any = HTMLExporter(  # type: ignore[no-untyped-call]
        exclude_input=True, exclude_output_prompt=True, mathjax_url="", require_js_url="", raw_template=_TEMPLATE
    )
    body, _ = exporter.from_notebook_node(_drawn(notebook))
    try:
        path.write_text(body, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from error


def _drawn(notebook: Any) -> Any:
    """Return a notebook whose figures draw themselves, with what draws them in the first one."""
    from plotly.io import to_html

    made = copy.deepcopy(notebook)
    library = True
    for output in (output for cell in made.cells for output in cell.get("outputs", ())):
        figure = output.get("data", {}).pop(_FIGURE, None)
        if figure is not None:
            output["data"]["text/html"] = to_html(
                figure, full_html=False, include_plotlyjs=library, validate=False, config={"displaylogo": False}
            )
            library = False
    return made


def _question(notebook: Any) -> str:
    """Return the question that a notebook opens with."""
    lines = [line for cell in notebook.cells[:1] for line in str(cell.source).splitlines()]
    return next((line.lstrip("# ") for line in lines if line.startswith("# ")), "FlowForge")


def _folder() -> Path:
    """Return where the notebooks are: in the wheel, or beside the packages of a checkout."""
    here = Path(__file__).parent
    places = (here / "templates", here.parents[1] / "notebooks")
    found = next((place for place in places if (place / "00_start_here.ipynb").is_file()), None)
    if found is None:
        raise NotFound("the notebooks are not installed", hint="pip install --force-reinstall 'flowforge[notebooks]'")
    return found


def _why(error: Exception) -> str:
    name, text = getattr(error, "ename", type(error).__name__), getattr(error, "evalue", str(error))
    return f"{name}: {text}"
