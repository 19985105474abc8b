"""What is written where, and how."""

from __future__ import annotations

import io
import logging
import sys

import pytest

from flowforge_cli import render
from flowforge_cli.masking import masked
from flowforge_cli.text import Span


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def terminal(monkeypatch: pytest.MonkeyPatch, **variables: str) -> Terminal:
    """Make stdout a terminal, in an environment of these variables only."""
    for name in ("NO_COLOR", "TERM", "LC_ALL", "LC_CTYPE", "LANG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    one = Terminal()
    monkeypatch.setattr(sys, "stdout", one)
    return one


def test_colour_is_for_terminals(monkeypatch: pytest.MonkeyPatch):
    """Styles become colours, and cannot come from the data."""
    screen = terminal(monkeypatch)
    render.out([Span("bad \x1b[32m", "bad"), " news"])
    assert screen.getvalue() == "\x1b[31;1mbad [32m\x1b[0m news\n"


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_colour_can_be_declined(name: str, value: str, monkeypatch: pytest.MonkeyPatch):
    """NO_COLOR and TERM=dumb are respected."""
    screen = terminal(monkeypatch, **{name: value})
    render.out([Span("bad", "bad")])
    assert screen.getvalue() == "bad\n"


def test_a_pipe_gets_data_on_stdout_and_words_on_stderr(capsys: pytest.CaptureFixture[str]):
    """Nothing else is mixed into the data, and nothing moves."""
    render.out("data")
    render.say("words")
    render.hint("hint")
    render.progress("50 %")
    render.progress_done()
    render.document({"schema": "x", "at": None})
    render.json_line([1])
    assert capsys.readouterr() == ('data\n{"schema": "x", "at": null}\n[1]\n', "words\nhint\n")


@pytest.mark.parametrize("count", [0, 1, 3])
@pytest.mark.parametrize("tail", [{}, {"after": "x"}], ids=str)
@pytest.mark.parametrize("on_terminal", [False, True])
def test_a_list_in_parts_is_the_document_of_all_of_it(
    count: int, tail: dict[str, str], on_terminal: bool, monkeypatch: pytest.MonkeyPatch
):
    """To the letter, indented on a terminal and not elsewhere; an empty list is `[]`."""
    screens = []
    items = [{"no": no, "in": [no, {"deep": "\n"}]} for no in range(count)]
    head = {"schema": "x", "more": {"y": []}}
    for parts in (None, [items[:1], items[1:]], [[], items]):
        screen = Terminal() if on_terminal else io.StringIO()
        monkeypatch.setattr(sys, "stdout", screen)
        if parts is None:
            render.document({**head, "runs": items, **tail})
        else:
            written = render.ListDocument(head, "runs")
            for part in parts:
                written.add(part)
            written.end(tail)
        screens.append(screen.getvalue())
    assert screens == [screens[0]] * 3


def test_a_long_table_is_written_in_parts(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    """With one header; a column does not become narrower again."""
    monkeypatch.setattr(render, "TOGETHER", 2)
    render.table(("A", "B"), ([name, "x"] for name in ("a", "bbb", "cc", "dddd", "e")))
    assert capsys.readouterr().out.splitlines() == ["A    B", "a    x", "bbb  x", "cc    x", "dddd  x", "e     x"]


@pytest.mark.parametrize(
    ("variables", "shown"),
    [
        ({}, True),
        ({"LANG": "de_DE.UTF-8"}, True),
        ({"LC_ALL": "C"}, False),
        ({"LC_ALL": "C", "LANG": "C.UTF-8"}, False),
        ({"LANG": "POSIX"}, False),
        ({"LANG": "de_DE.ISO-8859-1"}, False),
    ],
)
def test_glyphs_need_a_locale_that_has_them(variables: dict[str, str], shown: bool, monkeypatch: pytest.MonkeyPatch):
    """The first of LC_ALL, LC_CTYPE and LANG decides."""
    terminal(monkeypatch, **variables)
    assert render.unicode() is shown


def test_logs_are_harmless_lines(capsys: pytest.CaptureFixture[str]):
    """A step's output may end up in a log message; a traceback is for those who asked."""
    render.log_to_stderr("info", tracebacks=False)
    log = logging.getLogger("flowforge.test")
    try:
        log.info("step said \x1b]0;owned\x07")
        log.debug("nothing")
        log.error("it failed", exc_info=ValueError("why"))
        said = capsys.readouterr().err
        assert "INFO    step said ]0;owned\n" in said
        assert said.endswith("ERROR   it failed\n  ValueError: why\n")
        assert "nothing" not in said
    finally:
        for name in ("flowforge", "flowforge_streams"):
            logger = logging.getLogger(name)
            logger.handlers.clear()
            logger.setLevel(logging.NOTSET)
            logger.propagate = True


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("postgresql://ada:s3cret@db/flow", "postgresql://ada:***@db/flow"),
        ("redis://:s3cret@host:6379/0", "redis://:***@host:6379/0"),
        ("postgresql://ada:p@ss@db/flow", "postgresql://ada:***@db/flow"),
        ("postgresql:///flow?user=ada&password=s3cret&host=/tmp", "postgresql:///flow?user=ada&password=***&host=/tmp"),
        ("host=db password='s3 cret' user=ada", "host=db password=*** user=ada"),
        ("host=db user=ada", "host=db user=ada"),
    ],
)
def test_passwords_are_never_shown(address: str, shown: str):
    """In a URL, in its parameters, in a connection string."""
    assert masked(address) == shown
