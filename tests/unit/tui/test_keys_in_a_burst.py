"""Keys that come faster than the screen follows: none is lost, doubled, or an answer to what nobody saw."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from textual import events
from textual.keys import _character_to_key
from textual.pilot import Pilot
from textual.widgets import Input

from flowforge_tui.modals.command import CommandModal
from flowforge_tui.run.screen import RunScreen
from flowforge_tui.runs.screen import RunsScreen
from flowforge_tui.widgets.filter_line import FilterLine
from tests.support.dashboard import opened, question
from tests.support.eventually import eventually
from tests.support.fake_client import FakeClient
from tests.support.overviews import run_id, several, summary
from tests.unit.tui.test_actions import go_to, told

NAMED = {"\x1b": "escape", "\r": "enter"}


class Slow(FakeClient):
    """A client that answers what is asked of one run only when it is let."""

    def __init__(self, *runs: Any) -> None:
        super().__init__(*runs)
        self.may = asyncio.Event()

    async def get(self, reference: Any) -> Any:
        await self.may.wait()
        return await super().get(reference)


def typed(text: str) -> Iterator[events.Key]:
    for one in text:
        yield events.Key(NAMED.get(one) or _character_to_key(one), one)


async def burst(pilot: Pilot[None], text: str) -> None:
    """Type everything at once, as a terminal does that was held up; go on when it has been handled."""
    app: Any = pilot.app
    for key in typed(text):
        app.post_message(key)
    await eventually(lambda: app._message_queue.empty() and not app.typeahead.busy)
    await pilot.pause()


async def test_a_filter_typed_at_once_is_the_filter():
    async with opened(FakeClient(several())) as (app, pilot):
        await burst(pilot, "/flow:etl*\r")
        assert app.screen.query_one(FilterLine).input.value == "flow:etl*"
        assert app.screen.table.has_focus
        assert len(app.screen.book) == 1


async def test_a_held_key_moves_as_often_as_it_came():
    async with opened(FakeClient([summary(no) for no in range(100, 200)])) as (app, pilot):
        await burst(pilot, "j" * 60)
        assert app.screen.table.cursor == 60
        await burst(pilot, "k" * 30 + "G" + "k" * 5)
        assert app.screen.table.cursor == 94


async def test_a_command_typed_at_once_is_the_command():
    async with opened(FakeClient(several())) as (app, pilot):
        await burst(pilot, ":incidents")
        assert isinstance(app.screen, CommandModal)
        assert app.screen.query_one(Input).value == "incidents"
        await burst(pilot, "\r")
        await eventually(lambda: getattr(app.screen, "VIEW", "") == "incidents")


async def test_enter_twice_opens_a_run_once():
    async with opened(FakeClient(several())) as (app, pilot):
        await burst(pilot, "\r\r")
        await eventually(lambda: isinstance(app.screen, RunScreen))
        await pilot.pause()
        assert [type(one) for one in app.screen_stack[1:]] == [RunsScreen, RunScreen]


async def test_what_is_typed_while_a_run_opens_is_for_that_run():
    async with opened(FakeClient(several())) as (app, pilot):
        await burst(pilot, "\r/late")
        await eventually(
            lambda: isinstance(app.screen, RunScreen) and app.screen.query_one("#find", Input).value == "late"
        )
        assert app.screen_stack[1].book.query.text == ""


async def test_cancel_twice_asks_once_and_neither_answers():
    client = FakeClient(several())
    async with opened(client) as (app, pilot):
        await go_to(app, pilot, 30)
        await burst(pilot, "xx")
        await question(app)
        await burst(pilot, "xx\x1b")
        await pilot.app.workers.wait_for_complete()
        assert isinstance(app.screen, RunsScreen)
        assert client.asked == []


async def test_cancel_twice_while_it_is_found_out_what_it_means_asks_once():
    client = Slow(several())
    async with opened(client) as (app, pilot):
        await go_to(app, pilot, 30)
        await burst(pilot, "x")
        await burst(pilot, "xx")
        client.may.set()
        await question(app)
        await burst(pilot, "n")
        await pilot.app.workers.wait_for_complete()
        assert isinstance(app.screen, RunsScreen)


@pytest.mark.parametrize("ahead", ["xy", "xyy", "xy\ry"])
async def test_a_yes_from_before_the_question_could_be_read_is_no_answer(ahead):
    client = FakeClient(several())
    async with opened(client) as (app, pilot):
        await go_to(app, pilot, 30)
        await burst(pilot, ahead)
        await pilot.pause()
        assert client.asked == []


async def test_yes_twice_does_it_once():
    client = FakeClient(several())
    async with opened(client) as (app, pilot):
        await go_to(app, pilot, 30)
        await pilot.press("x")
        await question(app)
        await burst(pilot, "yy")
        await eventually(lambda: "asked to stop" in told(app))
        assert client.asked == [("cancel", run_id(30), None)]


async def test_quitting_while_everything_loads():
    client = FakeClient(several())
    client.postgres_away = True
    async with opened(client) as (app, pilot):
        await burst(pilot, "jj/q\x1bq")
        await eventually(lambda: not app.is_running)
    assert client.closed


async def test_leaving_a_run_before_it_was_read():
    client = Slow(several())
    async with opened(client) as (app, pilot):
        await burst(pilot, "\rq")
        await eventually(lambda: isinstance(app.screen, RunsScreen))
        client.may.set()
        await burst(pilot, "j")
        assert app.screen.table.cursor == 1


async def test_a_storm_of_escapes_ends_at_the_list_and_does_not_quit():
    async with opened(FakeClient(several())) as (app, pilot):
        await burst(pilot, "f\r")
        await burst(pilot, "/x")
        await burst(pilot, "\x1b" * 12)
        await eventually(lambda: isinstance(app.screen, RunsScreen))
        assert app.is_running
        assert app.screen.book.query.text == ""
        await burst(pilot, "j")
        assert app.screen.table.cursor == 1


async def test_screens_in_a_burst_end_at_the_last():
    async with opened(FakeClient(several())) as (app, pilot):
        await burst(pilot, "2345" * 3 + "2")
        await eventually(lambda: getattr(app.screen, "VIEW", "") == "queues")
        assert len(app.screen_stack) == 3


async def test_keys_of_help_in_a_burst_open_it_once():
    async with opened(FakeClient(several())) as (app, pilot):
        await burst(pilot, "???")
        await burst(pilot, "\x1b")
        await eventually(lambda: isinstance(app.screen, RunsScreen))
