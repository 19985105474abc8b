"""What one command line works with: its global options, its settings, its client, and its event loop.

Commands are functions of an open client; here they are given one, and here their loop ends.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from flowforge_cli import render

if TYPE_CHECKING:
    from flowforge.client import AsyncClient
    from flowforge.errors import DefinitionError, StreamUnavailable
    from flowforge.local import Home
    from flowforge.settings import Loaded, Settings
    from flowforge_streams.errors import StreamError

T = TypeVar("T")


@dataclass
class Options:
    """The options of the whole command."""

    profile: str | None = None
    debug: bool = False
    no_input: bool = False
    yes: bool = False


options = Options()


def loaded(**overrides: Any) -> Loaded:
    """Return the settings with their sources; None does not override."""
    from flowforge.settings import load

    return load({"profile": options.profile, **overrides})


def settings(**overrides: Any) -> Settings:
    """Return the settings."""
    return loaded(**overrides).settings


def home(chosen: Settings) -> Home:
    """Return the home of the embedded servers."""
    from flowforge import local

    return local.default_home() if chosen.home is None else local.Home(chosen.home)


def run(work: Callable[[AsyncClient], Awaitable[T]], *, connections: int = 4, **overrides: Any) -> T:
    """Do something with an open client, in an event loop of its own."""
    import asyncio

    chosen = settings(**overrides)
    announce_start(chosen)

    # Not as the loop's own result: when it looks after Ctrl-C at its end, Python writes that out as text, and of a run
    # with 100,000 steps that takes seconds.
    answer: list[T] = []

    async def session() -> None:
        from flowforge.client import AsyncClient

        async with AsyncClient(chosen, connections=connections) as client:
            answer.append(await work(client))

    asyncio.run(session())
    return answer[0]


def without_redis(error: StreamError) -> StreamUnavailable:
    """Return what an error of the stream library means for somebody at a terminal."""
    from flowforge.errors import StreamUnavailable

    reason = str(error).partition("\n")[0].rstrip(".")
    hint = "runs go on meanwhile: workers take dispatches straight from Postgres, slowly"
    return StreamUnavailable(f"Redis cannot be reached: {reason}", hint=hint)


def announce_start(chosen: Settings) -> None:
    """Say so when the command will first have to start servers: that takes a moment."""
    if not chosen.embedded:
        return
    from flowforge import local

    place = home(chosen)
    if not local.status(place).running:
        render.say(f"starting the embedded servers in {place.path}")


def may(question: str, *, yes: bool, number: int | None = None) -> bool:
    """Ask before something that cannot be undone; without a terminal the answer has to be on the command line.

    Where it is about a large *number* of things, the answer is that number.
    """
    from flowforge.errors import UsageError

    if yes or options.yes:
        return True
    if options.no_input or not render.interactive():
        raise UsageError(f"{question} Nobody can be asked here", hint="add --yes to go ahead")
    return render.confirm(question) if number is None else render.confirm_number(question, number)


def show_definition_error(error: DefinitionError, path: Path | None = None) -> None:
    """Show every finding of a definition, with the source line where there is one."""
    path = path or definition_file
    text = definition_text(path)
    render.diagnostics(error.diagnostics, text, "<definition>" if path is None else str(path))
    if path is not None:
        render.say(f"  help: flowforge workflow lint {path}")


def definition_text(path: Path | None = None) -> str | None:
    """Return the text of the file that the command is about."""
    path = path or definition_file
    try:
        return None if path is None else path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None


#: The file that the command is about, for errors found in it.
definition_file: Path | None = None


def about_file(target: str) -> Path | None:
    """Remember the file that a target means, if it means one."""
    from flowforge.client.publishing import is_file

    global definition_file  # noqa: PLW0603 - one command per process
    definition_file = Path(target) if is_file(target) else None
    return definition_file
