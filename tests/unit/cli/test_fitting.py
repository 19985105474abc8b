"""Lines on terminals that are too narrow for them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowforge_cli import fitting
from flowforge_cli.text import Row, Span, safe_text, table, width

CELLS = st.text(st.sampled_from("ab漢é\u0301-{} "), max_size=60)
SPANS = st.lists(st.builds(Span, CELLS, st.sampled_from(["", "bad", "dim"])), min_size=1, max_size=6)


def plain(lines: list[list[Span]]) -> list[str]:
    """Return lines without their styles."""
    return ["".join(span.text for span in line).rstrip() for line in lines]


@given(SPANS, st.integers(20, 60))
def test_nothing_is_wider_than_the_room_and_nothing_is_lost(line: list[Span], room: int):
    """Of words, that is; where a line goes on, blanks are new."""
    lines = plain(fitting.fitted(line, room))
    assert max(map(width, lines)) <= room
    assert "".join("".join(lines).split()) == "".join("".join(span.text for span in line).split())


@given(st.lists(st.lists(CELLS, min_size=3, max_size=3), max_size=4), st.integers(20, 60))
def test_a_table_is_never_wider_than_the_room(rows: list[list[str]], room: int):
    """Every cell of it is there, beside or below."""
    given: list[Row] = [list(row) for row in rows]
    lines = [plain(fitting.fitted(line, room)) for line in table(("ONE", "TWO", "THREE"), given, indent="  ")]
    assert max(width(line) for made in lines for line in made) <= room
    for row, made in zip(rows, lines[1:], strict=True):
        said = "".join("".join(made).split())
        assert all("".join(safe_text(cell).split()) in said for cell in row if cell.strip() != "-")


@pytest.mark.parametrize(
    ("line", "lines"),
    [
        (["a word and another one"], ["a word and another", "    one"]),
        (["  input  ", "a word and another"], ["  input  a word and", "      another"]),
        (["  in  ", "a word and another"], ["  in  a word and", "      another"]),
        (["two 0123456789-0123456789"], ["two 0123456789-", "    0123456789"]),
        (["two 0123456789-012345678"], ["two", "0123456789-012345678"]),
        (["0-23456789abcdef01234567"], ["0-23456789abcdef0123", "    4567"]),
        (
            ["    try: ", "flowforge retry 1a2b3c4d"],
            ["    try:", "      flowforge \\", "          retry \\", "          1a2b3c4d"],
        ),
        (["漢字漢字漢字漢字漢字漢字"], ["漢字漢字漢字漢字漢字", "    漢字"]),
    ],
)
def test_a_line_goes_on_under_where_it_began(line: list[str], lines: list[str]):
    """Under its value if it has a label; a word is broken only where no line is long enough for it."""
    assert plain(fitting.fitted([Span(text) for text in line], 20)) == lines


def test_a_table_folds_its_last_columns():
    """With their titles, and without those that say nothing; its last one goes on in its column if that has room."""
    rows: list[Row] = [["orders", "12", "-", "no worker has taken it for a while"], ["x", "1", "", ""]]
    wide = table(("QUEUE", "DEPTH", "OLDEST", "NOTE"), rows)
    assert plain([part for line in wide for part in fitting.fitted(line, 50)]) == [
        "QUEUE   DEPTH  OLDEST  NOTE",
        "orders  12     -       no worker has taken it for",
        "                       a while",
        "x       1",
    ]
    assert plain([part for line in wide for part in fitting.fitted(line, 20)]) == [
        "QUEUE   DEPTH",
        "orders  12",
        "    note no worker",
        "    has taken it for",
        "    a while",
        "x       1",
    ]


def test_a_drawing_ends_where_the_room_ends():
    """Its lines cannot go on below each other."""
    assert fitting.cut("├─● step (漢字漢字)", 12) == "├─● step (…"
    assert fitting.cut("short", 12) == "short"


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("next: flowforge ps", ["next: flowforge ps"]),
        (
            "\nnext: flowforge explain 1a2b3c4d · flowforge retry 1a2b3c4d --from charge",
            ["\nnext:", "  flowforge explain 1a2b3c4d", "  flowforge retry 1a2b3c4d \\", "      --from charge"],
        ),
        (
            "  next: flowforge explain 1a2b3c4d · flowforge ps",
            ["  next:", "    flowforge explain 1a2b3c4d", "    flowforge ps"],
        ),
        ("what comes next: nobody knows it", ["what comes next: nobody knows it"]),
    ],
)
def test_commands_to_copy_have_a_line_each(text: str, lines: list[str]):
    """And those that are longer go on as a shell wants it."""
    assert fitting.advice(text, 30) == lines
