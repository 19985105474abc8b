"""The Explain pane: an explanation as lines, and the pane that asks for it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, cast
from uuid import UUID

from flowforge.model.explanation import Cause, CauseKind, Explanation, Holder, Subject, Weight
from flowforge_tui.run import explain
from flowforge_tui.run.explain import ExplainPane
from flowforge_tui.run.text import plain
from tests.support import orders
from tests.support.screens import on_screen, shown
from tests.support.watched import FakeClient

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
HELD = Cause(
    CauseKind.RUN_PAUSED,
    Subject("run", "c2"),
    "the oldest holder is paused",
    Weight.HELD,
    since=NOW - timedelta(hours=2),
    holders=(Holder("person", "alice\x1b[2J", since=NOW - timedelta(hours=2)),),
    command="flowforge resume c2",
)
GATE = Cause(
    CauseKind.GATE_FULL,
    Subject("gate", "orders/eu"),
    "100 of 100 places are taken, 3 ahead of it",
    Weight.WAITS,
    until=NOW + timedelta(minutes=5),
    because=(HELD,),
    behind=4,
)
EXPLANATION = Explanation(NOW, (GATE,), run=UUID(int=1), workflow="orders", version=1, status="pending")


def test_an_explanation_says_what_holds_it_up_who_and_what_to_do() -> None:
    text = plain(explain.lines(EXPLANATION.document()))
    assert "◷ WAITS   gate orders/eu" in text
    assert "in 5m00s" in text
    assert "↳ ■ HELD    run c2" in text
    assert "held by person alice" in text
    assert "4 steps wait behind it" in text
    assert text.count("flowforge resume c2") == 2
    assert "\x1b" not in text


def test_nothing_to_explain_is_said() -> None:
    text = plain(explain.lines(Explanation(NOW, ()).document()))
    assert text == "Nothing holds it up."


def test_an_explanation_can_be_shown_without_line_characters() -> None:
    assert plain(explain.lines(EXPLANATION.document(), unicode=False)).isascii()


async def test_the_pane_asks_and_says_when_it_cannot() -> None:
    order = orders.asking()
    client = FakeClient([order], explanation=EXPLANATION.document())
    pane = ExplainPane(cast("Any", client), order.run_id, watch=False)
    async with shown(pane) as pilot:
        await pane.action_ask()
        await pilot.pause()
        assert "100 of 100 places are taken" in on_screen(pilot.app)
        client.down = True
        await pane.action_ask()
        await pilot.pause()
        text = on_screen(pilot.app)
        assert "Postgres cannot be reached; trying again" in text
        assert "100 of 100 places are taken" in text
