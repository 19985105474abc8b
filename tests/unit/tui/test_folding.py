"""Large documents in the inspector: what is folded at first, and how it is opened and folded by keys and mouse."""

from __future__ import annotations

from flowforge_tui.run import payload
from flowforge_tui.run.document import Document
from flowforge_tui.run.folding import Folds, Handle
from flowforge_tui.run.source import Source
from flowforge_tui.run.text import plain
from tests.support import orders
from tests.unit.tui.test_run_screen import Seen, seeing

ITEMS = {"total": 3, "items": [{"id": no, "tags": {"a": [no], "b": "x" * 60}} for no in range(500)]}


def handles(lines) -> list[Handle]:
    return [line for line in lines if isinstance(line, Handle)]


def test_a_small_document_is_open():
    assert plain(payload.lines({"a": {"b": [1, {"c": None}]}})).count("▸") == 0


def test_what_is_large_is_folded_at_first_and_says_how_large_and_how_it_begins():
    text = plain(payload.lines(ITEMS))
    assert len(text.splitlines()) == 4
    assert '▸ "items": [{…}, {…}' in text
    assert "500 entries" in text


def test_entries_of_a_crowd_are_folded_and_more_of_them_come_when_asked_for():
    opened = payload.lines(ITEMS, Folds({("items",)}))
    assert len(handles(opened)) == 203
    rest = handles(opened)[-1]
    assert plain([rest]).strip() == "▸ … 300 more"
    more = payload.lines(ITEMS, Folds({("items",), rest.path}))
    assert plain([handles(more)[-1]]).strip() == "▸ … 100 more"
    assert '"id": 399' in plain(more)


def test_one_member_of_a_crowd_is_opened_alone():
    text = plain(payload.lines(ITEMS, Folds({("items",), ("items", 7)})))
    assert text.count('"tags": {\n') == 1


def test_the_rest_of_a_long_text_is_shown_when_asked_for():
    (line,) = handles(payload.lines({"text": "a" * 5_000}))[1:]
    assert "1,000 more characters" in plain([line])
    assert "more characters" not in plain(payload.lines({"text": "a" * 5_000}, Folds({line.path})))


def test_everything_can_be_open_or_folded():
    assert "▸" not in plain(payload.lines({"a": [[[[1] * 9] * 9] * 9]}, Folds(every=True)))
    assert plain(payload.lines({"a": {"b": [{}, {"c": 1}]}}, Folds(every=False))).count("▸") == 1


def read_again(seen: Seen) -> None:
    """Let the next look read the run although nothing has happened."""
    assert isinstance(seen.screen.source, Source)
    seen.screen.source._patience = 0


async def looking_at_items(seen: Seen) -> Document:
    """Let a step have a large output, and read on in it."""
    seen.order.outputs["validate"] = ITEMS
    read_again(seen)
    await seen.look()
    await seen.press("g", "enter")
    return seen.screen.inspector.lines


async def test_keys_open_fold_and_go_from_one_to_the_next():
    async with seeing(orders.failed()) as seen:
        lines = await looking_at_items(seen)
        assert lines.has_focus
        await seen.press("right", "right")
        assert lines.handle is not None
        assert lines.handle.path == ("items",)
        assert '"id": 7' not in seen.text
        assert '"id": 7' in await seen.press("enter")
        await seen.press("down", "down", "space")
        assert '"tags": {' in seen.text
        await seen.press("left", "left", "left", "left")
        assert lines.handle.path == ("items",)
        assert '"id": 7' not in await seen.press("left")


async def test_z_opens_everything_and_folds_it_again():
    async with seeing(orders.failed()) as seen:
        lines = await looking_at_items(seen)
        await seen.press("z", "G")
        assert "more" in lines.text
        assert '"tags": {' in lines.text
        await seen.press("z")
        assert '"tags": {' not in lines.text


async def test_a_click_opens_what_is_there():
    async with seeing(orders.failed()) as seen:
        lines = await looking_at_items(seen)
        at = next(no for no, line in enumerate(lines.text.splitlines()) if "500 entries" in line)
        await seen.pilot.click(lines, offset=(6, at))
        await seen.pilot.pause()
        assert '"id": 7' in seen.text
        assert lines.cursor == at


async def test_what_was_opened_stays_open_while_the_run_goes_on_and_on_coming_back():
    async with seeing(orders.failed()) as seen:
        lines = await looking_at_items(seen)
        await seen.press("right", "right", "enter")
        read_again(seen)
        assert '"id": 7' in await seen.look()
        await seen.press("escape", "j", "k")
        assert '"id": 7' in lines.text
