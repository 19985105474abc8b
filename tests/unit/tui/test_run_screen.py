"""The screen of one run, driven by its keys."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast
from uuid import UUID

import pytest
from textual.pilot import Pilot

from flowforge.model.explanation import Explanation
from flowforge.model.outcome import Completed
from flowforge_tui.run.screen import RunScreen
from flowforge_tui.run.tabs import Tabs
from flowforge_tui.run.tail import Tail
from tests.factories import step
from tests.support import orders
from tests.support.screens import on_screen, shown
from tests.support.watched import FakeClient, Watched, clock_of


class Seen:
    """A screen, the run it shows, and the person in front of it."""

    def __init__(self, pilot: Pilot[None], screen: RunScreen, order: Watched, client: FakeClient) -> None:
        self.pilot, self.screen, self.order, self.client = pilot, screen, order, client

    async def press(self, *keys: str) -> str:
        """Press keys; return what is on the screen then."""
        await self.pilot.press(*keys)
        await self.pilot.pause()
        return self.text

    async def look(self) -> str:
        """Let the screen look at the run, and time go on; return what is on the screen then."""
        await self.screen.look()
        await self.pilot.pause()
        self.screen.frame()
        await self.pilot.pause()
        return self.text

    @property
    def text(self) -> str:
        return on_screen(self.pilot.app)

    @property
    def cursor(self) -> str:
        return self.screen.selected_step or ""

    @property
    def on_top(self) -> str:
        """The kind of screen that is seen."""
        return type(self.pilot.app.screen).__name__


@asynccontextmanager
async def seeing(
    order: Watched, *others: Watched, size: tuple[int, int] = (120, 40), **how: Any
) -> AsyncIterator[Seen]:
    client = FakeClient([order, *others])
    screen = RunScreen(cast("Any", client), order.run_id, clock=clock_of(order), watch=False, **how)
    async with shown(screen, size) as pilot:
        one = Seen(pilot, screen, order, client)
        await one.look()
        yield one


# -- what it says -----------------------------------------------------------------------------------------------


async def test_a_run_that_cannot_be_read_says_why_and_recovers_by_itself() -> None:
    order = orders.begun()
    client = FakeClient([order], down=True)
    screen = RunScreen(cast("Any", client), order.run_id, clock=clock_of(order), watch=False)
    async with shown(screen) as pilot:
        seen = Seen(pilot, screen, order, client)
        assert "Postgres cannot be reached" in await seen.look()
        client.down = False
        text = await seen.look()
        assert "charge_card" in text
        assert "trying again" not in text


async def test_a_run_that_does_not_exist_is_said_to() -> None:
    client = FakeClient([])
    screen = RunScreen(cast("Any", client), UUID(int=7), watch=False)
    async with shown(screen) as pilot:
        await screen.look()
        await pilot.pause()
        assert "there is no run" in on_screen(pilot.app)


# -- cursor ---------------------------------------------------------------------------------------------------


async def test_the_cursor_begins_at_what_matters_and_moves() -> None:
    async with seeing(orders.failed()) as seen:
        assert seen.cursor == "charge_card"
        await seen.press("j")
        assert seen.cursor == "fraud_check"
        await seen.press("k", "up")
        assert seen.cursor == "reserve_stock"
        await seen.press("G")
        assert seen.cursor == "reserve_stock:compensate"
        await seen.press("g")
        assert seen.cursor == "validate"


async def test_the_cursor_stays_on_its_step_and_its_line_while_rows_come_and_go() -> None:
    async with seeing(orders.begun(), size=(120, 12)) as seen:
        await seen.press("G")
        before = next(no for no, line in enumerate(seen.text.splitlines()) if "send_email" in line)
        seen.screen._toggled |= {"label"}
        seen.screen.redraw()
        await seen.pilot.pause()
        after = next(no for no, line in enumerate(seen.text.splitlines()) if "send_email" in line)
        assert seen.cursor == "send_email"
        assert after == before


async def test_the_inspector_follows_the_cursor_and_its_tabs_the_keys() -> None:
    async with seeing(orders.failed()) as seen:
        assert "HTTP_503" in seen.text
        assert "next attempt after 2.0s" in await seen.press("left_square_bracket")
        text = await seen.press("right_square_bracket", "right_square_bracket")
        assert "- id: charge_card" in text
        assert "- id: validate" in await seen.press("g")


async def test_a_click_selects_a_step_and_another_opens_it() -> None:
    async with seeing(orders.begun()) as seen:
        table = seen.screen.timeline
        at = next(no for no, row in enumerate(table.rows) if row.key == "label")
        await seen.pilot.click(table, offset=(10, at + 1))
        assert seen.cursor == "label"
        assert "◦ [2]" not in seen.text
        await seen.pilot.click(table, offset=(10, at + 1))
        await seen.pilot.pause()
        assert "◦ [2]" in seen.text


async def test_tabs_can_be_clicked() -> None:
    async with seeing(orders.failed()) as seen:
        tabs = seen.screen.query_one("#inspector-tabs", Tabs)
        at = tabs.text.index("Code")
        await seen.pilot.click(tabs, offset=(at, 0))
        await seen.pilot.pause()
        assert "- id: charge_card" in seen.text


async def test_enter_opens_and_folds_what_is_inside() -> None:
    async with seeing(orders.begun()) as seen:
        seen.screen.timeline.go_to("label")
        assert "[1]" in await seen.press("enter")
        assert "◦ [1]" not in await seen.press("enter")


async def test_failures_only_can_be_asked_for_and_is_left_by_escape() -> None:
    async with seeing(orders.failed()) as seen:
        assert "validate" not in "\n".join((await seen.press("f")).splitlines()[2:8])
        assert "send_email" in await seen.press("escape")


# -- live -----------------------------------------------------------------------------------------------------


async def test_what_happens_is_shown_and_the_cursor_stays() -> None:
    async with seeing(orders.begun()) as seen:
        bench = seen.order.bench
        seen.screen.timeline.go_to("fraud_check")
        bench.claim("fraud_check")
        bench.after(seconds=1)
        bench.settle("fraud_check", Completed(None))
        text = await seen.look()
        assert "fraud_check #1" in text
        assert seen.cursor == "fraud_check"
        assert "✓ DONE" in next(line for line in text.splitlines() if "▌" in line)


async def test_bars_grow_with_the_time_though_nothing_happens() -> None:
    async with seeing(orders.begun()) as seen:
        before = seen.text
        seen.order.bench.after(seconds=30)
        seen.screen.frame()
        await seen.pilot.pause()
        assert seen.text != before


async def test_events_are_read_once() -> None:
    async with seeing(orders.begun()) as seen:
        asked = len([one for one in seen.client.asked if one == "get"])
        await seen.look()
        assert len([one for one in seen.client.asked if one == "get"]) == asked


async def test_a_paused_screen_does_not_move_until_it_goes_on() -> None:
    async with seeing(orders.begun()) as seen:
        assert "PAUSED" in await seen.press("p")
        seen.order.bench.cancel()
        assert "CANCELLED" not in await seen.look()
        text = await seen.press("p")
        assert "PAUSED" not in text
        assert "CANCELL" in await seen.look()


async def test_losing_the_servers_is_said_and_over_when_they_are_back() -> None:
    async with seeing(orders.begun()) as seen:
        seen.client.down = True
        assert "trying again" in await seen.look()
        seen.client.down = False
        assert "trying again" not in await seen.look()


async def test_servers_that_hang_are_said_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flowforge_tui.run.watched.SILENCE", 0)
    async with seeing(orders.begun()) as seen:
        answer = asyncio.Event()
        events = seen.client.events

        async def late(*asked: Any) -> Any:
            await answer.wait()
            return await events(*asked)

        seen.client.events = late  # type: ignore[method-assign,assignment]
        looking = asyncio.create_task(seen.screen.look())
        await asyncio.sleep(0)
        seen.screen.frame()
        await seen.pilot.pause()
        assert "! no answer for 0s; trying again" in seen.text
        answer.set()
        await looking
        await seen.pilot.pause()
        assert "no answer" not in seen.text


# -- time -----------------------------------------------------------------------------------------------------


async def test_every_pane_shows_the_past_and_escape_is_the_present() -> None:
    async with seeing(orders.failed()) as seen:
        text = await seen.press("less_than_sign", "full_stop", "full_stop", "full_stop")
        assert "PAST" in text
        assert "event 4 of" in text
        assert "FAILED" not in text
        assert "run.failed" not in text
        present = await seen.press("escape")
        assert "PAST" not in present
        assert "✗ FAILED" in present


async def test_a_step_back_and_one_forth_is_the_present_again() -> None:
    async with seeing(orders.failed()) as seen:
        assert "PAST" in await seen.press("comma")
        assert "PAST" not in await seen.press("full_stop")
        assert "PAST" in await seen.press("comma", "comma")
        assert "PAST" not in await seen.press("greater_than_sign")


async def test_the_past_stays_while_the_run_goes_on() -> None:
    async with seeing(orders.begun()) as seen:
        await seen.press("less_than_sign", "full_stop")
        seen.order.bench.cancel()
        text = await seen.look()
        assert "event 2 of" in text
        assert "CANCELL" not in text


# -- zoom -----------------------------------------------------------------------------------------------------


async def test_one_key_goes_through_the_zooms() -> None:
    async with seeing(orders.failed()) as seen:
        whole = seen.screen.timeline.window
        seen.screen.timeline.go_to("fraud_check")
        assert "zoom: step" in await seen.press("t")
        assert seen.screen.timeline.window.length < whole.length
        assert "zoom:" not in await seen.press("t")
        assert seen.screen.timeline.window == whole


async def test_plus_and_minus_zoom_and_arrows_move_within_the_run() -> None:
    async with seeing(orders.failed()) as seen:
        table = seen.screen.timeline
        whole = table.window
        await seen.press("plus", "plus")
        assert table.window.length == whole.length / 4
        await seen.press(*["right"] * 12)
        assert table.window.end == whole.end
        await seen.press("left")
        assert table.window.end < whole.end
        await seen.press("minus", "minus", "minus")
        assert table.window == whole


# -- events and logs --------------------------------------------------------------------------------------------


async def test_a_text_is_found_in_the_events_and_escape_ends_the_search() -> None:
    async with seeing(orders.failed()) as seen:
        await seen.press("slash", *"retrying", "enter")
        tail = seen.screen.query_one(Tail)
        assert len(tail.lines.found) == 3
        assert "3 found" in seen.text
        first = tail.lines.scroll_offset.y
        await seen.press("n")
        assert tail.lines.scroll_offset.y >= first
        assert "found" not in await seen.press("escape")


async def test_logs_are_those_of_the_step_then_of_all_then_events_again() -> None:
    async with seeing(orders.begun()) as seen:
        await seen.press("g")
        text = await seen.press("l")
        assert "checked 3 items" in text
        await seen.press("j")
        assert "checked 3 items" not in seen.text
        assert "-- validate #1" in await seen.press("l")
        assert "[Events]" in await seen.press("l")


async def test_the_events_follow_their_end_until_told_not_to() -> None:
    async with seeing(orders.failed()) as seen:
        lines = seen.screen.query_one(Tail).lines
        assert lines.is_vertical_scroll_end
        lines.focus()
        await seen.press("t", "g")
        assert lines.scroll_offset.y == 0
        await seen.press("t")
        assert lines.is_vertical_scroll_end


# -- panes ------------------------------------------------------------------------------------------------------


async def test_a_low_terminal_shows_the_inspector_when_it_is_asked_for() -> None:
    async with seeing(orders.failed(), size=(80, 18)) as seen:
        assert "503 Service Unavailable from payments.example" not in "\n".join(seen.text.splitlines()[3:])
        assert "503 Service Unavailable from payments.example" in await seen.press("enter")
        assert "503 Service Unavailable from" not in "\n".join((await seen.press("escape")).splitlines()[3:])


async def test_the_table_and_what_is_below_it_stay_where_they_are_while_one_looks_back() -> None:
    async with seeing(orders.failed()) as seen:
        await seen.press("comma")
        first = seen.text.splitlines()
        await seen.press("less_than_sign")
        last = seen.text.splitlines()
        assert first[3].startswith(" STEP")
        assert [line.index("STATE") for line in (first[3], last[3])] == [first[3].index("STATE")] * 2


async def test_panes_grow_over_the_table_and_shrink_again() -> None:
    async with seeing(orders.failed()) as seen:
        await seen.press("enter", "plus")
        assert not seen.screen.timeline.display
        await seen.press("underscore", "underscore")
        assert seen.screen.timeline.display


async def test_a_terminal_may_change_its_size_at_any_time() -> None:
    async with seeing(orders.begun()) as seen:
        for size in ((40, 10), (200, 60), (80, 24), (120, 40)):
            await seen.pilot.resize_terminal(*size)
            await seen.pilot.pause()
            assert seen.cursor == "charge_card"
        assert "charge_card" in seen.text


async def test_id_and_command_are_copied() -> None:
    async with seeing(orders.failed()) as seen:
        await seen.press("y")
        assert seen.pilot.app.clipboard == str(seen.order.run_id)
        await seen.press("o")
        assert seen.pilot.app.clipboard == f"flowforge show {seen.order.run_id}"
        await seen.press("comma", "o")
        assert "--at" in seen.pilot.app.clipboard


async def test_escape_leaves_at_last() -> None:
    async with seeing(orders.failed()) as seen:
        await seen.press("f", "comma", "escape", "escape")
        assert seen.on_top == "RunScreen"
        await seen.press("escape")
        assert seen.on_top != "RunScreen"


# -- elsewhere ----------------------------------------------------------------------------------------------------


async def test_the_explain_pane_opens_and_closes() -> None:
    async with seeing(orders.asking()) as seen:
        seen.client.explanation = Explanation(seen.order.bench.now, ()).document()
        await seen.press("e")
        assert seen.on_top == "ExplainPane"
        await seen.press("e")
        assert seen.on_top == "RunScreen"


async def test_a_run_is_compared_with_the_last_good_one() -> None:
    good = orders.good(UUID(int=2))
    async with seeing(orders.failed(), good) as seen:
        await seen.press("d")
        await seen.pilot.app.workers.wait_for_complete()
        await seen.pilot.pause()
        assert seen.on_top == "DiffScreen"
        await seen.pilot.pause()
        assert "fraud_check" not in await seen.press("f")
        await seen.press("escape")
        assert seen.on_top == "RunScreen"


async def test_hundreds_of_steps_are_moved_through() -> None:
    chain = [step("s0"), *(step(f"s{no}", f"s{no - 1}") for no in range(1, 400))]
    order = Watched({"name": "long-one", "concurrency": "unlimited", "steps": chain})
    async with seeing(order) as seen:
        await seen.press("pagedown", "pagedown", "j")
        assert seen.cursor in seen.text
        await seen.press("G")
        assert "s399" in seen.text
