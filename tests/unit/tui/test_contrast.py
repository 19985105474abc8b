"""Every text can be read on its ground, in every theme that there is (WCAG 2: 4.5 to 1, in high contrast 7 to 1).

Measured on what screens have drawn; and for styles that no scene happens to show, on every ground of our own. What
ANSI's colours look like is the terminal's business: there, one of the two is its own default.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from rich.style import Style
from textual.theme import BUILTIN_THEMES

from flowforge.model.text import LOOKS
from flowforge_tui.painting import NAMES, Painted
from flowforge_tui.run.timeline import Timeline
from flowforge_tui.themes import THEMES
from flowforge_tui.widgets.header import Header
from flowforge_tui.widgets.hints import Hints
from flowforge_tui.widgets.table import Table
from tests.support.contrast import Pair, contrast, drawn, ratio
from tests.support.dashboard import QUICK, opened, settled
from tests.support.eventually import eventually
from tests.support.scenes import SCENES, Scene, staged
from tests.support.stage import capsule, having

OURS = [theme.name for theme in THEMES]
#: What is drawn on grounds of its own.
OWN = ("cursor", "here", "match")
#: Scenes in which Textual keeps what it has drawn when the theme changes.
KEPT = ("palette", "palette-ascii", "palette-found", "themes")
#: Scenes that show most styles between them; the thorough tests look at all.
FEW = ("runs", "run-failed", "ask-cancel")
#: ANSI's black on its white, or the other way round: a caret.
CARETS = ({0, 7}, {0, 15}, {7, 8}, {8, 15})


def least(theme: str) -> float:
    return 7 if theme.startswith("high-contrast") else 4.5


def faults(pairs: Iterable[Pair], theme: str) -> Iterator[str]:
    """Yield what cannot be read."""
    for text, colour, ground in pairs:
        if theme.startswith("ansi"):
            plain = colour.is_default or ground.is_default or {colour.number, ground.number} in CARETS
            if not plain or colour.triplet or ground.triplet:
                yield f"{theme}: '{text[:30]}' is {colour.name} on {ground.name}"
        elif (found := ratio(colour, ground)) < least(theme):
            yield f"{theme}: '{text[:30]}' is {colour.name} on {ground.name}, {found:.2f}"


async def looked_at(scene: Scene, themes: Iterable[str]) -> list[str]:
    """Return what cannot be read of a scene, in some themes."""
    found: list[str] = []
    if scene.name in KEPT:
        for theme in themes:
            async with staged(scene, theme=theme) as (app, _):
                found += faults(drawn(app), theme)
        return found
    async with staged(scene) as (app, pilot):
        for theme in themes:
            app.theme = theme
            await pilot.pause()
            await settled(pilot)
            found += faults(drawn(app), theme)
    return found


@pytest.mark.parametrize("scene", [scene for scene in SCENES if scene.name in FEW], ids=lambda scene: scene.name)
async def test_what_is_drawn_can_be_read_in_our_themes(scene: Scene):
    assert not await looked_at(scene, OURS)


@pytest.mark.thorough
@pytest.mark.timeout(900)
@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.name)
async def test_what_is_drawn_can_be_read_in_every_theme(scene: Scene):
    assert not await looked_at(scene, [*OURS, *BUILTIN_THEMES])


def poor(widget: Painted, base: Style, where: str, theme: str) -> Iterator[str]:
    for name in ("", *(name for name in NAMES if name not in OWN)):
        found = contrast(base + widget.brush(name))
        if found < least(theme):
            yield f"{name or 'text'} on {where}: {found:.2f}"


def test_every_state_is_drawn_in_a_style_that_is_looked_at_here():
    assert {look.style for look in LOOKS.values()} <= {*NAMES, ""}


@pytest.mark.parametrize("theme", OURS)
async def test_every_style_can_be_read_on_every_ground(theme: str):
    made = capsule()
    async with opened(having(made), options=replace(QUICK, theme=theme)) as (app, pilot):
        table = app.screen.query_one(Table)
        found = [
            *poor(table, table.ground, "a list", theme),
            *poor(table, table.ground + table.brush("cursor"), "its cursor", theme),
        ]
        for bar in (app.screen.query_one(Header), app.screen.query_one(Hints)):
            found += poor(bar, bar.ground, type(bar).__name__, theme)
        app.open_recording(made, "./one.ffz")
        await eventually(lambda: getattr(app.screen, "present", None) is not None)
        await settled(pilot)
        steps = app.screen.query_one(Timeline)
        for line in ("timeline--cursor", "timeline--cursor-dim"):
            found += poor(steps, steps.ground + steps.get_component_rich_style(line), line, theme)
        widgets: Any = app.screen.query("#head, #scrubber, #inspector-tabs, #inspector-lines, #tail-tabs")
        for widget in widgets:
            found += poor(widget, widget.rich_style, str(widget.id), theme)
        app.screen.inspect()
        await pilot.pause()
        tabs = app.screen.query_one("#inspector-tabs")
        found += poor(tabs, tabs.rich_style, "the tabs of the pane that has the focus", theme)
        assert not found, "; ".join(found)
