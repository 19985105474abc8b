"""Runs of other installations on a dashboard without servers: listed, opened, and never moved."""

from __future__ import annotations

from dataclasses import replace

from flowforge_tui.run.screen import RunScreen
from tests.support import orders
from tests.support.dashboard import QUICK, opened, question, screen_text, settled
from tests.support.eventually import eventually
from tests.support.fake_client import FakeClient
from tests.support.overviews import run_id, several
from tests.support.stage import FOREIGN, capsule, having


async def listed(app, pilot) -> None:
    await pilot.press("6")
    await eventually(lambda: getattr(app.screen, "here", lambda: None)() is not None)
    await settled(pilot)


async def test_an_imported_run_is_opened_as_it_was_and_nothing_can_be_done_to_it():
    client = having(capsule())
    async with opened(client) as (app, pilot):
        await listed(app, pilot)
        await pilot.press("enter")
        await eventually(lambda: isinstance(app.screen, RunScreen) and app.screen.present is not None)
        await settled(pilot)
        text = screen_text(app)
        assert "RECORDING" in text
        assert "charge_card" in text
        await pilot.press("x")
        await eventually(lambda: any("can only be looked at" in one.message for one in app._notifications))
        await pilot.press("g", "l")
        await eventually(lambda: "checked 3 items" in screen_text(app))
        await pilot.press("o")
        assert app.clipboard == f"flowforge show {FOREIGN}"
        assert client.asked == []


async def test_a_recording_of_a_run_that_went_on_stands_still():
    order = orders.begun()
    async with opened(having(capsule(order))) as (app, pilot):
        await listed(app, pilot)
        await pilot.press("enter")
        await eventually(lambda: isinstance(app.screen, RunScreen) and app.screen.present is not None)
        end = app.screen.present.end
        order.bench.after(seconds=60)
        app.screen.frame()
        assert app.screen.present.end == end


async def test_a_file_is_opened_at_once():
    client = FakeClient(several())
    client.capsules = {"./incident.ffz": capsule()}
    async with opened(client, options=replace(QUICK, first="./incident.ffz"), ready=False) as (app, _):
        await eventually(lambda: isinstance(app.screen, RunScreen) and app.screen.present is not None)
        assert app.screen.recorded


async def test_a_run_is_opened_at_once_and_one_that_is_not_there_is_said():
    for reference in ("00000028", "beef"):
        client = FakeClient(several())
        async with opened(client, options=replace(QUICK, first=reference), ready=False) as (app, _):
            if reference == "beef":
                await eventually(lambda: any("there is no run" in one.message for one in app._notifications))
            else:
                await eventually(lambda: isinstance(app.screen, RunScreen))
                assert app.screen.run_id == run_id(40)


async def test_an_imported_run_is_forgotten_when_that_is_confirmed():
    client = having(capsule())
    async with opened(client) as (app, pilot):
        await listed(app, pilot)
        await pilot.press("x")
        await question(app)
        await pilot.press("y")
        await eventually(lambda: client.asked == [("forget", str(FOREIGN))])


async def test_an_imported_run_is_explained_as_it_stood():
    async with opened(having(capsule())) as (app, pilot):
        app.open_reference(str(FOREIGN))
        await eventually(lambda: getattr(app.screen, "present", None) is not None)
        await settled(pilot)
        assert "explain" in screen_text(app).splitlines()[-1]
        await pilot.press("e")
        await eventually(lambda: "charge" in screen_text(app) and "Why" in screen_text(app))
