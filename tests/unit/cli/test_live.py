"""The table that keeps up with a run, on terminals of several sizes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from flowforge.model.text import width
from flowforge_cli import live
from tests.unit.cli.test_run_text import run


@pytest.mark.parametrize("room", [40, 60, 200])
def test_a_run_fits_the_terminal_and_keeps_states_and_cause(room: int):
    """However long the names of its steps are."""
    steps = tuple(replace(step, id=step.id * 5) for step in run().steps or ())
    text = live.screen(run(steps=steps), unicode=True, room=room, height=50).plain
    assert max(map(width, text.splitlines())) <= room
    for words in ("FAILED", "CANCELLED", "order@3", "HTTP_503", *(step.id for step in steps)):
        assert words in text


@pytest.mark.parametrize("height", [12, 24, 50])
def test_the_steps_that_matter_most_have_the_room_there_is(height: int):
    """The others are counted."""
    failed, cancelled = run().steps or ()
    many = tuple(replace(cancelled, id=f"step_{no}") for no in range(40))
    lines = live.screen(run(steps=(*many, failed)), unicode=True, room=40, height=height).plain.splitlines()
    assert len(lines) <= height
    assert "  reserve" in "\n".join(lines)
    assert any("more steps" in line for line in lines)
