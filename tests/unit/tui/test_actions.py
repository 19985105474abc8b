"""What operators do to runs, on a dashboard without servers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from textual.widgets import Button, Input, TextArea

from flowforge_tui.modals.command import refused
from flowforge_tui.modals.confirm import Confirm
from tests.support.dashboard import QUICK, opened, question, screen_text, settled
from tests.support.eventually import eventually
from tests.support.fake_client import FakeClient
from tests.support.overviews import incident, run_id, several, summary


def told(app) -> str:
    """Return what toasts say."""
    return " ".join(f"{one.title} {one.message}" for one in app._notifications)


async def go_to(app, pilot, number: int) -> None:
    """Put the cursor on a run."""
    app.screen.table.move(app.screen.book.find(run_id(number)))
    await pilot.pause()


async def ask(app, pilot, key: str) -> Any:
    """Press a key and wait for the question."""
    await pilot.press(key)
    return await question(app)


async def test_cancel_asks_with_the_safe_choice_in_focus_and_takes_a_reason():
    client = FakeClient(several())
    async with opened(client) as (app, pilot):
        await go_to(app, pilot, 30)
        asked = await ask(app, pilot, "x")
        assert asked.focused.id == "safe"
        assert "1 running step told to stop" in screen_text(app)
        asked.query_one("#reason", Input).value = "wrong data"
        await pilot.pause()
        await pilot.press("o")
        assert app.clipboard == f"flowforge cancel {run_id(30)} --reason 'wrong data'"
        await pilot.press("y")
        await eventually(lambda: client.asked)
        assert client.asked == [("cancel", run_id(30), "wrong data")]
        await eventually(lambda: "asked to stop" in told(app))


@pytest.mark.parametrize("key", ["enter", "escape", "q"])
async def test_the_safe_choice_changes_nothing(key):
    client = FakeClient(several())
    async with opened(client) as (app, pilot):
        await go_to(app, pilot, 30)
        await ask(app, pilot, "x")
        await pilot.press(key)
        await eventually(lambda: not isinstance(app.screen, Confirm))
        assert client.asked == []


async def test_retrying_one_failed_run_asks_nothing():
    client = FakeClient(several())
    async with opened(client) as (app, pilot):
        await go_to(app, pilot, 40)
        await pilot.press("r")
        await eventually(lambda: client.asked)
        assert client.asked == [("retry", run_id(40), None)]


async def test_what_cannot_be_done_is_said():
    client = FakeClient(several())
    async with opened(client) as (app, pilot):
        await go_to(app, pilot, 10)
        await pilot.press("r")
        await eventually(lambda: "only a failed or cancelled run can be retried" in told(app))
        assert client.asked == []


async def test_marked_runs_are_cancelled_together_and_those_that_ended_left_out():
    client = FakeClient(several())
    async with opened(client) as (app, pilot):
        app.screen.table.marks |= {run_id(10), run_id(20), run_id(30)}
        asked = await ask(app, pilot, "x")
        assert asked.question.title == "Cancel 2 runs?"
        assert "1 of 3 is left out: it is completed already." in asked.question.effects
        await pilot.press("y")
        await eventually(lambda: "2 runs: asked to stop" in told(app))
        assert {one[1] for one in client.asked} == {run_id(20), run_id(30)}
        assert not app.screen.table.marks


async def test_of_some_that_are_refused_one_is_explained_and_the_marks_stay():
    client = FakeClient(several())
    client.refuses.add(run_id(20))
    async with opened(client) as (app, pilot):
        app.screen.table.marks |= {run_id(20), run_id(30)}
        await ask(app, pilot, "x")
        await pilot.press("y")
        await eventually(lambda: "1 of 2: it was changed meanwhile; look again" in told(app))
        assert app.screen.table.marks


async def test_more_than_twenty_need_their_number():
    client = FakeClient([summary(no) for no in range(100, 121)])
    async with opened(client) as (app, pilot):
        app.screen.table.marks |= {run_id(no) for no in range(100, 121)}
        asked = await ask(app, pilot, "x")
        await pilot.press("y")
        assert asked.query_one("#act", Button).disabled
        asked.query_one("#number", Input).value = "21"
        await pilot.pause()
        await pilot.press("y")
        await eventually(lambda: len(client.asked) == 21)


async def test_replay_takes_a_step_and_an_edited_input():
    client = FakeClient(several())
    async with opened(client) as (app, pilot):
        await go_to(app, pilot, 40)
        asked = await ask(app, pilot, "R")
        asked.query_one("#from_step", Input).value = "charge_card"
        asked.query_one("#input", TextArea).text = '{"n": 2}'
        await pilot.pause()
        await pilot.press("y")
        await eventually(lambda: client.asked)
        assert client.asked == [("replay", run_id(40), "charge_card", {"n": 2})]


async def test_an_input_that_is_no_json_is_refused():
    client = FakeClient(several())
    async with opened(client) as (app, pilot):
        await go_to(app, pilot, 40)
        asked = await ask(app, pilot, "R")
        asked.query_one("#input", TextArea).text = "{"
        await pilot.press("y")
        await eventually(lambda: "the input is not JSON" in told(app))
        assert client.asked == []


@pytest.mark.parametrize(("key", "approved"), [("a", True), ("A", False)])
async def test_what_is_asked_is_decided(key, approved):
    client = FakeClient(several())
    async with opened(client) as (app, pilot):
        await go_to(app, pilot, 60)
        await ask(app, pilot, key)
        assert "Pay it?  (asks finance)" in screen_text(app)
        await pilot.press("y")
        await eventually(lambda: client.asked)
        assert client.asked == [("decide", run_id(60), "approve", approved, None)]


async def test_a_signal_is_sent_with_the_name_that_is_waited_for():
    client = FakeClient(several())
    async with opened(client) as (app, pilot):
        await go_to(app, pilot, 20)
        asked = await ask(app, pilot, "i")
        asked.query_one("#payload", TextArea).text = "[1]"
        await pilot.press("y")
        await eventually(lambda: client.asked)
        assert client.asked == [("signal", run_id(20), "start", [1])]


async def test_a_run_goes_on_without_a_step():
    client = FakeClient(several())
    async with opened(client) as (app, pilot):
        await go_to(app, pilot, 40)
        await ask(app, pilot, "w")
        await pilot.press("y")
        await eventually(lambda: client.asked)
        assert client.asked == [("skip", run_id(40), "charge_card", None)]


async def test_one_key_pauses_and_resumes():
    client = FakeClient(several())
    async with opened(client) as (app, pilot):
        await go_to(app, pilot, 30)
        await pilot.press("P")
        await eventually(lambda: client.asked == [("pause", run_id(30), None)])
        await go_to(app, pilot, 70)
        await pilot.press("P")
        await eventually(lambda: client.asked[-1] == ("resume", run_id(70), None))


@pytest.mark.parametrize("key", ["x", "r", "R", "P", "a", "A", "i", "w"])
async def test_nothing_can_be_changed_where_one_may_only_look(key):
    client = FakeClient(several())
    async with opened(client, options=replace(QUICK, read_only=True)) as (app, pilot):
        await go_to(app, pilot, 40)
        await pilot.press(key)
        await eventually(lambda: "read-only" in told(app))
        await settled(pilot)
        assert client.asked == []
        assert "READ ONLY" in screen_text(app)
        assert "cancel" not in screen_text(app).splitlines()[-1]


async def test_an_incident_is_resolved_with_what_was_done():
    client = FakeClient(several())
    client.open_incidents = [incident()]
    async with opened(client) as (app, pilot):
        await pilot.press("5")
        await eventually(lambda: getattr(app.screen, "here", lambda: None)() is not None)
        asked = await ask(app, pilot, "x")
        asked.query_one("#reason", Input).value = "called the provider"
        await pilot.press("y")
        await eventually(lambda: client.asked)
        assert client.asked == [("resolve_incident", 7, "called the provider")]


async def test_a_worker_is_drained_and_dead_letters_are_listed():
    client = FakeClient(several())
    async with opened(client) as (app, pilot):
        await pilot.press("3")
        await eventually(lambda: app.screen.query("#workers") and app.screen.worker() is not None)
        await pilot.press("j")
        await ask(app, pilot, "x")
        await pilot.press("y")
        await eventually(lambda: client.asked == [("drain", "w-1")])
        await pilot.press("D")
        await eventually(lambda: client.asked[-1] == ("dead_letters", "agents"))


@pytest.mark.parametrize(
    ("line", "may"),
    [
        ("ps --status failed", True),
        ("workflow ls", True),
        ("receipt key --rotate", False),
        ("cancel @", False),
        ("workflow publish a.yaml", False),
        ("top", False),
    ],
)
def test_where_one_may_only_look_commands_are_those_that_look(line, may):
    assert (refused(line.split(), read_only=True) is None) is may


async def test_a_command_is_run_and_at_stands_for_the_run(tmp_path):
    script = tmp_path / "cli.py"
    script.write_text("import sys; print('\\x1b[31mgot', *sys.argv[1:])")
    options = replace(QUICK, command=("python3", str(script)), verbs=("show",))
    async with opened(FakeClient(several()), options=options) as (app, pilot):
        await pilot.press("colon", *"show @", "enter")
        await eventually(lambda: f"got show {run_id(90)}" in screen_text(app))
        await pilot.press("escape")
        await eventually(lambda: getattr(app.screen, "VIEW", "") == "runs")
        await pilot.press("colon", *"incidents", "enter")
        await eventually(lambda: getattr(app.screen, "VIEW", "") == "incidents")


async def test_the_palette_names_what_can_be_done_here():
    async with opened(FakeClient(several())) as (app, pilot):
        await go_to(app, pilot, 40)
        titles = [command.title for command in app.get_system_commands(app.screen)]
        assert "Retry run 00000028 orders.fulfil" in titles
        assert not any(title.startswith("Cancel") for title in titles)
        app.screen.table.marks |= {run_id(20), run_id(30)}
        assert "Cancel all 2 marked runs" in [command.title for command in app.get_system_commands(app.screen)]


async def at_queues(app, pilot) -> None:
    """Go to the queues and wait until they are read."""
    await pilot.press("2")
    await eventually(lambda: app.screen.query("#queues") and app.screen.query_one("#queues").key is not None)


async def test_one_key_pauses_a_queue_and_resumes_it():
    client = FakeClient(several())
    async with opened(client) as (app, pilot):
        await at_queues(app, pilot)
        asked = await ask(app, pilot, "P")
        assert asked.question.title == "Pause queue agents?"
        assert asked.focused.id == "safe"
        asked.query_one("#reason", Input).value = "no model"
        await pilot.pause()
        await pilot.press("o")
        assert app.clipboard == "flowforge queue pause agents --reason 'no model'"
        await pilot.press("y")
        await eventually(lambda: client.asked == [("pause", "queue", "agents", "no model")])
        await eventually(lambda: "‖ PAUSED" in screen_text(app))
        assert "queue agents is PAUSED for 2h by alice: the provider is down" in screen_text(app)
        assert (await ask(app, pilot, "P")).question.title == "Resume queue agents?"
        await pilot.press("y")
        await eventually(lambda: client.asked[-1] == ("resume", "queue", "agents", None))


async def test_a_workflow_is_paused_from_the_list_of_runs_and_resumed_from_the_queues():
    client = FakeClient(several())
    async with opened(client) as (app, pilot):
        await go_to(app, pilot, 30)
        asked = await ask(app, pilot, "W")
        assert asked.query_one("#name", Input).value == "etl.nightly"
        await pilot.press("y")
        await eventually(lambda: client.asked == [("pause", "workflow", "etl.nightly", None)])
        await at_queues(app, pilot)
        asked = await ask(app, pilot, "W")
        asked.query_one("#name", Input).value = "etl.nightly"
        await pilot.press("y")
        await eventually(lambda: client.asked[-1] == ("resume", "workflow", "etl.nightly", None))


@pytest.mark.parametrize("key", ["P", "W"])
async def test_nothing_is_paused_where_one_may_only_look(key):
    client = FakeClient(several())
    async with opened(client, options=replace(QUICK, read_only=True)) as (app, pilot):
        await at_queues(app, pilot)
        await pilot.press(key)
        await eventually(lambda: "read-only" in told(app))
        assert client.asked == []
