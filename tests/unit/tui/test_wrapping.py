"""Lines of spans in a number of cells."""

from __future__ import annotations

import pytest

from flowforge_tui.run.text import Span, plain
from flowforge_tui.run.wrapping import Hung, cells, fitted, wrapped


def spans(*texts: str) -> list[Span]:
    return [Span(text, str(no)) for no, text in enumerate(texts)]


def test_a_word_that_begins_a_span_is_kept_whole():
    made = wrapped([spans("step.started ", "charge #1 ", "worker=w-vm-3763")], 30)
    assert plain(made) == "step.started charge #1\nworker=w-vm-3763"
    assert made[1][0].style == "2"


def test_what_goes_on_below_hangs_where_it_should():
    made = wrapped([Hung(spans("12:00:00 ", "one two three four")[:], 9)], 30 - 10)
    assert [line[0].text for line in made[1:]] == [" " * 6]
    assert plain(wrapped([spans("name  a long text")], 12, hang=4)) == "name  a long\n    text"


def test_a_line_goes_on_without_the_blank_at_which_it_was_broken():
    assert plain(wrapped([spans("asks finance:", " Pay 1024 EUR?")], 13)) == "asks finance:\nPay 1024 EUR?"


@pytest.mark.parametrize("width", [2, 3, 7, 20])
@pytest.mark.parametrize("text", ["x" * 50, "日本語のテキスト" * 4, "e\u0301" * 30, "a b  c" * 9, " " * 30])
def test_nothing_but_blanks_is_lost_and_nothing_is_too_long(text, width):
    made = wrapped([spans(text[:7], text[7:])], width)
    assert all(cells(line) <= width for line in made)
    assert plain(made).replace("\n", "").replace(" ", "") == text.replace(" ", "")


def test_a_line_that_is_too_long_says_that_it_was_cut():
    assert plain([fitted(spans("one ", "two three"), 8)]) == "one two…"
    assert cells(fitted(spans("one"), 8)) == 8
