"""Keys of the list of runs, on a dashboard without servers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from flowforge.errors import NotFound
from flowforge.model.status import RunStatus
from flowforge_tui.runs.screen import RunsScreen
from flowforge_tui.widgets.filter_line import FilterLine
from tests.support.dashboard import QUICK, opened, screen_text, settled
from tests.support.eventually import eventually
from tests.support.fake_client import FakeClient
from tests.support.overviews import run_id, several, summary


def number(app) -> Any:
    """Return the number of the run under the cursor."""
    return app.screen.table.key.int & 0xFFFF


def rows(app) -> list[str]:
    """Return the lines of the list, without the scroll bar."""
    return [line[:78] for line in screen_text(app).splitlines()[3:20]]


async def test_the_cursor_moves_by_letters_and_arrows():
    async with opened(FakeClient(several())) as (app, pilot):
        assert number(app) == 90
        await pilot.press("j", "down", "j")
        assert number(app) == 60
        await pilot.press("k", "up")
        assert number(app) == 80
        await pilot.press("G")
        assert number(app) == 10
        await pilot.press("g")
        assert number(app) == 90


async def test_the_cursor_stays_on_its_run_while_others_come():
    client = FakeClient(several())
    async with opened(client) as (app, pilot):
        await pilot.press("j", "j")
        assert number(app) == 70
        client.happens(summary(100), "workflow.created")
        await eventually(lambda: app.screen.book.known == 10)
        await settled(pilot)
        assert number(app) == 70
        assert app.screen.table.cursor == 3


async def test_at_the_top_one_stays_with_the_newest():
    client = FakeClient(several())
    async with opened(client) as (app, pilot):
        client.happens(summary(100), "workflow.created")
        await eventually(lambda: number(app) == 100)
        await pilot.press("g")


async def test_the_screen_stands_where_it_was_while_rows_come_above_it():
    client = FakeClient([summary(no) for no in range(100, 200)])
    async with opened(client, (80, 24)) as (app, pilot):
        await pilot.press("G")
        await settled(pilot)
        before = rows(app)
        client.happens(summary(300), "workflow.created")
        await eventually(lambda: app.screen.book.known == 101)
        await settled(pilot)
        assert rows(app) == before


async def test_a_run_that_changes_changes_in_its_place():
    client = FakeClient(several())
    async with opened(client) as (app, pilot):
        client.happens(summary(50, status="completed", seq=9, done=4), "workflow.completed")
        await eventually(lambda: app.screen.book.get(run_id(50)).done == 4)
        await settled(pilot)
        (line,) = [line for line in screen_text(app).splitlines() if "00000032" in line]
        assert "✓ DONE" in line
        assert "4/4" in line


async def test_a_filter_narrows_while_one_types_and_escape_takes_it_away():
    async with opened(FakeClient(several())) as (app, pilot):
        await pilot.press("slash")
        await pilot.press(*"flow:etl*")
        assert len(app.screen.book) == 1
        await pilot.press("enter")
        assert app.screen.table.has_focus
        await pilot.press("escape")
        assert len(app.screen.book) == 9
        assert app.screen.query_one(FilterLine).input.value == ""


async def test_the_cursor_is_in_sight_when_a_filter_that_left_little_is_taken_away():
    client = FakeClient(
        [*(summary(no) for no in range(100, 250)), summary(90, "etl.nightly"), summary(91, "etl.nightly")]
    )
    async with opened(client) as (app, pilot):
        await pilot.press("slash", *"flow:etl*", "enter")
        await pilot.press("j", "escape")
        await settled(pilot)
        assert number(app) == 90
        assert ">  ▶ RUNNING" in screen_text(app)


async def test_a_filter_asks_the_database_for_what_is_not_here():
    client = FakeClient(several())
    async with opened(client) as (app, pilot):
        client.known[run_id(1)] = summary(1, "old.flow", "failed")
        await pilot.press("slash", *"state:failed", "enter")
        await eventually(lambda: app.screen.book.get(run_id(1)))
        assert any(wanted.statuses == (RunStatus.FAILED,) for wanted in client.wanted)


async def test_a_wrong_filter_says_what_is_wrong_and_keeps_the_last():
    async with opened(FakeClient(several())) as (app, pilot):
        await pilot.press("slash", *"state:failed")
        await pilot.press(*",x")
        await settled(pilot)
        assert "'x' is not a status of runs" in screen_text(app)
        assert app.screen.book.query.text == "state:failed"
        assert len(app.screen.book) == 1


async def test_f_shows_failures_and_then_what_was_there():
    async with opened(FakeClient(several())) as (app, pilot):
        await pilot.press("f")
        assert len(app.screen.book) == 1
        await pilot.press("f")
        assert len(app.screen.book) == 9


async def test_n_goes_from_match_to_match():
    async with opened(FakeClient(several())) as (app, pilot):
        await pilot.press("n")
        assert number(app) == 50
        await pilot.press("n")
        assert number(app) == 40
        await pilot.press("N")
        assert number(app) == 50
        await pilot.press("slash", *"etl", "enter", "escape", "n")
        assert number(app) == 30


async def test_sorting_goes_from_column_to_column_and_turns_round():
    async with opened(FakeClient(several())) as (app, pilot):
        await pilot.press("s")
        assert (app.screen.book.by.key, number(app)) == ("state", 40)
        await pilot.press("S")
        assert number(app) == 10


async def test_a_click_on_a_title_sorts_and_one_on_a_row_chooses_it():
    async with opened(FakeClient(several())) as (app, pilot):
        await pilot.click("Table", offset=(28, 0))
        assert app.screen.book.by.key == "flow"
        await pilot.click("Table", offset=(20, 3))
        assert app.screen.table.cursor == 2


async def test_space_marks_and_escape_unmarks():
    async with opened(FakeClient(several())) as (app, pilot):
        await pilot.press("space", "space")
        assert len(app.screen.table.marks) == 2
        await settled(pilot)
        assert "2 marked" in screen_text(app)
        await pilot.press("escape")
        assert not app.screen.table.marks


async def test_p_holds_the_screen_still():
    client = FakeClient(several())
    async with opened(client) as (app, pilot):
        await pilot.press("p")
        await settled(pilot)
        assert "PAUSED" in screen_text(app)
        client.happens(summary(100), "workflow.created")
        await eventually(client.coming.empty)
        assert app.screen.book.known == 9
        await pilot.press("p")
        await eventually(lambda: app.screen.book.known == 10)


async def test_y_copies_the_id_and_o_the_command():
    async with opened(FakeClient(several())) as (app, pilot):
        await pilot.press("y")
        assert app.clipboard == str(run_id(90))
        await pilot.press("o")
        assert app.clipboard == f"flowforge show {run_id(90)}"


async def test_y_copies_the_ids_of_all_marked_runs():
    async with opened(FakeClient(several())) as (app, pilot):
        await pilot.press("space", "space", "y")
        assert app.clipboard == f"{run_id(90)} {run_id(80)}"
        assert any(one.message == "copied 2 ids" for one in app._notifications)


async def test_more_of_a_run_is_shown_step_by_step():
    async with opened(FakeClient(several())) as (app, pilot):
        await pilot.press("j", "j", "j", "j", "j", "plus")
        await settled(pilot)
        assert "look at the provider" in screen_text(app)
        await pilot.press("underscore")
        await settled(pilot)
        assert "look at the provider" not in screen_text(app)


@pytest.mark.parametrize(("key", "view"), [("2", "queues"), ("3", "queues"), ("4", "schedules"), ("5", "incidents")])
async def test_digits_lead_to_screens_and_q_back(key, view):
    async with opened(FakeClient(several())) as (app, pilot):
        await pilot.press(key)
        await pilot.pause()
        assert view == app.screen.VIEW
        if key == "3":
            assert app.screen.table.id == "workers"
        await pilot.press("q")
        assert isinstance(app.screen, RunsScreen)


async def test_brackets_turn_the_screens():
    async with opened(FakeClient(several())) as (app, pilot):
        await pilot.press("right_square_bracket")
        assert app.screen.VIEW == "queues"
        await pilot.press("left_square_bracket", "left_square_bracket")
        assert app.screen.VIEW == "imported"


async def test_ctrl_c_says_first_that_runs_keep_going():
    async with opened(FakeClient(several())) as (app, pilot):
        await pilot.press("ctrl+c")
        assert app.is_running
        assert any("runs keep going" in one.message for one in app._notifications)
        await pilot.press("ctrl+c")
        await eventually(lambda: not app.is_running)


async def test_q_at_the_root_quits_and_closes_the_client():
    client = FakeClient(several())
    async with opened(client) as (app, pilot):
        await pilot.press("q")
        await eventually(lambda: not app.is_running)
    assert client.closed


async def test_a_person_binds_keys_anew():
    options = replace(QUICK, keys={"down": "t"})
    async with opened(FakeClient(several()), options=options) as (app, pilot):
        await pilot.press("t")
        assert number(app) == 80
        await pilot.press("j")
        assert number(app) == 80


async def test_the_keys_of_a_view_are_shown():
    async with opened(FakeClient(several())) as (app, pilot):
        await pilot.press("question_mark")
        await pilot.pause()
        text = screen_text(app)
        assert "Keys of runs" in text
        assert "cancel" in text
        await pilot.press("escape")
        assert isinstance(app.screen, RunsScreen)


async def test_what_only_the_database_knows_is_asked_there_while_one_types():
    client = FakeClient(several())
    client.answers = {"replay_of": [run_id(30)]}
    async with opened(client) as (app, pilot):
        await pilot.press("slash", *"replay:@last")
        await eventually(lambda: len(app.screen.book) == 1)
        assert app.screen.book.key(0) == run_id(30)


async def test_a_filter_that_names_no_run_says_so_and_the_servers_are_not_to_blame():
    client = FakeClient(several())
    client.refuses_filter = NotFound("there is no run 'beef'")
    async with opened(client) as (app, pilot):
        await pilot.press("slash", *"replay:beef", "enter")
        await eventually(lambda: "there is no run 'beef'" in screen_text(app))
        assert app.live.postgres_error is None
