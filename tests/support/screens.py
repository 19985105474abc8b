"""Screens as text: what stands on them, and pictures of them that are kept beside the tests."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar

from textual.app import App
from textual.pilot import Pilot
from textual.screen import Screen

from flowforge_tui import keys
from flowforge_tui.themes import completed


def on_screen(app: App[Any]) -> str:
    """Return what is on the screen, without colours."""
    return "\n".join(strip.text.rstrip() for strip in app.screen._compositor.render_strips())


def same_as_kept(folder: Path, name: str, text: str) -> None:
    """Compare a screen with the one that is kept; with FLOWFORGE_KEEP_SCREENS=1 this one is kept from now on."""
    kept = folder / f"{name}.txt"
    if os.environ.get("FLOWFORGE_KEEP_SCREENS"):
        kept.parent.mkdir(exist_ok=True)
        kept.write_text(text + "\n", encoding="utf-8")
    assert kept.exists(), f"{kept} is missing: look at the screen, then keep it with FLOWFORGE_KEEP_SCREENS=1\n{text}"
    assert text + "\n" == kept.read_text(encoding="utf-8"), f"the screen differs from {kept}:\n{text}"


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
