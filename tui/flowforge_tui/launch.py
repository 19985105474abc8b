"""Starting the dashboard for a command line: one call, from settings to the last key."""

from __future__ import annotations

from pathlib import Path

from flowforge.client import AsyncClient
from flowforge.settings import Settings
from flowforge_tui.app import TopApp
from flowforge_tui.options import Options

#: Connections to Postgres: screens ask for several things at a time.
CONNECTIONS = 4


def show(settings: Settings, options: Options, *, screenshot: Path | None = None) -> int:
    """Show the dashboard until it is left; with *screenshot*, only until a picture of it is written."""
    app = TopApp(AsyncClient(settings, connections=CONNECTIONS), options)
    if screenshot is not None:
        app.photograph = screenshot
    app.run()
    return app.return_code or 0
