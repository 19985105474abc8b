"""What errors, inputs and open questions say of a cause, and where they say nothing."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from flowforge.forensics import causes, frames
from flowforge.forensics.failures import CLUSTERS
from flowforge.forensics.latency import latency_columns
from flowforge.forensics.queues import GATES, OUTBOX_LAG
from flowforge.forensics.traits import TRAITS, WAITS

NOON = pd.Timestamp("2026-01-01T12:00Z")


def _cluster(code: str, message: str, **changes: Any) -> pd.DataFrame:
    values = {"workflows": "w", "steps": "s", "count": 5, "final": 2, "runs": 3, "first_seen": NOON, "last_seen": NOON}
    row = values | {"code": code, "message": message, "text": message, "example_run": "r-1"} | changes
    return frames.frame([row], CLUSTERS)


@pytest.mark.parametrize(
    ("cause", "code", "message"),
    [
        ("rate_limited", "HTTP_429", "GET http://x answered 429"),
        ("unreachable", "NETWORK", "GET http://x: cannot connect: refused"),
        ("out_of_memory", "PYTHON_ERROR", "MemoryError"),
        ("out_of_memory", "CRASHED", "the process was ended by SIGKILL"),
    ],
)
def test_an_error_names_its_cause(cause: str, code: str, message: str):
    recognised = getattr(causes, cause)

    (found,) = recognised(_cluster(code, message))

    assert found.cause == cause
    assert "w/s" in found.what
    assert found.example_run == "r-1"
    assert not list(recognised(_cluster("HTTP_404", "answered 404")))


def test_a_field_that_was_there_before_is_told_from_one_that_never_was():
    clusters = _cluster("EXPRESSION_ERROR", "'steps.price.output.body' has no 'total', in: ...")
    times = frames.frame([{"workflow": "w", "step": "s", "attempts": 13, "failed": 5}], latency_columns())

    (changed,) = causes.missing_field(clusters, times)
    (never,) = causes.missing_field(clusters, times.assign(failed=13))

    assert "8 other attempts found it, so what gives it has changed" in changed.what
    assert "has no 'total'" in never.what
    assert "has changed" not in never.what
    assert not list(causes.missing_field(_cluster("PYTHON_ERROR", "has no 'x'"), times))


def _trait(**changes: Any) -> pd.DataFrame:
    values = {"workflow": "w", "trait": "input.kind", "value": "poison", "runs": 4, "share": 0.1, "completed": 0}
    values |= {"failed": 4, "failure_rate": 1.0, "others_failed": 0, "others_rate": 0.0, "example_failed": "r-1"}
    return frames.frame([values | changes], TRAITS)


def test_what_all_that_failed_have_in_common_is_named():
    (found,) = causes.common_trait(_trait())

    assert "input.kind = poison; 4 of 4 with it failed, 0% of those without." in found.what


@pytest.mark.parametrize("changes", [{"others_rate": 0.9}, {"failed": 2}, {"failure_rate": 0.3}, {"others_failed": 9}])
def test_what_others_share_or_few_do_explains_nothing(changes: dict[str, Any]):
    assert not list(causes.common_trait(_trait(**changes)))


def test_who_takes_most_places_of_a_gate_is_named_unless_everybody_is_the_same():
    gates = frames.frame([{"workflow": "w", "wait_sum_s": 90.0}], GATES)

    (found,) = causes.flood(_trait(share=0.9, runs=40), gates, {"w"})

    assert "40 runs of w, 90% of all, have input.kind = poison" in found.what
    assert not list(causes.flood(_trait(share=1.0), gates, {"w"}))
    assert not list(causes.flood(_trait(share=0.9), gates, set()))


def test_an_approval_that_nobody_gives_weighs_more_the_longer_it_waits():
    row = {"workflow": "w", "step": "s", "type": "approval", "runs": 1, "since": NOON, "example_run": "r-1"}

    (new,) = causes.waits_for_people(frames.frame([row | {"waited_s": 4.0}], WAITS))
    (old,) = causes.waits_for_people(frames.frame([row | {"waited_s": 7200.0, "due_at": NOON}], WAITS))

    assert old.weight > new.weight
    assert "1 run waits for an approval at w/s, for up to 2 h 00 min" in old.what
    assert old.next.startswith("flowforge approve r-1 s")


def test_dispatches_that_had_to_be_repeated_are_found():
    lag = frames.frame([{"at": NOON, "repeated": 7, "max_s": 31.0}, {"at": NOON, "max_s": 1.0}], OUTBOX_LAG)

    (found,) = causes.dispatch_lost(lag)

    assert "7 dispatches were repeated" in found.what
    assert not list(causes.dispatch_lost(lag.tail(1)))
