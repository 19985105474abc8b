"""Every colour can be read on its ground, also under the cursor, in every theme of our own (WCAG 2: 4.5 to 1)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from rich.style import Style

from flowforge.model.text import LOOKS
from flowforge_tui.painting import NAMES, Painted
from flowforge_tui.run.timeline import Timeline
from flowforge_tui.themes import THEMES
from flowforge_tui.widgets.header import Header
from flowforge_tui.widgets.hints import Hints
from flowforge_tui.widgets.table import Table
from tests.support.dashboard import QUICK, opened, settled
from tests.support.eventually import eventually
from tests.support.fake_client import FakeClient
from tests.support.overviews import several
from tests.unit.tui.test_imported import capsule

ENOUGH = 4.5
#: What is drawn on grounds of its own.
OWN = ("cursor", "here", "match")


def luminance(colour: Any) -> float:
    parts = [part / 255 for part in colour.triplet]
    linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return float(0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2])


def contrast(style: Style) -> float:
    assert style.color is not None
    assert style.bgcolor is not None
    dark, light = sorted((luminance(style.color), luminance(style.bgcolor)))
    return (light + 0.05) / (dark + 0.05)


def poor(widget: Painted, base: Style, where: str) -> Iterator[str]:
    for name in ("", *(name for name in NAMES if name not in OWN)):
        found = contrast(base + widget.brush(name))
        if found < ENOUGH:
            yield f"{name or 'text'} on {where}: {found:.2f}"


def test_every_state_is_drawn_in_a_style_that_is_looked_at_here():
    assert {look.style for look in LOOKS.values()} <= {*NAMES, ""}


@pytest.mark.parametrize("theme", [theme.name for theme in THEMES])
async def test_every_colour_can_be_read(theme: str):
    client = FakeClient(several())
    made = capsule()
    client.capsules = {str(made.run.id): made}
    async with opened(client, options=replace(QUICK, theme=theme)) as (app, pilot):
        table = app.screen.query_one(Table)
        faults = [
            *poor(table, table.ground, "a list"),
            *poor(table, table.ground + table.brush("cursor"), "its cursor"),
        ]
        for bar in (app.screen.query_one(Header), app.screen.query_one(Hints)):
            faults += poor(bar, bar.ground, type(bar).__name__)
        app.open_recording(made, "./one.ffz")
        await eventually(lambda: getattr(app.screen, "present", None) is not None)
        await settled(pilot)
        steps = app.screen.query_one(Timeline)
        for line in ("timeline--cursor", "timeline--cursor-dim"):
            faults += poor(steps, steps.ground + steps.get_component_rich_style(line), line)
        for widget in app.screen.query("#head, #scrubber, #inspector-tabs, #inspector-lines, #tail-tabs"):
            faults += poor(widget, widget.rich_style, str(widget.id))
        app.screen.inspect()
        await pilot.pause()
        tabs = app.screen.query_one("#inspector-tabs")
        faults += poor(tabs, tabs.rich_style, "the tabs of the pane that has the focus")
        assert not faults, "; ".join(faults)
