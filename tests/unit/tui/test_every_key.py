"""Every key is pressed on every screen that has it: what other files leave out; test_pressed.py holds the account."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from textual.command import CommandPalette
from textual.pilot import Pilot

from flowforge_tui.modals.letters import LettersModal
from flowforge_tui.modals.output import OutputModal
from flowforge_tui.run.diff import DiffScreen
from flowforge_tui.run.explain import ExplainPane
from flowforge_tui.run.screen import RunScreen
from flowforge_tui.runs.screen import RunsScreen
from flowforge_tui.widgets.preview import Preview
from tests.support import orders
from tests.support.dashboard import QUICK, opened, screen_text
from tests.support.eventually import eventually
from tests.support.fake_client import FakeClient
from tests.support.overviews import NOW, incident, run_id, several, summary, transport
from tests.support.stage import FOREIGN, capsule
from tests.unit.tui.test_run_screen import Seen, seeing

pytestmark = pytest.mark.thorough

DIGITS = {"runs": "1", "queues": "2", "workers": "3", "schedules": "4", "incidents": "5", "imported": "6"}


def full() -> FakeClient:
    """Return a client that has more of everything than a screen shows."""
    client = FakeClient([*several(), *(summary(no) for no in range(100, 160))])
    client.open_incidents = [incident(no) for no in range(60, 0, -1)]
    made = capsule()
    several_more = [replace(made, run=replace(made.run, id=UUID(int=FOREIGN.int - no))) for no in range(60)]
    client.capsules = {str(one.run.id): one for one in several_more}
    one = transport()
    queues = tuple(replace(one.queues[0], name=f"queue-{no:02}") for no in range(60))
    workers = tuple(replace(one.workers[0], id=f"w-{no:02}") for no in range(60))
    client.transports = [replace(one, queues=queues, workers=workers)]
    return client


async def go(app: Any, pilot: Pilot[None], view: str) -> None:
    """Go to a screen by its digit, and wait until it shows something."""
    await pilot.press(DIGITS[view])
    wanted = "queues" if view == "workers" else view
    await eventually(lambda: wanted == app.screen.VIEW and (view == "schedules" or app.screen.table.key is not None))
    await pilot.pause()


@asynccontextmanager
async def at(view: str, client: FakeClient | None = None) -> AsyncIterator[tuple[Any, Pilot[None]]]:
    """Open a dashboard on one of its screens."""
    async with opened(client or full()) as (app, pilot):
        await go(app, pilot, view)
        yield app, pilot


def shows(app: Any, screen: type[Any]) -> bool:
    return isinstance(app.screen, screen)


async def test_every_list_is_walked_by_its_keys():
    async with opened(full()) as (app, pilot):
        for view in ("runs", "queues", "workers", "incidents", "imported"):
            await go(app, pilot, view)
            table = app.screen.table
            last = len(table.rows) - 1
            one_by_one = [("j", 1), ("down", 2), ("k", 1), ("up", 0), ("G", last), ("g", 0), ("end", last), ("home", 0)]
            for press, expected in one_by_one:
                await pilot.press(press)
                assert table.cursor == expected, (view, press)
            for down, up in (("pagedown", "pageup"), ("ctrl+f", "ctrl+b")):
                await pilot.press(down)
                assert 1 < table.cursor < last, (view, down)
                await pilot.press(up)
                assert table.cursor == 0, (view, up)


async def test_enter_opens_what_is_under_the_cursor():
    shown = {"runs": RunScreen, "queues": LettersModal, "workers": RunScreen, "incidents": RunScreen}
    async with opened(full()) as (app, pilot):
        for view, screen in {**shown, "imported": RunScreen}.items():
            await go(app, pilot, view)
            await pilot.press("enter")
            await eventually(partial(shows, app, screen))
            await pilot.press("q")


async def test_name_and_command_are_copied():
    wanted = {
        "queues": ("queue-00", "flowforge worker start --queue queue-00"),
        "workers": ("w-00", "flowforge worker ls"),
        "schedules": ("flowforge run NAME", "flowforge run NAME"),
        "incidents": (str(run_id(40)), "flowforge incident show 60"),
        "imported": (str(FOREIGN), f"flowforge show {FOREIGN}"),
    }
    async with opened(full()) as (app, pilot):
        for view, copied in wanted.items():
            await go(app, pilot, view)
            for press, text in zip(("y", "o"), copied, strict=True):
                await pilot.press(press)
                assert app.clipboard == text


async def test_every_screen_is_left_by_escape_and_by_q():
    async with opened(full()) as (app, pilot):
        for view in ("queues", "workers", "schedules", "incidents", "imported"):
            for press in ("escape", "q"):
                await go(app, pilot, view)
                await pilot.press(press)
                assert isinstance(app.screen, RunsScreen)


# -- keys of one list ---------------------------------------------------------------------------------------------


async def test_explain_and_logs_of_the_run_under_the_cursor():
    async with opened(full(), options=replace(QUICK, command=("true",))) as (app, pilot):
        await pilot.press("e")
        await eventually(lambda: isinstance(app.screen, ExplainPane))
        await pilot.press("escape", "l")
        await eventually(lambda: isinstance(app.screen, OutputModal))
        assert app.screen.arguments == ["logs", str(run_id(159))]
        await eventually(lambda: "done; esc closes" in screen_text(app))


async def test_two_marked_runs_are_compared_and_one_is_not_enough():
    async with at("runs") as (app, pilot):
        await pilot.press("space", "d")
        assert app.screen.VIEW == "runs"
        await pilot.press("space", "d")
        await eventually(lambda: isinstance(app.screen, DiffScreen))
        assert app.screen.sides == (run_id(158), run_id(159))


async def test_both_keys_of_a_size_change_it():
    async with at("runs") as (app, pilot):
        panel = app.screen.query_one(Preview)
        heights = []
        for press in ("plus", "equals_sign", "minus", "underscore"):
            await pilot.press(press)
            heights.append(panel.styles.height.value)
        assert heights == [7, 13, 7, 2]


async def test_f_shows_resolved_incidents_too():
    client = full()
    client.open_incidents[0] = incident(99, resolved_at=NOW, resolved_by="alice", resolution="done")
    async with at("incidents", client) as (app, pilot):
        assert app.screen.table.rows.find(99) is None
        await pilot.press("f")
        await eventually(lambda: app.screen.table.rows.find(99) is not None)


async def test_e_explains_the_run_of_an_incident():
    async with at("incidents") as (app, pilot):
        await pilot.press("e")
        await eventually(lambda: isinstance(app.screen, ExplainPane))
        assert app.screen.run_id == run_id(40)


# -- keys everywhere ----------------------------------------------------------------------------------------------


async def test_a_digit_leads_to_imported_runs_and_one_back():
    async with at("imported") as (app, pilot):
        await pilot.press("6")
        assert app.screen.VIEW == "imported"
        await pilot.press("1")
        assert app.screen.VIEW == "runs"


async def test_the_palette_opens():
    async with at("runs") as (app, pilot):
        await pilot.press("ctrl+p")
        await eventually(lambda: isinstance(app.screen, CommandPalette))
        await pilot.press("escape")
        await eventually(lambda: isinstance(app.screen, RunsScreen))


async def test_everything_is_read_again():
    client = full()
    async with at("queues", client) as (_, pilot):
        before = len(client.wanted)
        await pilot.press("ctrl+r")
        await eventually(lambda: len(client.wanted) > before)


async def test_one_key_quits_wherever_one_is():
    async with at("incidents") as (app, pilot):
        await pilot.press("ctrl+q")
        await eventually(lambda: not app.is_running)


# -- keys of one run ----------------------------------------------------------------------------------------------


async def test_the_steps_of_a_run_are_walked_by_their_keys():
    async with seeing(orders.failed()) as seen:
        rows = [row.key for row in seen.screen.timeline.rows]
        for press, expected in [
            ("home", 0),
            ("down", 1),
            ("up", 0),
            ("end", -1),
            ("g", 0),
            ("pagedown", -1),
            ("pageup", 0),
        ]:
            await seen.press(press)
            assert seen.cursor == rows[expected], press
        for press, expected in [("ctrl+f", -1), ("ctrl+b", 0)]:
            await seen.press(press)
            assert seen.cursor == rows[expected], press


async def test_the_run_is_looked_at_when_one_asks():
    async with seeing(orders.failed()) as seen:
        before = seen.client.asked.count("events")
        await seen.press("ctrl+r")
        assert seen.client.asked.count("events") == before + 1


async def test_n_and_capital_n_go_from_match_to_match():
    async with seeing(orders.failed(), size=(120, 24)) as seen:
        await seen.press("slash", *"retrying", "enter", "g")
        lines = seen.screen.tail.lines
        await seen.press("n")
        first = lines.scroll_offset.y
        await seen.press("N")
        assert lines.scroll_offset.y > first > 0


async def test_q_leaves_a_run_at_once():
    async with seeing(orders.failed()) as seen:
        await seen.press("f", "comma", "q")
        assert seen.on_top != "RunScreen"


async def test_panes_have_both_keys_of_a_size():
    async with seeing(orders.failed()) as seen:
        await seen.press("enter", "equals_sign")
        assert seen.screen.has_class("-full")
        await seen.press("minus")
        assert not seen.screen.has_class("-full")


async def test_a_pane_of_lines_is_walked_by_its_keys():
    async with seeing(orders.failed(), size=(120, 24)) as seen:
        lines = seen.screen.tail.lines
        lines.focus()
        await seen.press("t", "g")
        for press, expected in [("j", 1), ("down", 2), ("k", 1), ("up", 0)]:
            await seen.press(press)
            assert lines.scroll_offset.y == expected, press
        for down, up in (("pagedown", "pageup"), ("ctrl+f", "ctrl+b"), ("G", "g"), ("end", "home")):
            await seen.press(down)
            assert lines.scroll_offset.y > 2
            await seen.press(up)
            assert lines.scroll_offset.y == 0


async def test_a_document_is_walked_by_its_keys():
    async with seeing(orders.failed(), size=(120, 24)) as seen:
        await seen.press("enter", "right_square_bracket")
        document = seen.screen.inspector.lines
        await seen.press("g")
        last = len(document._lines) - 1
        for press, expected in [
            ("j", 1),
            ("down", 2),
            ("k", 1),
            ("up", 0),
            ("G", last),
            ("home", 0),
            ("end", last),
            ("g", 0),
        ]:
            await seen.press(press)
            assert document.cursor == expected, press
        for down, up in (("pagedown", "pageup"), ("ctrl+f", "ctrl+b")):
            await seen.press(down)
            assert document.cursor > 2
            await seen.press(up)
            assert document.cursor == 0


# -- keys of a difference -----------------------------------------------------------------------------------------


async def differing(seen: Seen) -> DiffScreen:
    """Open the difference with the last good run."""
    await seen.press("d")
    await eventually(lambda: getattr(seen.pilot.app.screen, "found", None) is not None)
    await seen.pilot.pause()
    screen = seen.pilot.app.screen
    assert isinstance(screen, DiffScreen)
    return screen


async def test_a_difference_is_swapped_compared_again_and_copied():
    good = orders.good(UUID(int=2))
    async with seeing(orders.failed(), good) as seen:
        screen = await differing(seen)
        sides = screen.sides
        await seen.press("v")
        assert screen.sides == sides[::-1]
        before = seen.client.asked.count("diff")
        await seen.press("ctrl+r")
        await eventually(lambda: seen.client.asked.count("diff") > before)
        await seen.press("y")
        assert seen.pilot.app.clipboard == " ".join(str(one) for one in screen.sides)
        await seen.press("o")
        assert seen.pilot.app.clipboard.startswith("flowforge diff ")


async def test_a_difference_is_left_by_escape_and_by_q():
    async with seeing(orders.failed(), orders.good(UUID(int=2))) as seen:
        for press in ("escape", "q"):
            await differing(seen)
            await seen.press(press)
            assert seen.on_top == "RunScreen"


async def test_a_difference_is_walked_by_its_keys():
    async with seeing(orders.failed(), orders.good(UUID(int=2)), size=(120, 12)) as seen:
        lines = (await differing(seen)).query_one("#diff-lines")
        for press, expected in [("j", 1), ("down", 2), ("k", 1), ("up", 0)]:
            await seen.press(press)
            assert lines.scroll_offset.y == expected, press
        for down, up in (("pagedown", "pageup"), ("ctrl+f", "ctrl+b"), ("G", "g"), ("end", "home")):
            await seen.press(down)
            assert lines.scroll_offset.y > 2
            await seen.press(up)
            assert lines.scroll_offset.y == 0
