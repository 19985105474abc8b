"""How values look, and what never reaches a terminal."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowforge_cli import text
from flowforge_cli.text import Row, Span

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("dirty", "clean"),
    [
        ("plain", "plain"),
        ("two\nlines\tand a tab", "two\nlines\tand a tab"),
        ("\x1b[31mred\x1b[0m", "[31mred[0m"),
        ("\x1b]52;c;ZXZpbA==\x07", "]52;c;ZXZpbA=="),
        ("\x9b31m", "31m"),
        ("over\rwritten", "overwritten"),
        ("abc\u202egpj.exe", "abcgpj.exe"),
        ("a\u2066b\u2069", "ab"),
        ("zero\u200bwidth\ufeff", "zerowidth"),
        ("nul\x00bell\x07back\x08", "nulbellback"),
        ("naïve – ✓ 漢字", "naïve – ✓ 漢字"),
    ],
)
def test_nothing_that_drives_a_terminal_is_left(dirty: str, clean: str):
    """C0 and C1 but newline and tab, and characters that reorder or hide text."""
    assert text.safe_text(dirty) == clean


@given(st.text())
def test_safe_text_is_safe_whatever_comes(dirty: str):
    """No control character but newline and tab survives, and cleaning twice changes nothing."""
    clean = text.safe_text(dirty)
    assert all(char in "\n\t" or (ord(char) >= 32 and not 127 <= ord(char) < 160) for char in clean)
    assert text.safe_text(clean) == clean


def test_long_data_is_cut():
    """One piece of data does not fill the terminal."""
    assert len(text.safe_text("x" * 100_000)) == text.CAP
    assert text.one_line("a\n  b\tc", 200) == "a b c"
    assert text.one_line("abcdef", 4) == "abc…"


@given(
    st.recursive(
        st.none() | st.text() | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_json_keeps_everything_and_drives_nothing(value: object):
    """What is unsafe is escaped, so that it is still there for programs."""
    printed = text.json_text(value)
    assert json.loads(printed) == value
    assert text.safe_text(printed, cap=len(printed) + 1) == printed


def test_json_escapes_what_json_would_let_pass():
    """C1 controls and BiDi marks are legal in JSON and not in terminals."""
    assert text.json_text({"a": "\x9b\u202e✓"}) == '{"a": "\\u009b\\u202e✓"}'
    assert text.json_text("\U000e0041") == '"\\udb40\\udc41"'


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0ms"),
        (0.0124, "12ms"),
        (0.9996, "1.0s"),
        (3.44, "3.4s"),
        (59.94, "59.9s"),
        (59.97, "1m00s"),
        (125, "2m05s"),
        (3600, "1h00m"),
        (11_520, "3h12m"),
        (354_000, "4d02h"),
        (-3, "0ms"),
    ],
)
def test_durations_have_about_three_digits(seconds: float, shown: str):
    """Short ones in milliseconds, long ones in days."""
    assert text.duration(seconds) == shown
    assert text.duration(timedelta(seconds=seconds)) == shown


def test_times_are_utc():
    """Wherever the machine is."""
    there = datetime.fromisoformat("2026-01-02T05:04:05.678+02:00")
    assert text.moment(there) == "2026-01-02 03:04:05Z"
    assert text.clock(there) == "03:04:05.678"
    assert text.duration(None) == text.age(None, NOW) == "-"


@pytest.mark.parametrize(("ago", "shown"), [(5, "5s"), (119, "119s"), (120, "2m"), (7200, "2h"), (260_000, "3d")])
def test_an_age_is_one_number(ago: int, shown: str):
    """It changes its unit at two of the next."""
    assert text.age(NOW - timedelta(seconds=ago), NOW) == shown


def test_short_ids_tell_the_runs_of_a_list_apart():
    """Ids of one moment begin alike, so the end is shown, and more of it where two ends are the same."""
    first = UUID("01900000-0000-7000-8000-0000aaaa1111")
    second = UUID("01900000-0000-7000-8000-0001aaaa1111")
    third = UUID("01900000-0000-7000-8000-0000aaaa2222")
    assert text.short_ids([first, third]) == {first: "aaaa1111", third: "aaaa2222"}
    assert text.short_ids([first, second]) == {first: "0aaaa1111", second: "1aaaa1111"}
    assert text.short_id(first) == "aaaa1111"


def test_states_are_glyph_and_word_in_two_alphabets():
    """Never colour alone, and never a glyph that the locale cannot show."""
    assert text.state("failed") == Span("✗ FAILED", "bad")
    assert text.state("failed", unicode=False).text == "x FAILED"
    assert text.state("unheard-of").text == "? UNHEARD-OF"
    assert all(look.ascii.isascii() for look in text.LOOKS.values())


def test_tables_are_aligned_by_what_is_seen():
    """Wide characters take two cells, combining ones none; a cell is one line."""
    rows: list[Row] = [[Span("漢字", "ok"), "x"], ["e\u0301", "two\nlines"], ["abcdef", ""]]
    lines = ["".join(span.text for span in line).rstrip() for line in text.table(("A", "B"), rows)]
    assert lines == ["A       B", "漢字    x", "e\u0301       two lines", "abcdef"]
