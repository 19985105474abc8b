"""`flowforge top`: the dashboard, where it is installed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flowforge_cli import render, session
from flowforge_cli.masking import masked
from flowforge_cli.options import sub_app

if TYPE_CHECKING:
    from flowforge.settings import Settings

app = sub_app()


@app.command()
def top(
    run: Annotated[
        str | None, typer.Argument(metavar="[RUN]", help="Open this run at once; or a capsule's file (.ffz).")
    ] = None,
    read_only: Annotated[
        bool, typer.Option("--read-only", help="Only look: nothing can be cancelled, retried or decided.")
    ] = False,
    theme: Annotated[
        str | None, typer.Option(metavar="NAME", help="Colours: flowforge, high-contrast, ansi-dark, nord ...")
    ] = None,
    ascii_only: Annotated[bool, typer.Option("--ascii", help="Signs of ASCII only, whatever the locale.")] = False,
    limit: Annotated[int, typer.Option(min=100, max=100_000, help="Runs kept in the list, the newest.")] = 10_000,
    screenshot: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the screen as SVG after a moment, and end.")
    ] = None,
) -> int:
    """Watch and steer everything on one screen: runs, queues, workers, incidents.

    Keys are the same on every screen; ? shows them. Leaving stops nothing: runs keep going. Where a screen cannot be
    read, `flowforge watch RUN --plain` says the same line by line.

    \b
    Examples:
      flowforge top
      flowforge top @last-failed
      flowforge top incident.ffz
      flowforge top --read-only --theme high-contrast
      FLOWFORGE_READONLY=1 flowforge top --ascii
    """  # noqa: D301
    from flowforge.errors import UsageError

    try:
        import textual  # noqa: F401 - only whether it is there
    except ImportError:
        raise UsageError("the dashboard is not installed", hint='pip install "flowforge[tui]"') from None
    if screenshot is None and not render.interactive():
        raise UsageError("the dashboard needs a terminal", hint="flowforge ps, flowforge watch RUN --plain")
    from flowforge.client import capsules
    from flowforge_cli.app import VERBS
    from flowforge_tui.launch import show
    from flowforge_tui.options import Options
    from flowforge_tui.themes import known

    if run is not None and capsules.is_file(run):
        # What is wrong with a file is said here, with its exit code.
        capsules.read(run)
    chosen = session.settings()
    options = Options(
        place=_place(chosen),
        read_only=read_only or chosen.readonly,
        unicode=render.unicode() and not ascii_only,
        theme=known(theme or chosen.theme),
        keys=chosen.keys,
        verbs=tuple(VERBS),
        limit=limit,
        first=run,
    )
    if session.options.profile is not None:
        # Commands behind `:` are processes of their own, and mean the same installation.
        os.environ["FLOWFORGE_PROFILE"] = session.options.profile
    session.announce_start(chosen)
    return show(chosen, options, screenshot=screenshot)


def _place(chosen: Settings) -> str:
    """Return what the installation is called: its profile, its server, or `local`."""
    if chosen.profile is not None:
        return chosen.profile
    if chosen.database_url is None:
        return "local"
    from urllib.parse import urlsplit

    return urlsplit(masked(chosen.database_url)).hostname or "remote"
