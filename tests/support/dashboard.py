"""A dashboard without servers: opened, waited for, and its screen as text."""

from __future__ import annotations

import io
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from math import inf
from pathlib import Path
from typing import Any

from rich.console import Console
from textual.pilot import Pilot

from flowforge_tui.app import TopApp
from flowforge_tui.modals.confirm import Confirm
from flowforge_tui.options import Options
from tests.support.eventually import eventually
from tests.support.overviews import NOW

#: Fast, and by a clock that stands still.
QUICK = Options(interval=0.1, resync=0.2, clock=lambda: NOW)


@asynccontextmanager
async def opened(
    client: Any,
    size: tuple[int, int] = (120, 40),
    options: Options = QUICK,
    *,
    ready: bool = True,
    toasts: bool = False,
) -> AsyncIterator[tuple[Any, Pilot[None]]]:
    """Open a dashboard; when it is *ready*, it has read what there is and shows it."""
    app: Any = TopApp(client, options)
    async with app.run_test(size=size, notifications=toasts) as pilot:
        _patient(pilot)
        if ready and not getattr(client, "postgres_away", False):
            await eventually(lambda: app.live.ready.is_set() and app.screen.book.known == len(client.known))
        await settled(pilot)
        yield app, pilot


def _patient(pilot: Pilot[None]) -> None:
    """Let a key be handled before the next is pressed, also where one waits for another, or for a screen."""
    app: Any = pilot.app
    press = pilot.press

    async def pressed(*keys: str) -> None:
        for key in keys:
            await press(key)
            await eventually(lambda: not (app.typeahead.busy and app.is_running))
            await pilot.pause()

    pilot.press = pressed  # type: ignore[method-assign]


async def settled(pilot: Pilot[None]) -> None:
    """Wait until what was asked for is on the screen."""
    await pilot.pause()
    pilot.app.screen.beat() if hasattr(pilot.app.screen, "beat") else None
    await pilot.pause()


async def question(app: Any) -> Any:
    """Wait until a question is asked and can be read; return it."""
    return await eventually(lambda: isinstance(app.screen, Confirm) and app.screen.readable_at < inf and app.screen)


def screen_text(app: TopApp) -> str:
    """Return what is on the screen, line by line."""
    width, height = app.size
    console = Console(width=width, height=height, file=io.StringIO(), record=True, legacy_windows=False)
    console.print(app.screen._compositor.render_update(full=True, screen_stack=app._background_screens))
    lines = console.export_text(styles=False).split("\n")[:height]
    return "\n".join(line.rstrip() for line in lines) + "\n"


SNAPSHOTS = Path(__file__).parent.parent / "unit" / "tui" / "gallery"


def matches(name: str, text: str) -> None:
    """Compare a screen with the one that is kept; SNAPSHOTS=write keeps it."""
    file = SNAPSHOTS / f"{name}.txt"
    if os.environ.get("SNAPSHOTS") == "write":
        file.write_text(text, encoding="utf-8")
    assert text == file.read_text(encoding="utf-8"), f"{name}: look at it, then SNAPSHOTS=write keeps it"
