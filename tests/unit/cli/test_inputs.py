"""Reading what is typed."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from flowforge.errors import InputError, NotFound, UsageError
from flowforge.model.status import RunStatus
from flowforge_cli import inputs

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5", 5),
        ("1.5", 1.5),
        ("true", True),
        ("null", None),
        ('"5"', "5"),
        ("[1, 2]", [1, 2]),
        ('{"a": 1}', {"a": 1}),
        ("Ada", "Ada"),
        ("2026-01-01", "2026-01-01"),
        ("", ""),
        ("NaN", "NaN"),
    ],
)
def test_a_value_is_json_where_it_parses_and_text_elsewhere(text: str, value: object):
    """Nobody has to quote a word, and nobody gets text for a number."""
    assert inputs.json_or_text(text) == value


def test_dots_nest_and_later_values_win():
    """-i a.b=1 builds the mapping around it."""
    pairs = ["a.b=1", "a.c=x", "d=2", "d=3", "e=k=v"]
    assert inputs.run_input(pairs, None) == {"a": {"b": 1, "c": "x"}, "d": 3, "e": "k=v"}


def test_single_values_win_over_the_whole_input():
    """-i changes what --input gives."""
    assert inputs.run_input(["a=2"], '{"a": 1, "b": 1}') == {"a": 2, "b": 1}


def test_nothing_given_is_no_input():
    """The client decides what an absent input means."""
    assert inputs.run_input([], None) is None


@pytest.mark.parametrize("pair", ["a", "=1", "a..b=1", ".a=1"])
def test_a_value_without_a_name_is_refused(pair: str):
    """The error shows how it is written."""
    with pytest.raises(UsageError, match="is not name=value") as caught:
        inputs.run_input([pair], None)
    assert caught.value.hint is not None
    assert "-i" in caught.value.hint


def test_a_value_cannot_go_into_what_is_not_a_mapping():
    """a=1 and a.b=2 contradict each other."""
    with pytest.raises(UsageError, match="not a mapping"):
        inputs.run_input(["a=1", "a.b=2"], None)
    with pytest.raises(UsageError, match="is not one"):
        inputs.run_input(["a=1"], "[1]")


def test_an_input_comes_from_a_file_or_from_stdin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """@FILE and - read JSON."""
    path = tmp_path / "order.json"
    path.write_text('{"order": 7}')
    assert inputs.json_input(f"@{path}") == {"order": 7}
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"[1]")))
    assert inputs.json_input("-") == [1]


def test_an_input_that_is_not_json_says_where(tmp_path: Path):
    """The message names the file, the line and the column."""
    path = tmp_path / "order.json"
    path.write_text("{\n  'a': 1}")
    with pytest.raises(InputError, match=r"order\.json: the input is not JSON: .* line 2, column 3"):
        inputs.json_input(f"@{path}")
    with pytest.raises(NotFound, match="there is no file"):
        inputs.json_input(f"@{tmp_path / 'nothing.json'}")
    with pytest.raises(InputError, match="Is a directory"):
        inputs.json_input(f"@{tmp_path}")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("500ms", 0.5), ("30s", 30), ("1m30s", 90), ("2h", 7200), ("7d", 604800), ("1w", 604800), ("5", 5)],
)
def test_durations_are_written_as_people_do(text: str, seconds: float):
    """A bare number is seconds."""
    assert inputs.seconds(text) == seconds


@pytest.mark.parametrize("text", ["soon", "", "-5s", "5x", "1e3s", "9" * 60, "99999999d"])
def test_what_is_not_a_duration_is_refused(text: str):
    """Huge ones too: nobody waits for ten years."""
    with pytest.raises(UsageError):
        inputs.duration(text)


def test_a_moment_is_how_long_ago_or_a_time():
    """Relative and absolute times mean the same kind of thing."""
    assert inputs.moment("1h", NOW) == NOW - timedelta(hours=1)
    assert inputs.moment("2026-01-01T00:00:00Z", NOW) == datetime(2026, 1, 1, tzinfo=UTC)
    assert inputs.moment("2026-01-01T01:00:00+01:00", NOW) == datetime(2026, 1, 1, tzinfo=UTC)
    assert inputs.moment(None, NOW) is None
    with pytest.raises(UsageError, match="is not a time"):
        inputs.moment("yesterday", NOW)


def test_labels_are_pairs():
    """A value may hold an equals sign; a label needs a key."""
    assert inputs.labels(["region=eu", "q=a=b", "empty="]) == {"region": "eu", "q": "a=b", "empty": ""}
    with pytest.raises(UsageError, match="is not a label"):
        inputs.labels(["region"])


def test_statuses_have_short_words():
    """active is everything that has not ended, done is completed; misspellings are recognised."""
    assert inputs.statuses(["failed,done"]) == (RunStatus.FAILED, RunStatus.COMPLETED)
    assert RunStatus.PENDING in inputs.statuses(["active"])
    assert not any(status.final for status in inputs.statuses(["active"]))
    with pytest.raises(UsageError) as caught:
        inputs.statuses(["faild"])
    assert caught.value.hint == "did you mean 'failed'?"


def test_references_come_from_stdin_too(monkeypatch: pytest.MonkeyPatch):
    """- stands for the ids on stdin, each once."""
    monkeypatch.setattr("sys.stdin", io.StringIO("aaaa1111\nbbbb2222 aaaa1111\n"))
    assert inputs.references(["cccc", "-"]) == ["cccc", "aaaa1111", "bbbb2222"]
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    with pytest.raises(UsageError, match="no run is given"):
        inputs.references(["-"])


def test_an_input_that_never_ends_is_not_read_to_its_end(monkeypatch: pytest.MonkeyPatch):
    """A device or a pipe has no size to look at beforehand."""
    monkeypatch.setattr(inputs, "MOST", 1000)
    with pytest.raises(InputError, match="/dev/zero is larger than 1,000 bytes"):
        inputs.json_input("@/dev/zero")
