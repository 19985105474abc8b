"""Every screen in every state looks as it was last looked at: one file a scene, with the screen at each size.

After a change that is meant to be seen, `SNAPSHOTS=write pytest tests/unit/tui/test_gallery.py` writes the files anew;
read what `git diff` then shows.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.contrast import drawn
from tests.support.dashboard import SNAPSHOTS, matches, screen_text, settled
from tests.support.scenes import SCENES, Scene, Size, staged

GALLERY = [pytest.param(one, id=one.name, marks=() if one.fast else pytest.mark.thorough) for one in SCENES]


def picture(app: Any, size: Size) -> str:
    """Return a screen under a line that says how wide and how high it is."""
    title = f" {size[0]}x{size[1]} "
    return f"{title:=^{size[0]}}\n{screen_text(app)}"


@pytest.mark.parametrize("scene", GALLERY)
async def test_a_screen_looks_as_it_did(scene: Scene):
    pictures = []
    async with staged(scene, scene.sizes[0]) as (app, pilot):
        for size in scene.sizes:
            if app.size != size:
                await pilot.resize_terminal(*size)
                await settled(pilot)
            pictures.append(picture(app, size))
            assert app.unicode or screen_text(app).isascii()
    matches(scene.name, "".join(pictures))


async def test_without_colours_the_same_can_be_read(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("NO_COLOR", "1")
    scene = next(one for one in SCENES if one.name == "runs")
    async with staged(scene, scene.sizes[0]) as (app, _):
        assert picture(app, scene.sizes[0]) in (SNAPSHOTS / "runs.txt").read_text(encoding="utf-8")
        colours = {colour.triplet for pair in drawn(app) for colour in (pair.colour, pair.ground)}
        assert all(one is not None and one.red == one.green == one.blue for one in colours)


def test_every_picture_that_is_kept_is_of_a_scene():
    assert {file.stem for file in SNAPSHOTS.iterdir()} == {scene.name for scene in SCENES}
