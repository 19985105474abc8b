"""What screens say when servers go away, terminals are small, or data would do harm."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.support.dashboard import QUICK, opened, question, screen_text, settled
from tests.support.eventually import eventually
from tests.support.fake_client import FakeClient
from tests.support.overviews import error, incident, run_id, several, summary


async def test_without_unicode_there_is_only_ascii():
    options = replace(QUICK, unicode=False)
    runs = [*several(), summary(100, "größe.日本", status="failed", error=error(message="naïve"))]
    async with opened(FakeClient(runs), (120, 30), options) as (app, pilot):
        await settled(pilot)
        text = screen_text(app)
        assert "x FAILED" in text
        assert "gr??e" in text
        await pilot.press("R")
        await eventually(lambda: app.screen.query("#act"))
        await settled(pilot)
        assert screen_text(app).isascii()


async def test_what_would_drive_a_terminal_or_is_markup_is_shown_and_does_nothing():
    evil = "\x1b[2J\x1b]52;c;eA==\x07[red]bold[/red] [link=x]\u202e"
    runs = [summary(1, f"flow{evil}", "failed", error=error(step=evil, message=evil), labels={evil: evil})]
    async with opened(FakeClient(runs), (160, 40)) as (app, pilot):
        await pilot.press("plus")
        await settled(pilot)
        text = screen_text(app)
        assert "[red]bold[/red]" in text
        assert not any((ord(char) < 32 and char != "\n") or char == "\u202e" for char in text)
        await pilot.press("y", "o")
        await pilot.press("R")
        await eventually(lambda: app.screen.query("#act"))
        await settled(pilot)
        assert "[red]bold[/red]" in screen_text(app)


async def test_postgres_goes_away_and_comes_back():
    client = FakeClient(several())
    async with opened(client) as (app, pilot):
        client.postgres_away = True
        await eventually(lambda: app.live.postgres_error is not None)
        await settled(pilot)
        assert "pg 18.4 DOWN, reconnecting" in screen_text(app)
        assert "orders.fulfil" in screen_text(app)
        client.postgres_away = False
        client.known[run_id(100)] = summary(100)
        await eventually(lambda: app.screen.book.get(run_id(100)))
        await eventually(lambda: app.live.postgres_error is None)


async def test_the_stream_server_goes_away_and_runs_are_still_followed():
    client = FakeClient(several())
    async with opened(client) as (app, pilot):
        client.streams_away = True
        await eventually(lambda: app.live.streams_error is not None)
        await settled(pilot)
        assert "redis 9.1.2 DOWN, reconnecting" in screen_text(app)
        client.known[run_id(100)] = summary(100)
        await eventually(lambda: app.screen.book.get(run_id(100)))
        client.streams_away = False
        await eventually(lambda: app.live.streams_error is None)


async def test_a_dashboard_that_starts_without_servers_waits_for_them():
    client = FakeClient(several())
    client.postgres_away = True
    async with opened(client) as (app, _pilot):
        assert "connecting" in screen_text(app) or "DOWN" in screen_text(app)
        client.postgres_away = False
        await eventually(lambda: app.screen.book.known == 9)


@pytest.mark.parametrize("theme", ["high-contrast", "high-contrast-light", "ansi-dark", "textual-light"])
async def test_every_state_has_a_word_in_every_theme(theme):
    async with opened(FakeClient(several()), options=replace(QUICK, theme=theme)) as (app, _pilot):
        text = screen_text(app)
        for word in ("DONE", "FAILED", "RUNNING", "RETRYING", "WAITING", "PAUSED", "PENDING", "CANCELLED"):
            assert word in text


async def test_a_question_shows_its_choices_however_little_room_there_is():
    async with opened(FakeClient(several()), (40, 10)) as (app, pilot):
        app.screen.table.marks |= {run_id(20), run_id(30), run_id(10)}
        await pilot.press("x")
        await question(app)
        await settled(pilot)
        assert "Keep running" in screen_text(app)
        assert "Cancel (y)" in screen_text(app)


@pytest.mark.parametrize(("key", "shown"), [("5", "orders.fulfil"), ("3", "w-2")])
async def test_a_list_is_seen_however_little_room_there_is(key, shown):
    client = FakeClient(several())
    client.open_incidents = [incident()]
    async with opened(client, (60, 12)) as (app, pilot):
        await pilot.press(key)
        await eventually(lambda: app.screen.VIEW != "runs" and app.screen.table.key is not None)
        await settled(pilot)
        assert any(line.startswith(">") and shown in line for line in screen_text(app).splitlines())


async def test_of_a_run_that_went_well_another_ones_failure_is_told_as_that():
    async with opened(FakeClient(several())) as (app, pilot):
        await pilot.press("G")
        await settled(pilot)
        assert "✗ last failure: orders.fulfil 00000028, charge_card attempt 4" in screen_text(app)


async def test_a_wrong_filter_has_the_room_that_it_needs():
    async with opened(FakeClient(several()), (80, 24)) as (app, pilot):
        await pilot.press("slash", *"state:faild")
        await settled(pilot)
        assert "'faild' is not a status of runs; did you mean" in screen_text(app)


async def test_where_one_may_only_look_the_keys_are_those_that_look():
    async with opened(FakeClient(several()), options=replace(QUICK, read_only=True)) as (app, pilot):
        await pilot.press("question_mark")
        await settled(pilot)
        assert "filter" in screen_text(app)
        assert "cancel" not in screen_text(app)


@pytest.mark.parametrize("view", ["1", "2", "4", "5", "6"])
async def test_the_key_that_leads_to_all_others_is_always_named(view):
    async with opened(FakeClient(several()), (60, 20)) as (app, pilot):
        await pilot.press(view)
        await settled(pilot)
        assert screen_text(app).splitlines()[-1].endswith("? keys")


async def test_any_size_will_do():
    async with opened(FakeClient(several()), (80, 24)) as (app, pilot):
        for width, height in ((20, 5), (200, 60), (1, 1), (80, 24)):
            await pilot.resize_terminal(width, height)
            await settled(pilot)
        assert "orders.fulfil" in screen_text(app)
