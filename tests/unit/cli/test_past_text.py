"""Where time went, and what differs, as lines."""

from datetime import UTC, datetime, timedelta

import pytest

from flowforge.errors import UsageError
from flowforge.model.changes import Change
from flowforge.model.comparing import compare
from flowforge.model.outcome import Completed
from flowforge_cli import diff_text, inputs, past_text
from tests.factories import chain
from tests.support.capsules import capsule
from tests.unit.cli.test_run_text import plain
from tests.unit.decisions.bench import Bench

CREATED = datetime(2026, 1, 1, 23, 59, 58, tzinfo=UTC)
NOW = datetime(2026, 1, 3, tzinfo=UTC)


def slow() -> Bench:
    """Return a run of two steps of which the first queued."""
    bench = Bench(chain(2))
    bench.after(seconds=1.1)
    bench.claim("a0")
    bench.after(seconds=9)
    bench.settle("a0", Completed(None))
    bench.claim("a1")
    bench.after(milliseconds=12)
    bench.settle("a1", Completed(None))
    return bench


def test_the_ledger_is_one_line_and_so_is_the_path():
    assert plain(past_text.ledger_lines(capsule(slow()).phases())) == (
        "  went to  queue 1.1s · execution 9.0s\n  path     a0 > a1"
    )


def test_the_ledger_of_each_step_is_a_table():
    assert plain(past_text.ledger_table(capsule(slow()).phases())).splitlines() == [
        "  STEP   QUEUE  EXECUTION  BLOCKED  ALL",
        "  a0 *   1.1s   9.0s       -        10.1s",
        "  a1 *   -      12ms       10.1s    10.1s",
        "  (run)  1.1s   9.0s       -        10.1s",
        "  * on the critical path: what the end, or the present, waited for",
    ]


def test_a_difference_begins_with_where_the_runs_part():
    one, two = capsule(slow(), outputs={"a0": 1}), capsule(slow(), outputs={"a0": 2}, run_id=2)
    shown = plain(diff_text.lines(compare(one, two), unicode=True)).splitlines()
    assert shown[3] == "they part at  a0  (output)"
    assert shown[-3:] == ["a0", "-  1", "+  2"]


def test_many_changes_are_cut():
    changes = [Change(f"n{no}", "changed", 1, 2) for no in range(30)]
    assert plain(diff_text.changed(changes)).splitlines()[-1] == "   and 10 more; --json shows them all"


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("12", (12, None)),
        ("+3.5s", (None, CREATED + timedelta(seconds=3.5))),
        ("23:59:59.250", (None, CREATED + timedelta(seconds=1.250999))),
        ("00:00:01", (None, CREATED + timedelta(seconds=3.000999))),
        ("2026-01-02T00:00:00Z", (None, datetime(2026, 1, 2, tzinfo=UTC))),
        ("1h", (None, NOW - timedelta(hours=1))),
    ],
)
def test_a_place_in_a_history_is_an_event_or_a_moment(text, place):
    assert inputs.position(text, CREATED, NOW) == place


@pytest.mark.parametrize("text", ["", "+", "soon", "25:00:00", "0001-01-01T00:00:00+14:00", "+-3s"])
def test_what_is_no_place_is_refused(text):
    with pytest.raises(UsageError):
        inputs.position(text, CREATED, NOW)
