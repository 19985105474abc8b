"""The line of keys, and the list of them, offer what can be done here and now; a key that is withheld says why."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from flowforge_tui import keys
from tests.support.dashboard import QUICK, opened, screen_text, settled
from tests.support.eventually import eventually
from tests.support.fake_client import FakeClient
from tests.support.overviews import incident, run_id, several
from tests.support.stage import capsule

STEERING = {key.label for key in keys.EVERY if key.steers}
#: Of what changes something, what the last line of a run's screen calls it.
NAMED = ("retry", "cancel", "replay", "approve", "reject")


def full() -> FakeClient:
    """Return a client that has something for every screen."""
    client = FakeClient(several())
    client.open_incidents = [incident()]
    made = capsule()
    client.capsules = {str(made.run.id): made}
    return client


def bound(app: Any) -> set[str]:
    """Return what the keys of a screen do."""
    return {one.binding.description for one in app.screen.active_bindings.values()}


def named(app: Any) -> set[str]:
    """Return what the last line offers to do to a run."""
    return set(NAMED) & set(screen_text(app).splitlines()[-1].split())


def offers_answers(app: Any, *, expected: bool) -> bool:
    return (named(app) >= {"approve", "reject"}) is expected


def told(app: Any) -> str:
    return " ".join(one.message for one in app._notifications)


async def opened_run(app: Any, pilot: Any) -> None:
    await eventually(lambda: getattr(app.screen, "present", None) is not None)
    await settled(pilot)


async def test_a_recording_offers_nothing_that_would_move_it():
    client = full()
    async with opened(client) as (app, pilot):
        app.open_reference(str(capsule().run.id))
        await opened_run(app, pilot)
        assert not bound(app) & STEERING
        assert not named(app)
        await pilot.press("question_mark")
        await settled(pilot)
        assert "one event back" in screen_text(app)
        assert "retry" not in screen_text(app)


@pytest.mark.parametrize("key", ["r", "x", "R", "P", "a", "A", "i", "w", "W"])
async def test_a_key_that_a_recording_withholds_says_why(key: str):
    client = full()
    async with opened(client) as (app, pilot):
        app.open_reference(str(capsule().run.id))
        await opened_run(app, pilot)
        await pilot.press(key)
        await eventually(lambda: "can only be looked at" in told(app))
        assert client.asked == []


@pytest.mark.parametrize("view", ["1", "2", "3", "4", "5", "6", "run"])
async def test_where_one_may_only_look_no_screen_offers_a_change(view: str):
    async with opened(full(), options=replace(QUICK, read_only=True)) as (app, pilot):
        if view == "run":
            app.open_run(run_id(30))
            await opened_run(app, pilot)
        else:
            await pilot.press(view)
            await settled(pilot)
        assert not bound(app) & STEERING
        last = screen_text(app).splitlines()[-1]
        assert not {key.hint for key in keys.EVERY if key.steers and key.hint} & set(last.split())


async def test_a_key_that_is_bound_anew_says_why_too():
    options = replace(QUICK, read_only=True, keys={"cancel": "ctrl+x"})
    async with opened(full(), options=options) as (app, pilot):
        await pilot.press("ctrl+x")
        await eventually(lambda: "read-only" in told(app))


@pytest.mark.parametrize(
    ("number", "offered"),
    [
        (10, {"replay"}),
        (30, {"cancel", "replay"}),
        (40, {"retry", "replay"}),
        (60, {"cancel", "replay", "approve", "reject"}),
        (90, {"retry", "replay"}),
    ],
    ids=["completed", "running", "failed", "asking", "cancelled"],
)
async def test_a_run_offers_what_can_be_done_to_it(number: int, offered: set[str]):
    async with opened(full()) as (app, pilot):
        app.open_run(run_id(number))
        await opened_run(app, pilot)
        assert named(app) == offered


async def test_answers_are_offered_where_the_run_under_the_cursor_asks():
    async with opened(full()) as (app, pilot):
        for number, offered in ((60, True), (30, False)):
            app.screen.table.move(app.screen.book.find(run_id(number)))
            await settled(pilot)
            await eventually(partial(offers_answers, app, expected=offered))


@pytest.mark.parametrize("view", ["1", "5", "6"])
async def test_an_empty_list_offers_nothing_to_do_to_a_row(view: str):
    async with opened(FakeClient()) as (app, pilot):
        await pilot.press(view)
        await settled(pilot)
        assert not {"open", "mark", "explain", "resolve", "forget", *NAMED} & set(
            screen_text(app).splitlines()[-1].split()
        )
