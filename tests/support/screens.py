"""One screen alone, and what stands on it as text."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, ClassVar

from textual.app import App
from textual.pilot import Pilot
from textual.screen import Screen

from flowforge_tui import keys
from flowforge_tui.themes import completed


def on_screen(app: App[Any]) -> str:
    """Return what is on the screen, without colours."""
    return "\n".join(strip.text.rstrip() for strip in app.screen._compositor.render_strips())


@asynccontextmanager
async def shown(screen: Screen[Any], size: tuple[int, int] = (120, 40)) -> AsyncIterator[Pilot[None]]:
    """Show one screen in an app that does nothing else."""

    class Bare(App[None]):
        BINDINGS: ClassVar = keys.bindings(keys.SHELL)

        def get_css_variables(self) -> dict[str, str]:
            return completed(super().get_css_variables())

        async def on_mount(self) -> None:
            await self.push_screen(screen)

    async with Bare().run_test(size=size) as pilot:
        await pilot.pause()
        yield pilot
