"""`flowforge init`: a project to start from."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Annotated

import typer

from flowforge_cli import render
from flowforge_cli.options import JsonOption, sub_app

app = sub_app()

#: Where each file of the example goes, and its name in the package.
FILES = {
    "flowforge.toml": "flowforge.toml",
    "flows/hello.yaml": "hello.yaml",
    "flows/order.yaml": "order.yaml",
    "flows/tasks.py": "tasks.py.txt",
    "conftest.py": "conftest.py.txt",
    "tests/test_flows.py": "test_flows.py.txt",
}


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(metavar="[DIR]", help="Where; made if it is not there.")] = Path(),
    json: JsonOption = False,
) -> None:
    """Write an example project that runs as it is: settings, two workflows, their Python functions, and tests.

    One greets; the other is an order that asks somebody when it is large, and is undone when it cannot be shipped.
    The tests need no server: pytest. Nothing is ever overwritten.

    \b
    Examples:
      flowforge init && flowforge run flows/hello.yaml -i name=Ada --wait
      flowforge init && pytest
      flowforge init ~/orders
    """  # noqa: D301
    written = [name for name, template in FILES.items() if _write(folder / name, template)]
    kept = [name for name in FILES if name not in written]
    if json:
        document = {"schema": "flowforge/init/v1", "folder": str(folder.resolve())}
        render.document({**document, "written": written, "kept": kept})
    for name in written:
        render.say(f"wrote {folder / name}")
    for name in kept:
        render.say(f"kept {folder / name}, which was there")
    inside = "" if folder == Path() else f"cd {folder} && "
    render.hint(f"next: {inside}flowforge run flows/hello.yaml -i name=Ada --wait")


def _write(path: Path, template: str) -> bool:
    """Write one file unless it is there already; return whether it was written."""
    from flowforge.errors import UsageError

    text = resources.files("flowforge_cli").joinpath("templates", template).read_text(encoding="utf-8")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        if path.parent.is_dir():
            return False
        raise UsageError(f"{path.parent} is not a folder") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from None
    return True
