"""What is said about the machine, and about a gate, from what was read."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tests.benchmarks.gate_proof import Proof, prove
from tests.benchmarks.noise import Calibration, Conditions, Ticks, best, conditions, doubts
from tests.benchmarks.results import Failed

QUIET = Calibration(cpu_ms=20.0, fsync_ms=0.5)
AT = datetime(2026, 1, 1, tzinfo=UTC)


def seen(**changes: float | Calibration) -> Conditions:
    """Return the conditions of a quiet machine, but for some."""
    return Conditions(**{"before": QUIET, "after": QUIET, "stolen": 0.0, "foreign": 0.02, "idle": 0.1} | changes)  # type: ignore[arg-type]


def test_what_was_not_ours_was_others():
    """Shares are of the whole machine; what we used is known, what the hypervisor took is told."""
    found = conditions((QUIET, QUIET), Ticks(100, 50, 1, 40), Ticks(116, 52, 3, 52))
    assert (found.stolen, found.foreign, found.idle) == (0.1, 0.2, 0.1)
    assert conditions((QUIET, QUIET), Ticks(0, 0, 0, 0), Ticks(10, 10, 0, 10.5)).foreign == 0.0


def test_a_quiet_machine_is_trusted():
    """Whatever the figures are."""
    assert doubts(seen(), QUIET, {"linear:3": 0.05, "serial:3": None}) == []


@pytest.mark.parametrize(
    ("found", "spreads", "why"),
    [
        (seen(after=Calibration(25.0, 0.5)), {}, "the processor took 1.25 x its best time for a fixed piece of work"),
        (seen(before=Calibration(20.0, 6.0)), {}, "a synced write took 6.0 ms, 12.0 x its best"),
        (seen(stolen=0.07), {}, "the hypervisor kept 7% of the machine to itself"),
        (seen(foreign=0.3), {}, "other processes used 30% of the machine"),
        (seen(), {"linear:3": 0.4}, "repetitions of linear:3 lay 40% apart"),
    ],
)
def test_a_noisy_machine_is_distrusted_for_what_can_be_seen(
    found: Conditions, spreads: dict[str, float | None], why: str
):
    """One reason each."""
    assert doubts(found, QUIET, spreads) == [why]


def test_a_quick_write_is_quick_however_quick_the_best_was():
    """Twenty microseconds against a millisecond says nothing."""
    assert doubts(seen(after=Calibration(20.0, 1.5)), Calibration(20.0, 0.02), {}) == []


def test_the_best_is_the_best_of_all_measures():
    """Before one, or after another."""
    every = [seen(before=Calibration(19.0, 0.9)), seen(after=Calibration(30.0, 0.3))]
    assert best(every) == Calibration(19.0, 0.3)


def changes(*signed: int) -> list[tuple[datetime, int]]:
    """Return changes of transactions that committed one after the other."""
    return [(AT + timedelta(microseconds=no), change) for no, change in enumerate(signed)]


def test_a_gate_is_counted_after_every_commit():
    """In the order of commits, however they were read."""
    history = changes(2, 1, -1, 1, -1, -1, -1)
    assert prove(history) == Proof(most=3, commits=7)
    assert prove(list(reversed(history))) == Proof(most=3, commits=7)


def test_a_gate_that_was_ever_too_full_is_found_out():
    """Though it was right before and afterwards."""
    assert prove(changes(100, 1, -1, -100)).most == 101


def test_a_transaction_that_replaces_a_run_changes_nothing():
    """It ends one and admits the next."""
    assert prove(changes(100, 0, 0, -100)).most == 100


def test_a_history_in_which_runs_are_still_active_proves_nothing():
    """It is an error, not a number."""
    with pytest.raises(Failed, match="2 runs are still active"):
        prove(changes(3, -1))
